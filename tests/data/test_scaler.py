"""Scalers: float64, constant columns, exact through JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from regkd_edge.data import Scaler, Scalers
from regkd_edge.errors import DataError


def test_standardised_columns_have_mean_0_and_deviation_1_also_for_large_offsets():
    rows = np.random.default_rng(0).normal([0, 1.8e6], [1, 4e5], (500, 2))
    standardized = Scaler.fit(rows).standardize(rows)
    # float64 sums of 500 values: a few ulp of the mean over the deviation
    assert np.allclose(standardized.mean(0), 0, atol=1e-13) and np.allclose(standardized.std(0), 1, rtol=1e-13)


def test_restore_undoes_standardize():
    rows = np.random.default_rng(1).normal(5, 3, (20, 3))
    scaler = Scaler.fit(rows)
    assert np.allclose(scaler.restore(scaler.standardize(rows)), rows, rtol=1e-14)


def test_a_constant_column_becomes_0_and_is_restored_exactly():
    rows = np.full((10, 1), 0.1)  # its float64 deviation is 1.4e-17, not 0
    scaler = Scaler.fit(rows)
    assert (
        scaler.scale.tolist() == [1.0]
        and (scaler.standardize(rows) == 0).all()
        and (scaler.restore([[0.0]]) == 0.1).all()
    )


def test_json_keeps_every_bit():
    rows = np.random.default_rng(2).normal(size=(9, 4))
    scalers = Scalers.fit(rows[:, :3], rows[:, 3:])
    again = Scalers.from_dict(json.loads(json.dumps(scalers.to_dict())))
    assert np.array_equal(again.x.mean, scalers.x.mean) and np.array_equal(again.y.scale, scalers.y.scale)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"mean": [1]},
        {"mean": [1], "scale": [0]},
        {"mean": [1, 2], "scale": [1]},
        {"mean": ["a"], "scale": [1]},
        None,
        {"mean": [float("nan")], "scale": [1]},
    ],
)
def test_malformed_scalers_are_refused(values):
    with pytest.raises(DataError):
        Scaler.from_dict(values)


def test_no_rows_are_refused():
    with pytest.raises(DataError, match="N >= 1"):
        Scaler.fit(np.empty((0, 3)))
