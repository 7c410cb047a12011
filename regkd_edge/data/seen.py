"""What the values of each column are, taken in one pass over rows in memory or in a file."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from .stored import StoredRows, is_stored

__all__ = ["Seen"]

_FEW = 64  # maximum number of distinct values that are listed
_BLOCK, _FEWEST = 16 << 20, 256  # bytes of rows in a file that are looked at at a time, and rows at least
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
        for j, column in enumerate(block.T):
            for some in (column[:_GLANCE], column):  # most columns that are not whole show it at once
                if self.whole[j] and (broken := some != np.rint(some)).any():
                    self.whole[j], self.odd[j] = False, some[np.argmax(broken)]
            known = self.values[j]
            if known is None:
                continue
            if j not in listed and len(np.unique(column[:_GLANCE])) > _FEW:
                self.values[j] = None
                continue
            known = np.union1d(known, column) if len(known) else np.unique(column)
            self.values[j] = known if j in listed or len(known) <= _FEW else None
