"""What the values of each column are, taken in one pass over rows in memory or in a file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from .stored import StoredRows, is_stored

__all__ = ["Seen"]

_FEW = 64  # maximum number of distinct values that are listed
_BLOCK, _FEWEST = 16 << 20, 256  # bytes of rows in a file that are looked at at a time, and rows at least
_AT_ONCE = 1 << 22  # numbers of a block of columns
_GLANCE = 4096  # rows of a block after which the search stops if they have more distinct values


@dataclass(eq=False)
class Seen:
    """Facts about d columns of N rows.

    Parameters
    ----------
    count : int
        Rows.
    low, high : float64 arrays [d]
    whole : bool array [d]
        Whether every value is a whole number.
    odd : float64 array [d]
        The first value that is not whole; not-a-number where there is none.
    values : list of (float64 array, or None), length d
        The distinct values in increasing order; None where they are more than 64 and the column is not in ``listed``,
        or where nobody asked.
    """

    count: int
    low: np.ndarray
    high: np.ndarray
    whole: np.ndarray
    odd: np.ndarray
    values: list[np.ndarray | None]

    @classmethod
    def of(cls, x: np.ndarray | StoredRows, listed: Collection[int] = (), asked: Collection[int] | None = None) -> Seen:
        """Look at rows [N, d], N of at least 1.

        Parameters
        ----------
        listed : collection of int
            Columns whose distinct values are listed, however many they are.
        asked : collection of int, optional
            Columns whose values are listed at all; by default every one.
        """
        d = x.shape[1]
        none: list[np.ndarray | None] = [np.empty(0) if asked is None or j in asked else None for j in range(d)]
        found = cls(0, np.full(d, np.inf), np.full(d, -np.inf), np.ones(d, bool), np.full(d, np.nan), none)
        step = max(_FEWEST, _BLOCK // (8 * d)) if is_stored(x) else len(x)  # columns cost more than rows
        for begin in range(0, len(x), step):
            found._add(x[begin : begin + step], listed)
        return found

    def _add(self, block: np.ndarray, listed: Collection[int]) -> None:  # [n, d]
        self.count += len(block)
        self.low, self.high = np.minimum(self.low, block.min(axis=0)), np.maximum(self.high, block.max(axis=0))
        step = max(1, _AT_ONCE // len(block))
        many = np.zeros(block.shape[1], bool)
        for begin in range(0, block.shape[1], step):  # a call for each of 100,000 columns takes seconds
            part = block[:, begin : begin + step]
            broken = part != np.rint(part)
            row = broken.argmax(axis=0)
            new = np.flatnonzero(broken.any(axis=0) & self.whole[begin : begin + step])
            self.whole[begin + new], self.odd[begin + new] = False, part[row[new], new]
            glance = np.sort(part[:_GLANCE], axis=0)
            steps = (glance[1:] != glance[:-1]) & ~np.isnan(glance[:-1])
            many[begin : begin + step] = steps.sum(axis=0) >= _FEW
        for j, column in enumerate(block.T):
            known = self.values[j]
            if known is None:
                continue
            if j not in listed and many[j]:
                self.values[j] = None
                continue
            known = np.union1d(known, column) if len(known) else np.unique(column)
            self.values[j] = known if j in listed or len(known) <= _FEW else None
