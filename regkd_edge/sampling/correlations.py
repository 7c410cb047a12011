"""Correlations that a person gives, for some pairs of inputs: from values to normal scores, and to one whole matrix.

Inputs are drawn as monotone functions of correlated normal scores ("normal to anything": Cario and Nelson 1997). A
correlation of r between two switches takes scores whose correlation is larger than r; here that one is searched, so
that the drawn values have what was given. Needs numpy only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import DataError

__all__ = ["given_correlation"]

_GRID = np.linspace(-6.0, 6.0, 1201)
_NODES = np.linspace(-5.0, 5.0, 81)
_MASS = np.exp(-0.5 * _NODES**2) / np.exp(-0.5 * _NODES**2).sum()
_HALVINGS = 24
_MOST = 0.9999  # correlation of two scores
_ROUNDS, _LEAST = 500, 1e-3  # projections, and the smallest eigenvalue that they leave
_NEAR = 0.02  # of a correlation: what a data sheet rounds away
_REMEDY = "Write correlations as - [temperature, pressure, 0.8], each pair of inputs once."


def given_correlation(
    pairs: Any,
    names: Sequence[str],
    varies: np.ndarray,  # bool [d]
    values: Callable[[np.ndarray], np.ndarray],  # scores [n, d] -> values [n, d]
    where: str,
) -> np.ndarray | None:  # [d, d]
    """Return the correlation of the normal scores under which the values have the given ones; None without any.

    Pairs that are not given have the correlations nearest to 0 that go with those that are: where a goes with b and b
    with c, a goes with c.

    Parameters
    ----------
    pairs : list of [name, name, r]
        Pearson's correlation of the values, between -1 and 1.

    Raises
    ------
    DataError
        No such list, an unknown or constant input, a pair given twice, a correlation that two such inputs cannot have,
        or several that contradict each other.
    """
    if pairs is None:
        return None
    if not isinstance(pairs, Sequence) or isinstance(pairs, (str, Mapping)):
        raise DataError(f"{where}: correlations is {pairs!r}, expected a list.", _REMEDY)
    d = len(names)
    table = values(np.repeat(_GRID[:, None], d, axis=1))  # every feature as a function of its score
    wanted = np.full((d, d), np.nan)
    for pair in pairs:
        i, j, r = _pair(pair, names, varies, wanted, where)
        wanted[i, j] = wanted[j, i] = _of_scores(table[:, i], table[:, j], r, f"{where}: {names[i]} and {names[j]}")
    return _completed(wanted, names, where)


def _pair(
    pair: Any, names: Sequence[str], varies: np.ndarray, wanted: np.ndarray, where: str
) -> tuple[int, int, float]:
    if not isinstance(pair, Sequence) or isinstance(pair, str) or len(pair) != 3:
        raise DataError(f"{where}: the correlation {pair!r} is not [input, input, number].", _REMEDY)
    places = []
    for name in map(str, pair[:2]):
        if name not in names:
            raise DataError(f"{where}: a correlation names '{name}', which is none of the inputs.", _REMEDY)
        places.append(list(names).index(name))
        if not varies[places[-1]]:
            raise DataError(f"{where}: '{name}' is constant and has no correlation.", "Leave that pair out.")
    i, j = places
    r = pair[2]
    if isinstance(r, bool) or not isinstance(r, (int, float)) or not -1 <= r <= 1:
        raise DataError(f"{where}: the correlation of {names[i]} and {names[j]} is {r!r}, expected -1 to 1.", _REMEDY)
    if i == j or np.isfinite(wanted[i, j]):
        what = "with itself" if i == j else f"and '{names[j]}' twice"
        raise DataError(f"{where}: correlations give '{names[i]}' {what}.", _REMEDY)
    return i, j, float(r)


def _of_scores(a: np.ndarray, b: np.ndarray, r: float, who: str) -> float:  # values on _GRID
    """Return the correlation of two scores under which their values correlate by r; it rises with r."""

    def correlation(rho: float) -> float:
        other = rho * _NODES[:, None] + np.sqrt(1.0 - rho**2) * _NODES  # [81, 81]
        x, y = np.interp(_NODES, _GRID, a), np.interp(other, _GRID, b)
        mass = _MASS[:, None] * _MASS
        of_y = (mass * y).sum()
        covariance = (mass * (x - _MASS @ x)[:, None] * (y - of_y)).sum()
        spread = np.sqrt(_MASS @ (x - _MASS @ x) ** 2 * (mass * (y - of_y) ** 2).sum())
        return float(covariance / max(spread, 1e-300))

    least, most = correlation(-_MOST), correlation(_MOST)
    if not least - _NEAR <= r <= most + _NEAR:
        raise DataError(
            f"{who} cannot have the correlation {r:g}: with their ranges and spreads it lies between {least:.2f} and "
            f"{most:.2f}.",
            "Check the correlation, mean, sd, low and high.",
        )
    below, above = -_MOST, _MOST
    for _ in range(_HALVINGS):
        middle = 0.5 * (below + above)
        below, above = (middle, above) if correlation(middle) < r else (below, middle)
    return 0.5 * (below + above)


def _completed(wanted: np.ndarray, names: Sequence[str], where: str) -> np.ndarray:  # [d, d], nan: not given
    """Return a positive definite matrix with the given entries, by projections in turn (after Higham 2002)."""
    given = np.isfinite(wanted)
    target = np.where(given, wanted, 0.0)
    np.fill_diagonal(target, 1.0)
    matrix = target.copy()
    for _ in range(_ROUNDS):
        values, vectors = np.linalg.eigh(matrix)
        if values[0] >= _LEAST * 0.99:
            return matrix
        near = (vectors * np.maximum(values, _LEAST)) @ vectors.T
        matrix = np.where(given, target, near)
        np.fill_diagonal(matrix, 1.0)
    scale = np.sqrt(np.diag(near))
    near = near / np.outer(scale, scale)
    off = np.where(given, np.abs(near - target), 0.0)
    i, j = np.unravel_index(off.argmax(), off.shape)
    if off[i, j] > _NEAR:
        raise DataError(
            f"{where}: the correlations contradict each other: with the others, {names[i]} and {names[j]} can have no "
            f"more than about {near[i, j]:.2f}, in normal scores, where {target[i, j]:.2f} is given.",
            "Check the signs, or give fewer pairs.",
        )
    return near
