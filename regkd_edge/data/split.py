"""Training, validation and test rows: at random, by unit, in time, as a column says; and shares of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..io.words import counted
from .stored import StoredRows, blocks_of, is_stored

__all__ = ["Split", "at_most", "repeated_rows", "split", "split_by_column", "split_units", "subset"]

_LOOKED_UP = 1 << 20  # hashes at a time
_MINIMUM = {"training": 2, "validation": 1, "test": 1}
_WORDS = {
    "train": {"train", "training", "tr", "fit"},
    "validation": {"validation", "valid", "val", "dev", "eval"},
    "test": {"test", "testing", "holdout", "held-out", "heldout", "hold-out"},
}


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of the three parts; they share no row. With ``units``,
    the one that each row of the table belongs to."""

    train: np.ndarray  # [n_train] int64
    validation: np.ndarray  # [n_validation] int64
    test: np.ndarray  # [n_test] int64
    units: np.ndarray | None = None  # [N] int64

    def counts(self) -> dict[str, int]:
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


def split(n: int, validation: float, test: float, seed: int) -> Split:
    """Split n rows at random (NumPy's PCG64 by ``seed``).

    Parameters
    ----------
    n : int
        Number of rows.
    validation, test : float
        Shares of the rows, rounded to whole rows, at least one each; the rest is for training.

    Raises
    ------
    DataError
        Fewer than 2 training rows, 1 validation row or 1 test row would be left; the message has the numbers.
    """
    n_validation, n_test = _sizes(n, validation, test)
    order = np.random.Generator(np.random.PCG64(seed)).permutation(n).astype(np.int64, copy=False)
    return Split(order[n_test + n_validation :], order[n_test : n_test + n_validation], order[:n_test])


def _sizes(n: int, validation: float, test: float) -> tuple[int, int]:
    n_validation, n_test = max(1, round(n * validation)) if validation else 0, max(1, round(n * test)) if test else 0
    n_train = n - n_validation - n_test
    if n_train < _MINIMUM["training"]:
        raise DataError(
            f"{n} rows are too few: a split with validation {validation:g} and test {test:g} takes {n_validation} + "
            f"{n_test} rows and leaves {max(n_train, 0)} for training, expected at least {_MINIMUM['training']}.",
            "Give more rows, or smaller shares for validation and test.",
        )
    return n_validation, n_test


def repeated_rows(
    x: np.ndarray | StoredRows,  # [N, d]
    columns: Sequence[int] | None = None,
    of: Callable[[np.ndarray], np.ndarray] = lambda block: block,
) -> np.ndarray:  # [N] int64
    """Number the distinct rows: rows that are equal in ``columns``, by default in all, have equal numbers.

    ``of`` gives the columns of some rows [n, d] that are compared and that ``columns`` counts.

    By a hash of 64 bits of each row; two rows of one hash fall into one part of a split, which does no harm. Rows that
    stay in their file are numbered alike, in a third of the memory.
    """
    width = of(x[:1]).shape[1] if columns is None else len(columns)
    keys = np.random.Generator(np.random.PCG64(0)).integers(1, 2**63, width, dtype=np.uint64) * 2 + 1
    total = np.zeros(len(x), dtype=np.uint64)
    for begin, block in blocks_of(x):
        block = of(block) if columns is None else of(block)[:, columns]
        bits = np.ascontiguousarray(block + 0.0).view(np.uint64)  # -0.0 + 0.0 is 0.0, which equals it
        some = total[begin : begin + len(block)]
        for column, key in zip(bits.T, keys):
            some ^= column
            some *= key
            some ^= some >> np.uint64(29)
    return _numbered_leanly(total) if is_stored(x) else np.unique(total, return_inverse=True)[1].astype(np.int64)


def _numbered_leanly(
    hashes: np.ndarray,  # [N] uint64, overwritten
) -> np.ndarray:  # [N] int64
    """Number the distinct hashes with one sorted copy of them in memory, in place of four arrays."""
    distinct = np.sort(hashes)
    new = np.ones(len(distinct), dtype=bool)
    np.not_equal(distinct[1:], distinct[:-1], out=new[1:])
    distinct = distinct if new.all() else distinct[new]
    numbers = hashes.view(np.int64)
    for begin in range(0, len(hashes), _LOOKED_UP):
        part = slice(begin, begin + _LOOKED_UP)
        numbers[part] = np.searchsorted(distinct, hashes[part])
    return numbers


def split_units(
    units: np.ndarray,  # [N] int64
    validation: float,
    test: float,
    seed: int,
    *,
    in_order: bool = False,
    what: str = "distinct inputs",
) -> Split:
    """Split so that the rows of one unit fall into one part, the shares kept as well as they can be.

    Parameters
    ----------
    units : int64 array [N]
        The unit that each row belongs to.
    validation, test : float
        Shares of the rows; 0 leaves that part empty.
    in_order : bool
        Units in the order of their first rows: the last ones are test, those before them validation, in place of random
        ones.
    what : str
        What a unit is, for the message.

    Raises
    ------
    DataError
        Fewer units than parts, or fewer than 2 training rows left.
    """
    n = len(units)
    goals = _sizes(n, validation, test)
    numbers, sizes = _sizes_of_units(units)
    parts = 1 + sum(goal > 0 for goal in goals)
    if len(sizes) < parts:
        raise DataError(
            f"{n} rows hold {len(sizes)} {what}, expected at least {parts}: each must be in one part of the split.",
            "Give rows of more of them, or the held-out ones by --test-data.",
        )
    if in_order:
        first = np.empty(len(sizes), dtype=np.int64)
        first[numbers[::-1]] = np.arange(n)[::-1]  # of several rows the last to be written stays
        order = np.argsort(first, kind="stable")[::-1]
    else:
        order = np.random.Generator(np.random.PCG64(seed)).permutation(len(sizes))
    part = np.zeros(len(sizes), dtype=np.int8)
    free = np.ones(len(sizes), dtype=bool)
    for number, goal in ((2, goals[1]), (1, goals[0])):
        if not goal:
            continue
        others = 1 + (number == 2 and goals[0] > 0)
        chosen = _chosen(order[free[order]], sizes, goal, in_order, keep=others)
        part[chosen], free[chosen] = number, False
    rows = part[numbers]
    del order, free, sizes  # of many millions of rows each is worth its memory
    shuffled = np.arange(n) if in_order else np.random.Generator(np.random.PCG64([seed, 1])).permutation(n)
    train, kept, held = (shuffled[rows[shuffled] == number].astype(np.int64, copy=False) for number in (0, 1, 2))
    if len(train) < _MINIMUM["training"]:
        raise DataError(
            f"the split leaves {counted(len(train), 'row')} for training, expected at least {_MINIMUM['training']}.",
            "Give more rows, or smaller shares for validation and test.",
        )
    return Split(train, kept, held)


def _sizes_of_units(units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct units in their order: the number of each row's unit [N], and how many rows each has."""
    if units.min(initial=0) >= 0 and units.max(initial=0) < len(units):
        sizes = np.bincount(units)
        if sizes.all():  # they are such numbers already, as nearly always
            return units, sizes
    _, numbers, sizes = np.unique(units, return_inverse=True, return_counts=True)
    return numbers.reshape(-1), sizes


def _chosen(order: np.ndarray, sizes: np.ndarray, goal: int, in_order: bool, keep: int) -> np.ndarray:
    """Units whose rows come nearest to ``goal``, ``keep`` units left for the other parts."""
    order = order[: len(order) - keep]
    if in_order:
        total = np.cumsum(sizes[order])
        return order[: int(np.argmin(np.abs(total - goal))) + 1]
    chosen, left = [], goal
    for unit in order:
        if abs(left - sizes[unit]) < left:
            chosen.append(unit)
            left -= sizes[unit]
        if left <= 0:
            break
    return np.array(chosen or [order[np.argmin(sizes[order])]], dtype=np.int64)


def split_by_column(cells: Sequence[str], name: str, validation: float, seed: int, units: np.ndarray) -> Split:
    """Split as the cells of a column say: train, validation (or valid, val, dev) and test (or holdout).

    Where no cell says validation, a share of the training rows is drawn, whole ``units`` [N] of them.

    Raises
    ------
    DataError
        Another word, or no training or test rows.
    """
    lowered = np.array([cell.strip().lower() for cell in cells])
    parts = {part: np.flatnonzero(np.isin(lowered, sorted(words))) for part, words in _WORDS.items()}
    if sum(map(len, parts.values())) < len(lowered):
        known = set().union(*_WORDS.values())
        odd = next(cell for cell, low in zip(cells, lowered) if low not in known)
        raise DataError(
            f"column '{name}' holds {odd!r}, expected train, validation or test in every row.",
            "Correct the cells, or use --group for a column that names units.",
        )
    for part, least in (("train", _MINIMUM["training"]), ("test", 1)):
        if len(parts[part]) < least:
            raise DataError(f"column '{name}' says {part} in {len(parts[part])} rows, expected at least {least}.")
    if not len(parts["validation"]):
        rows = parts["train"]
        drawn = split_units(units[rows], validation, 0.0, seed)
        parts["train"], parts["validation"] = rows[drawn.train], rows[drawn.validation]
    return Split(*(parts[part].astype(np.int64) for part in _WORDS))


def at_most(whole: Split, limit: int, seed: int) -> tuple[Split, int]:
    """Validation and test of at most ``limit`` rows each, drawn at random, and how many rows are in no part then."""
    parts, left = {"train": whole.train}, 0
    for stream, name in enumerate(("validation", "test")):
        rows = getattr(whole, name)
        left += max(0, len(rows) - limit)
        order = np.random.Generator(np.random.PCG64([seed, 7, stream])).permutation(len(rows))
        parts[name] = rows[np.sort(order[:limit])]
    return Split(**parts), left


def subset(whole: Split, fraction: float, seed: int) -> Split:
    """Keep a share of the training and of the validation rows; the test rows stay.

    Smaller shares are contained in larger ones (10 % inside 25 %), so a series over fractions is comparable. With
    ``units`` whole units are kept, so many that their rows come nearest to the share: half of the rows of every machine
    is not half of the data.

    Raises
    ------
    DataError
        The share is outside (0, 1], or leaves fewer than 2 training rows or 1 validation row.
    """
    if not 0 < fraction <= 1:
        raise DataError(f"fraction {fraction:g} is outside (0, 1].", "Give the share of the rows to keep, such as 0.1.")
    parts = {"training": whole.train, "validation": whole.validation}
    if fraction == 1 and all(len(rows) >= _MINIMUM[name] for name, rows in parts.items()):
        return whole
    kept = {}
    for stream, (name, rows) in enumerate(parts.items()):
        count = round(fraction * len(rows))
        if count < _MINIMUM[name]:
            raise DataError(
                f"fraction {fraction:g} of {len(rows)} {name} rows leaves {count}, expected at least {_MINIMUM[name]}.",
                "Give a larger fraction or more rows.",
            )
        random = np.random.Generator(np.random.PCG64([seed, stream]))
        if whole.units is not None:
            kept[name] = rows[np.isin(whole.units[rows], _units_drawn(whole.units[rows], count, random))]
            continue
        order = random.permutation(len(rows))
        kept[name] = rows[
            np.sort(order[:count])
        ]  # the prefix of one order is nested; sorted, the share 1 is the split itself
    return Split(kept["training"], kept["validation"], whole.test, whole.units)


def _units_drawn(units: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """The first units of a random order whose rows come nearest to ``count``, at least one."""
    distinct, sizes = np.unique(units, return_counts=True)
    order = random.permutation(len(distinct))
    return distinct[order[: int(np.argmin(np.abs(np.cumsum(sizes[order]) - count))) + 1]]
