"""Numbers that are none are named with column, value, count and what to type; healthy columns are left in peace."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from regkd_edge.data import load_table
from regkd_edge.data.checks.row_labels import column_that_counts, is_time, labels_of_rows
from regkd_edge.data.checks.suspicious import suspicious_values

SHARED = Path(__file__).parents[4] / "shared" / "data"
RNG = np.random.default_rng(0)


def found(column, targets=()):
    column = np.asarray(column, dtype=np.float64)
    return suspicious_values({}, column[:, None], np.empty((len(column), 0)), ["c"], targets)


def inject(column, value, count, seed=1):
    column = column.copy()
    column[np.random.default_rng(seed).choice(len(column), count, replace=False)] = value
    return column


BASES = {
    "temperature": lambda n: RNG.normal(20, 5, n).round(1),
    "flow": lambda n: RNG.gamma(2, 30, n).round(2),
    "rain": lambda n: np.where(RNG.random(n) < 0.6, 0, RNG.gamma(0.5, 8, n)).round(1),
    "counts": lambda n: RNG.negative_binomial(1, 0.05, n).astype(float),
    "hours": lambda n: RNG.integers(0, 24, n).astype(float),
}


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("value", [-999, -9999, 65535, 1e30, -200, 99999, 32767, -9999.9, 1e20])
@pytest.mark.parametrize(("n", "count"), [(300, 12), (3000, 5), (3000, 900)])
def test_marks_far_from_the_rest_are_named(base, value, n, count):
    (note,) = found(inject(BASES[base](n), value, count))
    assert f"'c' has {value:.10g} in {count:,} of {n:,} rows" in note and "--missing c=" in note and "far from" in note


@pytest.mark.parametrize(
    ("codes", "mark"), [([1, 2, 3, 4, 5], 99), ([1, 2, 3, 4, 5], -9), (range(30), -1), ([0, 1, 2], 999)]
)
def test_codes_for_no_answer_are_named(codes, mark):
    (note,) = found(inject(RNG.choice(list(codes), 400).astype(float), mark, 15))
    assert f"'c' has {mark} in 15 of 400 rows" in note


def test_two_marks_of_one_column_are_named_together():
    column = inject(inject(BASES["flow"](500), -999, 9), -888, 7, seed=2)
    notes = " ".join(found(column))
    assert "-999 in" in notes and "-888 in" in notes


@pytest.mark.parametrize(
    "column",
    [
        RNG.lognormal(0, 1.5, 2000).round(3),
        RNG.lognormal(3, 2, 2000).round(0),
        (RNG.pareto(1.2, 2000) * 100).round(0),
        RNG.standard_cauchy(2000).round(3),
        np.where(RNG.random(2000) < 0.6, 0, RNG.uniform(20, 200, 2000)).round(1),
        RNG.poisson(3, 2000),
        RNG.choice([1, 2, 5, 10, 100], 2000),
        RNG.choice([0, 0.1, 1, 10, 100, 1000], 2000),
        RNG.choice([3, 7, 14, 28, 56, 90, 180, 365], 2000),
        RNG.choice([-1, 1], 2000),
        np.clip(RNG.normal(80, 20, 2000), 0, 100).round(1),
        np.maximum(RNG.normal(0, 1, 2000), 0).round(4),
        np.where(RNG.random(2000) < 0.05, RNG.normal(0, 1, 2000), RNG.normal(50, 1, 2000)).round(1),
        np.repeat(RNG.normal(0, 1, 200), 10).round(2),
        RNG.uniform(0, 900, 2000).round(3),
        RNG.normal(100, 30, 2000).round(-1),
    ],
)
def test_skewed_rounded_inflated_and_designed_columns_are_healthy(column):
    assert found(column) == []


def test_a_sensor_that_saturates_is_named():
    (note,) = found(np.minimum(RNG.normal(3000, 800, 2000).round(0), 4000))
    assert "largest value 4000" in note and "saturated" in note
    (note,) = found(np.maximum(RNG.normal(1, 0.4, 2000).round(3), 0.5))
    assert "smallest value 0.5" in note
    low, high = found(np.clip(RNG.normal(50, 8, 2000).round(2), 40, 60))  # at both ends
    assert "smallest value 40" in low and "largest value 60" in high
    assert found(np.clip(RNG.normal(12, 9, 2000).round(1), 0, 24)) == []  # hours of a day at rest and at work


def test_row_numbers_are_told_from_features():
    n = 60
    columns = np.column_stack([np.arange(n), np.arange(n) * 2.5 + 7, RNG.permutation(n) + 1, RNG.integers(0, n, n)])
    assert column_that_counts(list("abcd"), columns) == ["a", "b", "c"]
    assert column_that_counts(["a"], np.full((n, 1), 3.0)) == []


@pytest.mark.parametrize(
    ("name", "values", "labels"),
    [
        ("id", RNG.permutation(5000)[:60], True),
        ("Unnamed: 0", RNG.permutation(5000)[:60], True),
        ("sampleId", np.sort(RNG.permutation(5000)[:60]), True),
        ("x", 880_000_000 + RNG.permutation(60), True),  # a serial number each
        ("x", 880_000_000 + 2 * RNG.permutation(60), False),
        ("x", RNG.permutation(20240101 + np.arange(60) % 28 + 100 * (np.arange(60) // 28)), True),  # dates
        ("x", 20_000_000 + RNG.permutation(900_000)[:60], False),
        ("serial_no", RNG.permutation(5000)[:60], True),
        ("power_no_load", RNG.permutation(5000)[:60], False),
        ("number_of_cycles", RNG.permutation(5000)[:60], False),
        ("id", RNG.integers(0, 9, 60), False),
        ("timestamp", 1.7e9 + np.cumsum(RNG.integers(50, 70, 60)), True),
        ("ts", (1.7e9 + np.cumsum(RNG.integers(50, 70, 60))) * 1000, True),
        ("x", 1.7e9 + np.cumsum(RNG.integers(50, 70, 60)), True),
        ("time_s", np.cumsum(RNG.uniform(0.1, 1, 60)), True),
        ("date", 20240101 + np.arange(60) % 28 + 100 * (np.arange(60) // 28), True),
        ("rise_time", RNG.uniform(0.1, 1, 60), False),
        ("times_used", RNG.integers(0, 9, 60), False),
        ("pressure", np.cumsum(RNG.uniform(0.1, 1, 60)), False),
    ],
)
def test_identifiers_and_times_are_told_by_name_and_values(name, values, labels):
    column = np.asarray(values, dtype=float)
    other = RNG.normal(size=len(column))
    assert (labels_of_rows([name, "other"], np.column_stack([column, other])) == [name]) == labels
    assert labels_of_rows([name], column[:, None]) == []  # the only input


def test_times_of_shuffled_rows_are_times_still():
    assert is_time("timestamp", 1.7e9 + RNG.permutation(60) * 60.0)
    assert not is_time("flow", 1.7e9 + RNG.permutation(60) * 60.0)


def test_a_row_of_totals_at_an_end_is_named():
    x = RNG.integers(1, 50, (30, 3)).astype(float)
    total = np.vstack([x, x.sum(axis=0)])
    for rows, place in ((total, "last"), (total[::-1], "first")):
        notes = suspicious_values({}, rows[:, :2], rows[:, 2:], ["a", "b"], ["y"])
        assert any(f"the {place} row is the sum of all others in 3 columns" in note for note in notes)
    assert not any("sum" in note for note in suspicious_values({}, x[:, :2], x[:, 2:], ["a", "b"], ["y"]))


@pytest.mark.parametrize(
    ("cells", "warned"),
    [
        ([f"{v // 1000}.{v % 1000:03d}" if v >= 1000 else str(v) for v in range(120, 4000, 37)], True),
        ([f"{v / 1000:.3f}" for v in range(120, 4000, 37)], False),
        ([f"{v / 8:g}" for v in range(120, 4000, 37)], False),
        ([str(v) for v in range(120, 4000, 37)], False),
    ],
    ids=["dots as thousands marks", "three decimals", "up to three decimals", "whole numbers"],
)
def test_a_dot_as_thousands_mark_is_asked_about(tmp_path, cells, warned):
    path = tmp_path / "t.csv"
    path.write_text("m,y\n" + "".join(f"{cell},{i * i % 7}\n" for i, cell in enumerate(cells)))
    warnings = load_table(path, ["y"]).warnings
    assert any("'m' mixes whole numbers above 99 with d.ddd" in note for note in warnings) == warned
    if warned:
        read = load_table(path, ["y"], thousands="m=.")
        assert read.x.ravel().tolist() == list(range(120, 4000, 37))
        assert not any("mixes" in note for note in read.warnings)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared tables are not here")
@pytest.mark.parametrize("path", sorted(SHARED.glob("*.csv")), ids=lambda path: path.stem)
def test_real_tables_are_warned_about_where_there_is_something(path):
    expected = {
        "bike": ["'x15', 'x16' add up to the exp of target", "'x0' is repeated as 'x4'", "'x1' is repeated as 'x5'"],
        "gas": ["'x41' has 31150 in 1 of 2,565 rows"],  # all other values lie between -14.4 and -6.8
        "machine": ["'x0' has 29181 in 2 of 209 rows"],  # all others between -298 and -269
        "solar": ["'x9' is constant"],
    }.get(path.stem, [])
    warnings = load_table(path, ["target"]).warnings
    assert len(warnings) == len(expected)
    for text in expected:
        assert any(text in note for note in warnings), warnings


def test_a_lone_negative_count_is_not_said_to_be_far():
    rng = np.random.default_rng(0)
    x = np.column_stack([np.where(rng.random(400) < 0.1, -1.0, rng.integers(0, 12, 400)), rng.normal(size=400)])
    (note,) = suspicious_values({}, x, rng.normal(size=(400, 1)), ["count", "b"], ["y"])
    assert "its one negative value; the others are 0 to 11. If it means missing" in note


def _thousands(values):
    return [f"{v // 1000}.{v % 1000:03d}" for v in values]


WHOLE = list(range(1010, 90_000, 1010))


@pytest.mark.parametrize(
    ("separator", "cells", "beside", "warned"),
    [
        (",", _thousands(WHOLE), lambda i: f"{i / 8:g}", ""),  # where another column has decimals, the dot is that mark
        (";", _thousands(WHOLE), lambda i: f"{i / 8:g}", ""),
        (",", ["-127", *_thousands(WHOLE)[1:], "-127"], lambda i: f"{i / 8:g}", ""),  # one mark for missing values
        (";", _thousands(WHOLE), lambda i: str(i), "no other column has decimals"),
        (",", _thousands(WHOLE), lambda i: str(i), ""),  # kilograms to the gram, beside counts
        (",", _thousands(WHOLE), lambda i: f"{i / 8:.3f}", ""),  # the writer pads
        (",", _thousands(WHOLE), lambda i: f"{i / 8:.1f}", ""),
        (";", _thousands(WHOLE), lambda i: f"{i / 8:.2f}", ""),
        (",", [f"{v / 1000:g}" for v in WHOLE], lambda i: f"{i / 8:g}", ""),  # zeros at the end are omitted here too
        (";", [f"{v % 3000 / 1000:.3f}" for v in WHOLE], lambda i: str(i), ""),  # 0.020 is no thousands
        (";", [f"{i}.000" for i in range(1, 90)], lambda i: str(i), ""),
    ],
)
def test_a_dot_as_thousands_mark_in_every_cell_is_asked_about(tmp_path, separator, cells, beside, warned):
    path = tmp_path / "t.csv"
    rows = [separator.join((cell, beside(i), str(i * i % 7))) for i, cell in enumerate(cells)]
    path.write_text("\n".join([separator.join("mby"), *rows]) + "\n")
    notes = [note for note in load_table(path, ["y"]).warnings if "thousands" in note]
    assert bool(notes) == bool(warned)
    if warned:
        assert warned in notes[0] and "--thousands m=." in notes[0]
        read = load_table(path, ["y"], thousands="m=.")
        assert read.x[:, 0].tolist() == WHOLE and not any("thousands" in note for note in read.warnings)
