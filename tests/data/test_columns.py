"""Column kinds: detected from rows, declared by name, and the points that can occur."""

from __future__ import annotations

import json

import numpy as np
import pytest

from regkd_edge.data import Columns
from regkd_edge.errors import DataError

NAMES = ["flow", "gear", "valve", "site", "count", "level"]


@pytest.fixture
def x():
    rng = np.random.default_rng(0)
    columns = [
        rng.normal(size=400),
        rng.integers(1, 7, 400),
        rng.choice([-0.25, 0.75], 400),
        np.full(400, 3.5),
        rng.integers(0, 100_000, 400),
        rng.choice([0.1, 0.2, 0.7], 400),
    ]
    return np.column_stack(columns)


def test_kinds_and_observed_values_are_told_from_the_rows(x):
    columns = Columns.detect(x, NAMES)
    assert columns.kinds == ("continuous", "whole", "binary", "constant", "whole", "continuous")
    assert columns.values == (None, (1, 2, 3, 4, 5, 6), (-0.25, 0.75), (3.5,), None, (0.1, 0.2, 0.7))
    assert columns.low[1] == 1 and columns.high[1] == 6 and columns.high[4] == x[:, 4].max()
    assert columns.discrete.tolist() == [False, True, True, True, True, False]


def test_few_rows_list_no_values_that_they_cannot_vouch_for():
    columns = Columns.detect(np.array([[0.5, 1], [0.7, 2], [0.9, 3]]), ["a", "b"])
    assert columns.kinds == ("continuous", "whole") and columns.values == (None, None)


def test_declared_kinds_win_over_detected_ones_and_must_be_true(x):
    columns = Columns.detect(x, NAMES, whole=["gear"], categorical=["count", "level"])
    assert columns.kinds[4] == columns.kinds[5] == "categorical"
    assert columns.values[4] == tuple(np.unique(x[:, 4]))
    with pytest.raises(DataError, match=r"'flow' is declared whole but holds 0\.1257"):
        Columns.detect(x, NAMES, whole=["flow"])
    with pytest.raises(DataError, match="--whole names 'flw', which is not an input"):
        Columns.detect(x, NAMES, whole=["flw"])
    with pytest.raises(DataError, match="'gear' is declared whole and categorical"):
        Columns.detect(x, NAMES, whole=["gear"], categorical=["gear"])


def test_whole_numbers_that_float64_cannot_tell_from_others_are_not_called_whole():
    assert Columns.detect(np.array([[1e17], [3e17], [2e18]]), ["a"]).kinds == ("continuous",)


def test_restricted_points_are_whole_and_were_observed(x):
    columns = Columns.detect(x, NAMES)
    noisy = x + np.random.default_rng(1).normal(0, 3, x.shape)
    kept = columns.restrict(noisy)
    assert np.array_equal(kept[:, 0], noisy[:, 0]) and np.array_equal(kept[:, 5], noisy[:, 5])
    for j in (1, 2, 3):
        assert set(kept[:, j]) <= set(columns.values[j])
    assert (kept[:, 4] == np.rint(kept[:, 4])).all() and kept[:, 4].min() >= columns.low[4]
    assert np.array_equal(columns.restrict(x), x), "what was observed is left bit for bit"


@pytest.mark.parametrize(("value", "nearest"), [(-9, 1), (1.4, 1), (2.9, 2), (3.6, 5), (99, 5), (3.5, 2)])
def test_a_code_becomes_the_nearest_observed_code(value, nearest):
    codes = Columns.detect(np.array([[1.0], [2], [5]] * 4), ["code"], categorical=["code"])
    assert codes.restrict([[value]]).item() == nearest


def test_a_one_hot_group_keeps_one_column_set():
    x = np.eye(3)[[0, 1, 2, 0, 1, 2, 0, 1]]
    columns = Columns.detect(x, ["a", "b", "c"], groups=[(0, 1, 2)])
    assert columns.restrict([[0.4, 0.9, 0.8], [0, 0, 0.2]]).tolist() == [[0, 1, 0], [0, 0, 1]]


def test_other_rows_give_other_ranges_under_the_same_kinds(x):
    part = Columns.detect(x, NAMES).observed(x[x[:, 1] < 3])
    assert part.kinds[1] == "whole" and part.values[1] == (1, 2) and part.high[1] == 2


def test_json_keeps_every_bit(x):
    columns = Columns.detect(x, NAMES, categorical=["gear"])
    again = Columns.from_dict(json.loads(json.dumps(columns.to_dict())))
    assert (again.names, again.kinds, again.values, again.groups) == (
        columns.names, columns.kinds, columns.values, columns.groups,
    )  # fmt: skip
    assert np.array_equal(again.low, columns.low) and np.array_equal(again.high, columns.high)


@pytest.mark.parametrize(
    "change",
    [
        {"kinds": ["whole"]},
        {"kinds": ["odd"] * 6},
        {"low": [9] * 6, "high": [1] * 6},
        {"low": [float("nan")] * 6},
        {"values": [[]] * 6},
        {"values": [[2, 1]] * 6},
        {"groups": [[7]]},
        {"names": None},
    ],
)
def test_malformed_kinds_are_refused(x, change):
    with pytest.raises(DataError, match="malformed"):
        Columns.from_dict({**Columns.detect(x, NAMES).to_dict(), **change})
