"""Rows far outside those that a student sees: what it answers there is chance, and one of them can be most of an RMSE.

On one public table of 128 gas sensors, one test row of 385 lies 386 standard deviations away from the 538 rows that the
student saw; it is 98 % of the squared distance to the teacher.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["outlying"]

_FAR = 10.0  # times the range of the rows that are seen


def outlying(names: Sequence[str], seen: np.ndarray, rows: np.ndarray) -> list[str]:
    """Return a note on the rows that lie beyond the range of ``seen`` by ten times its width or more, or none.

    Parameters
    ----------
    names : d str
    seen, rows : [m, d] and [n, d]
        Raw units. Columns that do not vary in ``seen`` do not count.
    """
    low, high = seen.min(0), seen.max(0)
    width = np.where(high > low, high - low, np.inf)
    beyond = np.maximum(low - rows, rows - high) / width
    far = (beyond > _FAR).any(1)
    if not far.any():
        return []
    j = int(beyond.max(0).argmax())
    lie = "lie" if far.sum() > 1 else "lies"
    return [
        f"{far.sum():,} of {len(rows):,} rows of the table {lie} far outside the rows that the student sees "
        f"('{names[j]}' by {beyond[:, j].max():.0f} times their range): its answers there are chance, and "
        "one such row can be most of an RMSE; check whether it is an error of measurement"
    ]
