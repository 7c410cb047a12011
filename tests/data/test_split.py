"""Splits by seed and nested shares of them."""

from __future__ import annotations

import importlib
import tracemalloc

import numpy as np
import pytest

from regkd_edge.data import split, stored, subset
from regkd_edge.data.split import repeated_rows, split_by_column, split_units
from regkd_edge.data.stored import StoredRows
from regkd_edge.errors import DataError


def test_a_split_is_a_partition_fixed_by_its_seed():
    a, b, c = split(1000, 0.15, 0.25, 3), split(1000, 0.15, 0.25, 3), split(1000, 0.15, 0.25, 4)
    assert a.counts() == {"train": 600, "validation": 150, "test": 250}
    assert np.array_equal(np.sort(np.concatenate([a.train, a.validation, a.test])), np.arange(1000))
    assert np.array_equal(a.train, b.train) and np.array_equal(a.test, b.test)
    assert not np.array_equal(np.sort(a.test), np.sort(c.test))


def test_the_smallest_table_has_four_rows():
    assert split(4, 0.15, 0.15, 0).counts() == {"train": 2, "validation": 1, "test": 1}
    with pytest.raises(
        DataError, match=r"3 rows are too few: .* takes 1 \+ 1 rows and leaves 1 for training, expected at least 2"
    ):
        split(3, 0.15, 0.15, 0)
    with pytest.raises(DataError, match=r"10 rows are too few: .* leaves 1 for"):
        split(10, 0.45, 0.45 + 0.05, 0)


def test_shares_are_nested_and_keep_the_test_rows():
    whole = split(1000, 0.2, 0.2, 0)
    tenth, quarter = subset(whole, 0.1, 7), subset(whole, 0.25, 7)
    assert tenth.counts() == {"train": 60, "validation": 20, "test": 200}
    assert set(tenth.train) < set(quarter.train) < set(whole.train)
    assert set(tenth.validation) < set(quarter.validation) < set(whole.validation)
    assert np.array_equal(tenth.test, whole.test)
    assert set(subset(whole, 0.1, 8).train) != set(tenth.train)


def test_the_share_1_is_the_split_itself():
    whole = split(50, 0.2, 0.2, 0)
    again = subset(whole, 1.0, 5)
    assert np.array_equal(again.train, whole.train) and np.array_equal(again.validation, whole.validation)


def test_shares_that_leave_too_little_are_refused_with_the_numbers():
    with pytest.raises(
        DataError,
        match=(
            "fraction 0.05 of 30 training rows leaves 2|fraction 0.05 of 10 validation rows "
            "leaves 0, expected at least 1"
        ),
    ):
        subset(split(50, 0.2, 0.2, 0), 0.05, 0)
    with pytest.raises(DataError, match="fraction 0.01 of 30 training rows leaves 0, expected at least 2"):
        subset(split(50, 0.2, 0.2, 0), 0.01, 0)
    for wrong in (0, -1, 1.5):
        with pytest.raises(DataError, match="outside"):
            subset(split(50, 0.2, 0.2, 0), wrong, 0)


def shares(parts):
    n = sum(parts.counts().values())
    return {name: count / n for name, count in parts.counts().items()}


def test_equal_rows_have_equal_numbers():
    x = np.random.default_rng(0).integers(0, 3, (500, 4)).astype(float)
    x[x == 0] *= np.random.default_rng(1).choice([-1.0, 1.0], (x == 0).sum())  # 0 and -0 are equal
    numbers = repeated_rows(x)
    assert len(np.unique(numbers)) == len(np.unique(x + 0.0, axis=0))
    assert all(len(np.unique(x[numbers == k] + 0.0, axis=0)) == 1 for k in np.unique(numbers))


@pytest.mark.parametrize("sizes", [[25] * 14, [5] * 60, [200, 100, 50, 30, 20, 10, 10, 5, 5], [997, 1, 1, 1]])
@pytest.mark.parametrize("in_order", [False, True])
def test_a_unit_falls_into_one_part_and_shares_are_kept(sizes, in_order):
    units = np.repeat(np.arange(len(sizes)), sizes)
    parts = split_units(units, 0.2, 0.2, 3, in_order=in_order)
    seen = [set(units[getattr(parts, name)]) for name in ("train", "validation", "test")]
    assert all(seen) and sum(map(len, seen)) == len(sizes)
    assert np.array_equal(np.sort(np.concatenate([parts.train, parts.validation, parts.test])), np.arange(len(units)))
    if max(sizes) <= 25:
        assert abs(shares(parts)["test"] - 0.2) <= 0.05 and abs(shares(parts)["validation"] - 0.2) <= 0.05
    if in_order:
        assert max(parts.train) < min(parts.validation) and max(parts.validation) < min(parts.test)


def test_a_split_of_units_is_fixed_by_its_seed():
    units = np.repeat(np.arange(30), 10)
    a, b, c = (split_units(units, 0.15, 0.15, seed) for seed in (1, 1, 2))
    assert np.array_equal(a.test, b.test) and set(a.test) != set(c.test)


def test_fewer_units_than_parts_are_refused():
    with pytest.raises(DataError, match="20 rows hold 2 values of 'u', expected at least 3"):
        split_units(np.repeat([0, 1], 10), 0.15, 0.15, 0, what="values of 'u'")


def test_a_column_says_where_each_row_belongs():
    cells = ["Train"] * 6 + ["val"] * 2 + ["TEST "] * 2
    parts = split_by_column(cells, "part", 0.2, 0, np.arange(10))
    assert (parts.train.tolist(), parts.validation.tolist(), parts.test.tolist()) == ([*range(6)], [6, 7], [8, 9])
    drawn = split_by_column(["train"] * 8 + ["test"] * 2, "part", 0.25, 0, np.arange(10))
    assert drawn.counts() == {"train": 6, "validation": 2, "test": 2}
    with pytest.raises(DataError, match="column 'part' holds 'fold3', expected train, validation or test"):
        split_by_column([*cells, "fold3"], "part", 0.2, 0, np.arange(11))
    with pytest.raises(DataError, match="column 'part' says test in 0 rows"):
        split_by_column(["train"] * 9, "part", 0.2, 0, np.arange(9))


@pytest.mark.parametrize("copies", [1, 3])
def test_rows_in_a_file_are_numbered_as_in_memory_and_with_little_of_it(tmp_path, monkeypatch, copies):
    rows = np.random.default_rng(0).normal(size=(60_000 // copies, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", np.tile(rows, (copies, 1)))
    x = StoredRows.read(tmp_path / "x.npy")
    monkeypatch.setattr(stored, "_BLOCK", 1 << 14)
    monkeypatch.setattr(importlib.import_module("regkd_edge.data.split"), "_LOOKED_UP", 1 << 10)
    expected = repeated_rows(x[:])
    tracemalloc.start()
    found = repeated_rows(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(found, expected) and int(found.max()) + 1 == len(rows)
    assert peak < 27 * len(x)  # hashes, their sorted copy and at most one more of that: three times 8 bytes
    parts = split_units(found, 0.2, 0.2, 0)
    same = split_units(expected * 5 + 2, 0.2, 0.2, 0)  # any other numbers in the same order
    assert all(np.array_equal(getattr(parts, name), getattr(same, name)) for name in ("train", "validation", "test"))
