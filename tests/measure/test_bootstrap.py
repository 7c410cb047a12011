"""The bootstrap draws what it says: means over rows drawn with replacement, the same draws for every column."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.measure.bootstrap import interval, resampled_means


def test_means_scatter_as_the_standard_error_says():
    values = np.random.default_rng(0).normal(5, 2, (400, 1))
    drawn = resampled_means(values, 4000)[:, 0]
    assert drawn.mean() == pytest.approx(values.mean(), abs=0.02)
    assert drawn.std() == pytest.approx(values.std() / 20, rel=0.06)  # 4000 draws: 1.1 % standard error


def test_columns_see_the_same_draws():
    values = np.random.default_rng(1).standard_normal((50, 1))
    drawn = resampled_means(np.concatenate([values, values, 3 * values + 1], axis=1), 300)
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert drawn[:, 2] == pytest.approx(3 * drawn[:, 0] + 1)


def test_blocks_change_nothing(monkeypatch):
    values = np.random.default_rng(2).standard_normal((40, 2))
    whole = resampled_means(values, 100)
    monkeypatch.setattr("regkd_edge.measure.bootstrap._AT_ONCE", 280)
    assert resampled_means(values, 100) == pytest.approx(whole)


def test_long_tables_get_fewer_resamples(monkeypatch):
    monkeypatch.setattr("regkd_edge.measure.bootstrap._MOST_DRAWS", 0)
    assert len(resampled_means(np.ones((10, 1)), 2000)) == 400


def test_interval_leaves_the_stated_share_outside():
    assert interval(np.arange(1001.0), 0.9) == pytest.approx((50.0, 950.0))
    assert interval(np.array([1.0, np.nan, 3.0]), 0.5) == (1.5, 2.5)


def test_the_budget_of_draws_sets_the_number_of_resamples(monkeypatch):
    monkeypatch.setattr("regkd_edge.measure.bootstrap._MOST_DRAWS", 5005)
    assert len(resampled_means(np.ones((10, 1)), 2000)) == 500
    assert len(resampled_means(np.ones((10, 1)), 450)) == 450


def test_an_interval_is_one_of_95_percent_and_2000_resamples():
    assert interval(np.arange(1001.0)) == pytest.approx((25.0, 975.0))
    assert len(resampled_means(np.ones((2, 1)))) == 2000
