"""Splits by seed and nested shares of them."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.data import split, subset
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
        match="fraction 0.05 of 30 training rows leaves 2|fraction 0.05 of 10 validation rows leaves 0, expected at least 1",
    ):
        subset(split(50, 0.2, 0.2, 0), 0.05, 0)
    with pytest.raises(DataError, match="fraction 0.01 of 30 training rows leaves 0, expected at least 2"):
        subset(split(50, 0.2, 0.2, 0), 0.01, 0)
    for wrong in (0, -1, 1.5):
        with pytest.raises(DataError, match="outside"):
            subset(split(50, 0.2, 0.2, 0), wrong, 0)
