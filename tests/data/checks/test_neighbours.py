"""Rows that know each other are noticed, by units and by place; independent rows are not."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.data.checks.neighbours import looks_grouped

RNG = np.random.default_rng(0)


def cells(units, length):
    """Batteries: each with signals of its own, and a life that nothing else tells."""
    unit = np.repeat(np.arange(units), length)
    cycle = np.tile(np.arange(length), units)
    own = RNG.normal(size=(units, 3))[unit] + RNG.normal(0, 0.02, (units * length, 3))
    life = RNG.uniform(50, 200, units)[unit] - cycle
    return np.column_stack([unit, own, cycle]), life[:, None]


def judged(x, y, names):
    return looks_grouped(x, y, names, np.arange(len(x)))


@pytest.mark.parametrize("name", ["unit", "cell_id", "Patient", "engineNo"])
@pytest.mark.parametrize("shuffled", [False, True])
def test_a_column_that_names_the_unit_is_proposed(name, shuffled):
    x, y = cells(14, 25)
    order = RNG.permutation(len(x)) if shuffled else np.arange(len(x))
    note = judged(x[order], y[order], [name, "a", "b", "c", "cycle"])
    assert f"--group {name}" in note and "five nearest rows" in note


@pytest.mark.parametrize("units, length, further", [(20, 20, 1), (40, 10, 1), (20, 20, 8), (60, 50, 12)])
def test_a_unit_that_has_a_level_of_its_own_is_proposed_among_many_inputs(units, length, further):
    """Neighbours do not show it: no other input tells the unit."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        unit = rng.permutation(np.repeat(np.arange(units), length))
        x = np.column_stack([unit, rng.normal(size=(len(unit), further))])
        y = (rng.normal(0, 2, units)[unit] + x[:, 1] + rng.normal(0, 0.3, len(unit)))[:, None]
        assert "--group patient" in judged(x, y, ["patient", *(f"x{j}" for j in range(further))])


@pytest.mark.parametrize("seed", range(5))
def test_a_number_of_something_is_no_unit(seed):
    rng = np.random.default_rng(seed)
    count = rng.integers(1, 13, 900)
    x = np.column_stack([count, rng.normal(size=(900, 4))])
    y = (np.log(count) + 0.3 * x[:, 1] + rng.normal(0, 0.2, 900))[:, None]
    assert judged(x, y, ["number_of_pumps", *"abcd"]) == ""


def test_units_without_a_column_are_noticed_by_their_place():
    x, y = cells(20, 30)
    note = judged(x[:, 1:], y, ["a", "b", "c", "cycle"])
    assert "near each other in the table" in note and "--split time" in note


def test_a_series_is_noticed():
    t = np.cumsum(RNG.normal(size=(1200, 4)), axis=0)
    y = np.cumsum(RNG.normal(size=1200))[:, None]
    assert judged(t, y, list("abcd"))


@pytest.mark.parametrize("seed", range(5))
def test_independent_rows_are_left_in_peace(seed):
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.normal(size=(800, 3)), rng.integers(1, 9, 800)])
    y = (np.sin(x[:, 0]) + x[:, 1] * x[:, 3] + rng.normal(0, 0.1, 800))[:, None]
    assert judged(x, y, ["a", "b", "c", "unit"]) == ""
    order = np.argsort(rng.normal(size=800))
    assert judged(x[order], y[order], ["a", "b", "c", "cylinders"]) == ""


def test_a_designed_table_in_its_order_is_left_in_peace():
    axes = np.meshgrid(np.linspace(0, 1, 8), np.linspace(10, 20, 8), [1, 2, 3])
    x = np.stack(axes, -1).reshape(-1, 3)
    y = x[:, 0] * x[:, 1] + x[:, 2] + np.random.default_rng(0).normal(0, 0.1, len(x))
    assert judged(x, y[:, None], list("abc")) == ""


def test_a_calibration_curve_in_its_order_is_left_in_peace():
    axis = np.linspace(0, 100, 200)[:, None]
    y = np.sqrt(axis) + RNG.normal(0, 0.001, (200, 1))
    assert judged(axis, y, ["reading"]) == judged(axis[::-1], y[::-1], ["reading"]) == ""
    assert "near each other" in judged(axis, y, ["time_s"])


def test_rows_that_are_all_alike_are_not_judged():
    assert looks_grouped(np.ones((80, 2)), RNG.normal(size=(80, 1)), ["a", "b"], np.zeros(80, dtype=np.int64)) == ""


@pytest.mark.parametrize("missing", [0, 40])
def test_a_grid_in_the_order_in_which_it_was_swept_is_left_in_peace(missing):
    rng = np.random.default_rng(3)
    x = np.stack(np.meshgrid(np.arange(8), np.arange(7), np.arange(6), indexing="ij"), -1).reshape(-1, 3) * 1.0
    kept = np.sort(rng.permutation(len(x))[missing:])
    x = x[kept]
    y = np.sin(2.1 * x[:, 0]) * 3 + 0.3 * x[:, 1] + np.cos(1.9 * x[:, 2])
    assert judged(x, y[:, None], ["speed", "load", "angle"]) == ""
