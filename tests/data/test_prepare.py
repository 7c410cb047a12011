"""From files to a table with honest held-out rows."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.config import DataConfig
from regkd_edge.data import prepare, split
from regkd_edge.errors import DataError, UserError

RNG = np.random.default_rng(0)


@pytest.fixture
def write(tmp_path):
    def one(header, rows, name="t.csv"):
        path = tmp_path / name
        path.write_text(header + "\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
        return str(path)

    return one


def rows_of(n, d=3, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d)).round(3).tolist()


def parts_of(values, parts):
    return [set(np.asarray(values)[index].tolist()) for index in (parts.train, parts.validation, parts.test)]


def test_distinct_rows_are_split_as_ever(write):
    path = write("a,b,y", rows_of(100))
    table, parts = prepare(DataConfig(data=path, target="y"), 3)
    assert np.array_equal(parts.test, split(100, 0.15, 0.15, 3).test) and table.warnings == []


def test_copies_fall_into_one_part_and_are_counted(write):
    distinct = rows_of(60)
    rows = [distinct[i] for i in RNG.integers(0, 60, 300)] + distinct
    table, parts = prepare(DataConfig(data=write("a,b,y", rows), target="y"), 0)
    train, validation, test = parts_of(table.x[:, 0], parts)
    assert not train & test and not train & validation and not validation & test
    assert abs(len(parts.test) / len(table) - 0.15) < 0.03
    assert any("360 rows hold 60 distinct inputs" in note for note in table.warnings)


def test_numbered_copies_are_copies(write):
    distinct = rows_of(50)
    rows = [[i, *distinct[i % 50]] for i in range(200)]
    table, parts = prepare(DataConfig(data=write("id,a,b,y", rows), target="y"), 0)
    train, _, test = parts_of(table.x[:, 1], parts)
    assert not train & test and any("--drop id" in note for note in table.warnings)


def test_a_group_is_never_on_both_sides_and_is_no_input(write):
    rows = [[f"engine {i % 12}", *row] for i, row in enumerate(rows_of(240))]
    config = DataConfig(data=write("unit,a,b,y", rows), target="y", group="unit")
    table, parts = prepare(config, 0)
    assert table.feature_names == ["a", "b"]
    train, validation, test = parts_of(np.arange(240) % 12, parts)
    assert not train & test and not train & validation and not validation & test
    assert parts.counts() == {"train": 160, "validation": 40, "test": 40}


def test_the_last_rows_are_held_out_of_a_series(write):
    _, parts = prepare(DataConfig(data=write("a,b,y", rows_of(100)), target="y", split="time"), 0)
    assert parts.test.tolist() == list(range(85, 100)) and parts.validation.tolist() == list(range(70, 85))


def test_rows_of_a_test_file_are_the_held_out_ones(write):
    rows, held = rows_of(80), rows_of(30, seed=1)
    source = write("a,b,y", rows)
    other = write("y,b,a", [[y, b, a] for a, b, y in [*held, rows[5], rows[6]]], "test.csv")
    table, parts = prepare(DataConfig(data=source, target="y", test_data=other), 0)
    assert len(parts.test) == 32 and np.array_equal(table.x[parts.test][:30], np.array(held)[:, :2])
    assert len(table) == 80 - 2 + 32, "copies of held-out rows are not trained on"
    assert any("2 rows are left out of training and validation" in note for note in table.warnings)
    with pytest.raises(DataError, match="'.*test2.csv' has no 'b'"):
        prepare(DataConfig(data=source, target="y", test_data=write("a,y", [[1, 2]], "test2.csv")), 0)


def test_words_of_a_test_file_must_be_known(write):
    source = write("kind,a,y", [["AB"[i % 2], *row[:2]] for i, row in enumerate(rows_of(40))])
    config = {"data": source, "target": "y", "categorical": "kind"}
    table, parts = prepare(DataConfig(**config, test_data=write("kind,a,y", [["B", 1, 2], ["B", 3, 4]], "t2.csv")), 0)
    assert table.x[parts.test, :2].tolist() == [[0, 1], [0, 1]]
    with pytest.raises(DataError, match="holds 'C', which the training rows do not have"):
        prepare(DataConfig(**config, test_data=write("kind,a,y", [["C", 1, 2]], "t3.csv")), 0)


def test_a_column_that_says_the_part_is_no_input(write):
    rows = [[*row, "test" if i % 5 == 0 else "train"] for i, row in enumerate(rows_of(50))]
    table, parts = prepare(DataConfig(data=write("a,b,y,part", rows), target="y", split_column="part"), 0)
    assert table.feature_names == ["a", "b"] and parts.test.tolist() == list(range(0, 50, 5))


def test_blanks_are_filled_from_the_training_rows_and_codes_stay_codes(write):
    rng = np.random.default_rng(0)
    rows = [[rng.normal() + 5, rng.integers(1, 5), "AB"[i % 3 == 0], rng.normal()] for i in range(100)]
    for i in (3, 50, 97):
        rows[i][0] = rows[i][1] = rows[i][2] = ""
    rows[10][3] = ""
    config = DataConfig(data=write("a,code,kind,y", rows), target="y", categorical="kind", blanks="mean")
    table, parts = prepare(config, 0)
    assert len(table) == 99 and np.isfinite(table.x).all(), "a row without a target is dropped"
    known = [i for i in parts.train if i not in (3, 49, 96)]
    assert table.x[3, 0] == pytest.approx(table.x[known, 0].mean(), rel=1e-12)
    assert table.x[3, 1] in (2, 3) and table.x[3, 2:].tolist() == [1, 0] and table.columns.kinds[1] == "whole"
    assert any("'a': 3 blanks filled with" in note and "the device must" in note for note in table.warnings)


def test_every_value_of_the_table_is_kept_to_the_bit(write):
    values = RNG.normal(size=(50, 3)) * 10.0 ** RNG.integers(-20, 20, (50, 3))
    values[:, 1] = RNG.integers(0, 2**53, 50)
    table, _ = prepare(
        DataConfig(data=write("a,b,y", [list(map(repr, map(float, row))) for row in values]), target="y"), 0
    )
    assert np.array_equal(table.x, values[:, :2]) and np.array_equal(table.y[:, 0], values[:, 2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": "z"}, "no column 'z' .named by --group"),
        ({"drop": "z"}, "--drop names 'z'"),
        ({"categorical": "z"}, "no column 'z'"),
        ({"drop": ["a", "b"]}, "are targets"),
        ({"separator": "ab"}, "separator 'ab' is not one character"),
    ],
)
def test_names_that_no_column_has_are_refused(write, options, message):
    with pytest.raises(DataError, match=message):
        prepare(DataConfig(data=write("a,b,y", rows_of(30)), target="y", **options), 0)


@pytest.mark.parametrize(
    "options",
    [
        {"group": "a", "split_column": "b"},
        {"split": "time", "split_column": "b"},
        {"drop": "y"},
        {"whole": "a", "categorical": "a"},
        {"thousands": "x"},
        {"decimal": ";"},
    ],
)
def test_options_that_exclude_each_other_are_refused(options):
    with pytest.raises((UserError, ValueError)):
        DataConfig(data="t.csv", target="y", **options)
