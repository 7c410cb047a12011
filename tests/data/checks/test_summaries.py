"""Rows of statistics are told from measurements."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.data.checks.summaries import summary_rows

ROWS = np.round(np.random.default_rng(0).normal([20, 1000, 5], [3, 8, 2], (60, 3)), 1)
NAMES = ["a", "b", "y"]
MEAN, LOW, HIGH, STD = ROWS.mean(axis=0), ROWS.min(axis=0), ROWS.max(axis=0), ROWS.std(axis=0, ddof=1)


@pytest.mark.parametrize(
    ("below", "said"),
    [
        ([MEAN], "the last row is the mean of all others in 3 columns ('a': "),
        ([MEAN.round(2)], "the last row is the mean of"),
        ([MEAN.round(1)], "the last row is the mean of"),
        (
            [MEAN, STD, LOW, HIGH],
            "the last 4 rows are the mean, standard deviation, smallest values, largest values of",
        ),
        (
            [LOW, HIGH, np.full(3, 60.0), MEAN.round(1)],
            "the last 4 rows are the smallest values, largest values, number, mean",
        ),
        ([np.median(ROWS, axis=0), MEAN], "the last 2 rows are the median, mean"),
    ],
)
def test_statistics_at_an_end_are_named(below, said):
    (note,) = summary_rows(NAMES, np.vstack([ROWS, *below]))
    assert note.startswith(said)
    (note,) = summary_rows(NAMES, np.vstack([ROWS, *below])[::-1])
    assert note.startswith(said.replace("the last", "the first")[:15])


def test_sums_in_between_are_named():
    parts = [np.vstack([ROWS[i : i + 20], ROWS[i : i + 20].sum(axis=0)]) for i in (0, 20, 40)]
    (note,) = summary_rows(NAMES, np.vstack(parts))
    assert note.startswith("rows 21, 42, 63 are the sums of the rows above them in all 3 columns")


def test_rows_of_one_number_are_named():
    rows = ROWS.copy()
    rows[[5, 9, 30]] = 0
    (note,) = summary_rows(NAMES, rows)
    assert note.startswith("3 of 60 rows hold 0 in every column (first: row 6): lost samples")


def test_designs_with_centre_points_and_corners_are_left_in_peace():
    grid = np.stack(np.meshgrid([-1, 0, 1], [-1, 0, 1], [-1, 0, 1]), -1).reshape(-1, 3).astype(float)
    design = np.vstack([grid, np.zeros((5, 3))])
    y = design @ [3.0, 1.0, -2.0] + design[:, 0] ** 2 + np.random.default_rng(0).normal(0, 0.1, len(design))
    assert summary_rows([*NAMES, "z"], np.column_stack([design, y])) == []
    assert summary_rows([*NAMES, "z"], np.column_stack([grid, grid.sum(axis=1)])) == []  # corners first and last


def test_measurements_alone_are_left_in_peace():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        assert summary_rows(NAMES, rng.integers(0, 4, (40, 3)).astype(float)) == []
        assert summary_rows(NAMES, np.sort(rng.normal(size=(40, 3)), axis=0)) == []


@pytest.mark.parametrize("unit", [1e-30, 1e-12, 1e-7])
def test_readings_in_a_large_unit_are_not_taken_for_zeros(unit):
    values = unit * np.random.default_rng(0).normal(size=(200, 4))
    assert summary_rows(list("abcy"), values) == []


def test_a_row_of_sums_that_were_rounded_after_adding_is_named():
    """A spreadsheet adds what it holds and shows fewer digits."""
    values = np.random.default_rng(0).normal(20, 3, size=(200, 3))
    table = np.round(np.vstack([values, values.sum(axis=0)]), 3)
    assert "the last row is the sum of all others" in summary_rows(list("abc"), table)[0]
    assert summary_rows(list("abc"), table[:-1]) == []
