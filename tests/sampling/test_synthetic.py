"""Calibration inputs without data: what is known of each feature, and nothing else, decides them."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.data import Scalers
from regkd_edge.errors import DataError
from regkd_edge.sampling.synthetic import described_inputs, known_inputs, summary_of_inputs, synthetic_rows


def known(x, stored=True):
    return known_inputs(Scalers.fit(x, x[:, :1]).x, summary_of_inputs(x) if stored else None)


@pytest.fixture
def x():
    """Gaussian; exponential and correlated with it; a rare 0/1 column; constant."""
    rng = np.random.default_rng(0)
    n = 4000
    a = rng.normal(300, 20, n)
    return np.column_stack(
        [a, np.exp((a - 300) / 20 + 0.3 * rng.standard_normal(n)), rng.random(n) < 0.03, np.full(n, 7.0)]
    ).astype(float)


def test_rows_have_the_distribution_that_was_stored(tmp_path, x):
    made = synthetic_rows(known(x), 4000)
    assert made.dtype == np.float32 and (made >= x.min(0) - 1e-3).all() and (made <= x.max(0) + 1e-3).all()
    assert set(np.unique(made[:, 2])) == {0.0, 1.0} and (made[:, 3] == 7.0).all()
    np.testing.assert_allclose(made[:, 2].mean(), 0.03, atol=0.02)  # levels are 2 % apart there
    np.testing.assert_allclose(np.median(made[:, :2], axis=0), np.median(x[:, :2], axis=0), rtol=0.02)
    # A straight line between two quantiles is wider than a falling tail.
    np.testing.assert_allclose(made[:, :2].std(0), x[:, :2].std(0), rtol=0.15)
    ranks = made[:, :2].argsort(0).argsort(0)
    assert np.corrcoef(ranks.T)[0, 1] > 0.85  # as in the rows


def test_no_row_is_stored(x):
    stored = summary_of_inputs(x)
    assert np.size(stored["quantiles"]) == 38 * 4 and np.size(stored["correlation"]) == 16


def test_a_feature_of_few_values_takes_no_other(tmp_path):
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.choice([0.125, 0.3, 0.45], 300), rng.standard_normal(300)])
    stored = summary_of_inputs(x)
    assert stored["values"] == [[0.125, 0.3, 0.45], None]
    made = synthetic_rows(known(x), 1000)
    assert set(np.unique(made[:, 0])) == set(np.float32([0.125, 0.3, 0.45]))
    del stored["values"]  # a student of an earlier version
    assert len(np.unique(synthetic_rows(known_inputs(Scalers.fit(x, x[:, :1]).x, stored), 1000)[:, 0])) > 10


def test_extremes_come_together_more_often_than_in_a_normal_copula():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4000, 2)) / np.sqrt(
        rng.chisquare(3, (4000, 1)) / 3
    )  # uncorrelated, dependent in the tails
    made = synthetic_rows(known_inputs(Scalers.fit(x, x[:, :1]).x, summary_of_inputs(x)), 4000)
    extreme = [(np.abs(v - np.median(v)) > np.quantile(np.abs(v - np.median(v)), 0.98)) for v in made.T]
    assert (extreme[0] & extreme[1]).mean() > 5 * 0.02**2  # independent ones meet in 0.02^2 of the rows


def test_without_a_summary_the_scaler_is_all_there_is(tmp_path, x):
    made = synthetic_rows(known(x, stored=False), 4000)
    # Means of 4000 draws: 0.016 deviations off on the average, five times that at most.
    assert (np.abs(made.mean(0) - x.mean(0)) < 0.08 * np.maximum(x.std(0), 1.0)).all()
    assert made[:, 1].min() < 0  # it cannot know better


def test_the_same_seed_gives_the_same_rows(tmp_path, x):
    about = known(x)
    np.testing.assert_array_equal(synthetic_rows(about, 50, seed=3), synthetic_rows(about, 50, seed=3))
    assert not np.array_equal(synthetic_rows(about, 50, seed=3), synthetic_rows(about, 50, seed=4))


def test_a_description_by_hand_goes_first(tmp_path, x):
    (tmp_path / "inputs.yaml").write_text(
        "inputs:\n" + "".join(f"  - {{name: f{j}, low: 0, high: 1}}\n" for j in range(4))
    )
    made = synthetic_rows(described_inputs(Scalers.fit(x, x[:, :1]).x, tmp_path / "inputs.yaml"), 500)
    assert made.min() >= 0 and made.max() <= 1
    (tmp_path / "inputs.yaml").write_text("inputs: [{name: a, low: 0, high: 1}]")
    with pytest.raises(DataError, match="describes 1 inputs, and the student takes 4"):
        described_inputs(Scalers.fit(x, x[:, :1]).x, tmp_path / "inputs.yaml")


def test_equal_features_and_a_single_row_do_not_break_it():
    x = np.repeat(np.arange(20.0)[:, None], 3, axis=1)  # a correlation matrix of ones is singular
    about = known_inputs(Scalers.fit(x, x[:, :1]).x, summary_of_inputs(x))
    made = synthetic_rows(about, 100)
    assert np.isfinite(made).all() and np.corrcoef(made.T).min() > 0.9
    assert synthetic_rows(about, 1).shape == (1, 3)
    assert np.isfinite(synthetic_rows(known_inputs(Scalers.fit(x[:1], x[:1, :1]).x, summary_of_inputs(x[:1])), 5)).all()


def test_a_sample_of_the_rows_is_stored_with_the_range_of_all(x):
    ends = x.min(0), x.max(0)
    sample, whole = summary_of_inputs(x[::8], ends), summary_of_inputs(x)
    for stored in (sample, whole):
        assert np.array_equal(stored["quantiles"][0], ends[0]) and np.array_equal(stored["quantiles"][-1], ends[1])
    assert sample["integer"] == whole["integer"] and sample["values"][2:] == [[0.0, 1.0], [7.0]]
    inside = np.array(sample["quantiles"])[10:-10, :2] - np.array(whole["quantiles"])[10:-10, :2]
    assert (np.abs(inside) < 0.25 * x[:, :2].std(0)).all()  # 500 rows: a standard error of a quantile is 0.05 to 0.15
