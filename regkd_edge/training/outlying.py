"""Rows far outside those that a student sees: what it answers there is chance, and one of them can be most of an RMSE.

On one public table of 128 gas sensors, one test row of 385 lies 386 standard deviations away from the 538 rows that the
student saw; it is 98 % of the squared distance to the teacher.

Nor need such rows be outlying: with a target that has a heavy tail (a price, a dose, a Cauchy noise), one row in three
hundred can be most of the squared error. A fifth between two students may then be the answer to that row alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["outlying", "resting_on_few"]

_FAR = 10.0  # times the range of the rows that are seen
_EFFECTIVE, _ENOUGH = 5.0, 30  # rows that an RMSE rests on at least, among so many
_WORST = 3  # rows that the note counts


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


def resting_on_few(names: Sequence[str], errors: np.ndarray) -> list[str]:
    """Return a note on the target whose RMSE rests on the fewest rows, where they are too few to compare by, or none.

    So many rows of equal error would tell as much: (sum e^2)^2 / sum e^4, the effective number of Kish (1965).

    Parameters
    ----------
    names : o str
    errors : [n, o]
        Of a student on held-out rows.
    """
    if len(errors) < _ENOUGH:
        return []
    squares = (errors.astype(float) / np.maximum(np.abs(errors).max(0), 1e-300)) ** 2  # 1e-6 A: no underflow
    effective = squares.sum(0) ** 2 / np.maximum((squares**2).sum(0), 1e-300)
    k = int(np.where(squares.any(0), effective, np.inf).argmin())
    if effective[k] >= _EFFECTIVE or not squares[:, k].any():
        return []
    own = np.sort(squares[:, k])
    rest = float(own[:-_WORST].mean() ** 0.5 * np.abs(errors[:, k]).max())
    of = f" of '{names[k]}'" if len(names) > 1 else ""
    return [
        f"the RMSE{of} on {len(own):,} held-out rows rests on few of them: {_WORST} are "
        f"{own[-_WORST:].sum() / own.sum():.0%} of the squared error, and without them it is "
        f"{rest:.4g}; a difference between two students there may be chance: compare the MAE, "
        "or learn the logarithm of a target that has a long tail"
    ]
