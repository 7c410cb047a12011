"""Rows that are copies of each other but for noise: measured again at
one operating point, rounded otherwise, resampled.

Random held-out rows of such a table have been trained on, nearly. Groups are the connected rows that are closer than a
small radius. They must be tight, and the next group several radii away, for more than half of the rows: a chain of rows
along a fine axis, whose neighbours are near each other as well, does not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

__all__ = ["close_groups", "compares"]

_ROWS, _WIDE = 5000, 2000  # rows up to which all distances are looked at, and up to which radii beyond copies are tried
_RADII = (1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.15)  # times the root of the number of columns, standardised
_PRODUCTS = 3_000_000_000  # of the matrix of distances
_COPIES = 1e-2  # radius up to which rows are copies
_APART, _TIGHT = 4.0, 2.0  # radii to the next group at least, and to the middle of its own group at most
_GROUPED, _FEWEST = 0.6, 5  # share of the rows that have a close one, and groups


def compares(n: int) -> bool:
    """Whether n rows are few enough to be compared with each other."""
    return 20 <= n <= _ROWS


def close_groups(
    x: np.ndarray,  # [N, d]
    left_out: Sequence[int] = (),
) -> tuple[np.ndarray, bool] | None:  # int64 [N]
    """Number the groups of close rows, and whether they are copies (within 1 % of the spread of each column).

    ``left_out``: columns that say which row it is. None where the rows form no groups, or are more than 5,000.
    """
    n = len(x)
    if not compares(n):
        return None
    outside = {*left_out}
    kept = [j for j in np.flatnonzero(x.max(axis=0) > x.min(axis=0)).tolist() if j not in outside]
    if n**2 * len(kept) > _PRODUCTS or len(kept) < 2 or not np.isfinite(x[:, kept]).all():
        return None
    z = x[:, kept]
    low, high = np.percentile(z, [25, 75], axis=0)
    spread = np.minimum(
        z.std(axis=0), np.where(high > low, (high - low) / 1.35, np.inf)
    )  # few large values widen the first
    z = (z - z.mean(axis=0)) / spread
    distinct, copies = np.unique(z, axis=0, return_inverse=True)
    if len(distinct) < 2 * _FEWEST:
        return None
    near, found = _nearest(distinct), None
    for radius in _RADII:
        if radius > _COPIES and (found is not None or n > _WIDE):
            break
        limit = radius * len(kept) ** 0.5
        if (near <= limit).mean() < _GROUPED:
            continue
        groups = _linked(distinct, limit)
        count, sizes = int(groups.max()) + 1, np.bincount(groups)
        if count < _FEWEST or sizes.max() > 0.5 * len(distinct):
            break  # a wider radius joins more
        if 2 * count <= len(distinct) and _is_tight(distinct, groups, _TIGHT * limit, _APART * limit):
            # The widest such radius is taken, which leaves no copy apart.
            groups = _with_fragments(distinct, groups, _APART * limit)
            found = groups[copies.reshape(-1)].astype(np.int64), radius <= _COPIES
            if radius > _COPIES:
                break
    return found


def _with_fragments(z: np.ndarray, groups: np.ndarray, limit: float) -> np.ndarray:
    """The groups joined with those within ``limit`` of them: a row a little off its copies is one of them all the same.

    Groups stay as they are where that makes a chain of them, as on a fine axis.
    """
    joined = _linked(z, limit)
    before, count = int(groups.max()) + 1, int(joined.max()) + 1
    sizes = np.bincount(joined)
    keeps = _FEWEST <= count < before and sizes.max() <= max(0.5 * len(z), 2 * np.bincount(groups).max())
    return joined if keeps and _is_tight(z, joined, limit, limit) else groups


def _blocks(z: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared distances of 256 rows to all, and of the next; exact near 0 too. A block may be changed."""
    norms = (z**2).sum(axis=1)
    small = 1e-6 * norms.mean()  # below it the difference of large numbers is only rounding
    for begin in range(0, len(z), 256):
        rows = slice(begin, begin + 256)
        squares = z[rows] @ (-2 * z.T)
        squares += norms
        squares += norms[rows, None]
        at, to = np.divmod(np.flatnonzero(squares < small), len(z))
        squares[at, to] = ((z[begin + at] - z[to]) ** 2).sum(axis=1)
        yield rows, squares


def _nearest(z: np.ndarray) -> np.ndarray:  # [n]
    near = np.empty(len(z))
    for rows, squares in _blocks(z):
        squares[np.arange(len(squares)), rows.start + np.arange(len(squares))] = np.inf
        near[rows] = squares.min(axis=1)
    return np.sqrt(near)


def _linked(z: np.ndarray, limit: float) -> np.ndarray:  # int64 [n]
    """Group of each row: all that is reached from it in steps of ``limit`` at most."""
    close = np.empty((len(z), len(z)), dtype=bool)
    for rows, squares in _blocks(z):
        close[rows] = squares <= limit**2
    groups, count = np.full(len(z), -1), 0
    for first in range(len(z)):
        if groups[first] >= 0:
            continue
        groups[first], ends = count, np.array([first])
        while len(ends):  # the rows that were reached last, and from there the next ones
            reached = close[ends].any(axis=0)
            ends = np.flatnonzero(reached & (groups < 0))
            groups[ends] = count
        count += 1
    return groups


def _is_tight(z: np.ndarray, groups: np.ndarray, size: float, apart: float) -> bool:
    """Whether the median row is within ``size`` of the middle of its group, and its group ``apart`` from other rows."""
    count = int(groups.max()) + 1
    middle = np.column_stack([np.bincount(groups, column) for column in z.T]) / np.bincount(groups)[:, None]
    if np.median(np.sqrt(((z - middle[groups]) ** 2).sum(axis=1))) > size:
        return False
    least = np.full(count, np.inf)
    for rows, squares in _blocks(z):
        squares[groups[rows, None] == groups] = np.inf
        np.minimum.at(least, groups[rows], squares.min(axis=1))
    return bool(np.median(np.sqrt(least[groups])) >= apart)
