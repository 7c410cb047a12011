"""Points around real rows: perturbation matching with noise that respects what a row can be (ours).

Kang & Kang 2024 move a row by isotropic noise. On collinear inputs such points leave the sheet on which the rows lie,
and the teacher's answers there are irrelevant to every input that ever comes. Here the noise may follow the rows'
covariance, or a point may take some of its columns from another row; either way every point is one that can occur:
inside the observed ranges (but for ``open`` noise), whole numbers whole, codes among those observed, one-hot groups
one-hot. Of n rows, a share
of 2 / (n + 1) of all others lies outside in each continuous column: a sixth of the mixture may leave the ranges of
these, so that a student of few rows does not extrapolate there.
"""

from __future__ import annotations

import numpy as np

from ..data import Places, Scaler
from ..data.columns import Columns
from ..errors import DataError
from ..recipes.samplers import NOISES
from .covariance import shrunk_covariance

__all__ = ["MIXTURES", "NOISES", "Neighbours", "principal_factor"]

MIXTURES = {
    "mixed": (
        ("isotropic", 0.3),
        ("principal", 0.3),
        ("crossover", 0.1),
        ("open", 1.0),
        ("principal", 1.0),
        ("crossover", 0.3),
    ),
    "mixed-principal": (("principal", 0.1), ("principal", 0.3), ("principal", 1.0)),
}
"""Parts of equal size, near and far: along columns and principal directions, or along the latter alone."""
MIXTURES_OF_PLACES = {
    **MIXTURES,
    "mixed": (
        ("isotropic", 0.3),
        ("principal", 0.3),
        ("smooth", 0.3),
        ("crossover", 0.2),
        ("principal", 1.0),
        ("smooth", 1.0),
    ),
}
"""The same for images and signals."""

_LONG = 6.0  # of the longest axis: smoothness of half of the points, the other half is smooth over one place
_SPANNING = 512  # rows whose differences span the principal directions of an image or a signal

_MANY = 5  # rows per column from which their covariance is taken as it is


def principal_factor(z: np.ndarray) -> np.ndarray:  # [N, d] standardised -> [d, d]
    """Return F with F F^T = the rows' covariance, shrunk by Ledoit and Wolf's rule where the rows are few.

    ``eps @ F.T`` with eps ~ N(0, I) is noise along the principal directions, as long as the rows are spread in each.
    The shrinkage keeps directions in which few rows do not vary by chance. Many rows need none, and on collinear ones
    even a little of it would move points off the sheet on which they lie.
    """
    values, vectors = np.linalg.eigh(
        np.cov(z.T, bias=True).reshape(z.shape[1], -1) if len(z) >= _MANY * z.shape[1] else shrunk_covariance(z)
    )
    return vectors * np.sqrt(np.maximum(values, 0.0))


class Neighbours:
    """Draws points around rows, in raw units.

    Parameters
    ----------
    rows : float64 [N, d]
        Raw units; at least one.
    columns : Columns
        Kinds, with the ranges and values observed on these rows (``Columns.observed``).
    scaler : Scaler
        Noise is measured in its standard deviations.
    places : Places, optional
        Of rows that are images or signals: a channel has one range, noise may be smooth, and what is taken from another
        row is a part of it (an interval, a rectangle).
    """

    def __init__(self, rows: np.ndarray, columns: Columns, scaler: Scaler, places: Places | None = None):
        self.rows = np.asarray(rows, dtype=np.float64)
        if self.rows.ndim != 2 or len(self.rows) == 0:
            raise DataError(f"neighbours need rows [N, d] with N of at least 1, got {self.rows.shape}.")
        self.columns, self.scaler, self.places = columns, scaler, places
        if places is not None:
            self.columns = columns = columns.tied(places.channel)
        self._factor: np.ndarray | None = None
        self._free = np.array([kind == "continuous" for kind in columns.kinds])  # bool [d]
        grouped = {j for group in columns.groups for j in group}
        # What is swapped with another row together: a one-hot group, or a single column.
        self._units = [list(group) for group in columns.groups] + [
            [j] for j in range(self.rows.shape[1]) if j not in grouped
        ]
        codes = [j for j, kind in enumerate(columns.kinds) if kind == "categorical" and j not in grouped]
        self._codes = [list(group) for group in columns.groups] + [[j] for j in codes]

    def points(self, count: int, noise: str, sigma, seed: int) -> np.ndarray:  # -> [count, d] raw units
        """Draw points around rows taken in turn.

        Parameters
        ----------
        noise : str
            ``isotropic``: N(0, sigma^2) in every column. ``open``: the same, and continuous columns may leave the
            range of the rows, whose ends few rows do not reach. ``principal``: sigma times noise with the rows'
            covariance. ``crossover``: each column is taken from another row with probability sigma. ``smooth``: noise
            of deviation sigma that is smooth over places or time steps. ``mixed`` and ``mixed-principal``:
            ``MIXTURES``, in turn.
        sigma : float or sequence of d floats
            In standard deviations of a column, a share for ``crossover``; not looked at by mixtures.
        """
        rng = np.random.default_rng([seed, NOISES.index(noise)])
        mixture = (MIXTURES if self.places is None else MIXTURES_OF_PLACES).get(noise)
        if mixture is not None:
            parts = [
                self.points(-(-(count - i) // len(mixture)), kind, size, seed + i)
                for i, (kind, size) in enumerate(mixture)
            ]
            mixed = np.empty((count, self.rows.shape[1]))
            for i, part in enumerate(parts):
                mixed[i :: len(parts)] = part
            return mixed
        around = self.rows[np.arange(count) % len(self.rows)]
        size = np.broadcast_to(np.asarray(sigma, dtype=np.float64), (self.rows.shape[1],))
        if noise == "crossover" and self.places is not None:
            return self._with_parts(around, min(float(size.max()), 1.0), rng)
        if noise == "crossover":
            return self._swapped(around, self._units, np.minimum(size, 1.0), rng)
        moved = self._swapped(around, self._codes, np.minimum(0.5 * size, 0.5), rng)  # codes have no nearby value
        if noise == "principal" and self.places is not None:
            eps = self._along_rows(count, rng)
        else:
            eps = rng.standard_normal(around.shape)
        if noise == "principal" and self.places is None:
            eps = eps @ self._principal().T
        if noise == "smooth":
            eps = self._smooth(eps)
        eps *= size  # in place: the points of a training are some megabytes
        eps *= self.scaler.scale
        eps += moved
        return self._possible(eps, moved, inside=noise != "open")

    def _smooth(self, eps: np.ndarray) -> np.ndarray:
        if self.places is None:
            raise DataError(
                "noise 'smooth' needs rows that are images or signals.",
                "Use another noise, or a conv1d, conv2d or gru student.",
            )
        longest = max(n for i, n in enumerate(self.places.shape) if i != self.places.axis)
        for start, length in ((0, 1.0), (1, max(longest / _LONG, 1.0))):
            eps[start::2] = self.places.smooth(eps[start::2], length)
        return eps

    def _along_rows(self, count: int, rng) -> np.ndarray:  # [count, d]
        """Noise with the covariance of the rows, as random sums of their differences to the mean: no d x d matrix."""
        z = self.scaler.standardize(self.rows[rng.permutation(len(self.rows))[:_SPANNING]])
        return rng.standard_normal((count, len(z))) @ (z - z.mean(0)) / np.sqrt(len(z))

    def _with_parts(self, x: np.ndarray, share: float, rng) -> np.ndarray:
        """Points of which one part, a ``share`` of all places, comes from another row, all channels together."""
        places = self.places
        axes = [i for i, n in enumerate(places.shape) if i != places.axis and n > 1]
        side = share ** (1.0 / max(len(axes), 1))
        inside = np.ones((len(x), *places.shape), bool)
        for i in axes:
            size = places.shape[i]
            width = max(1, round(side * size))
            begin = rng.integers(0, size - width + 1, (len(x), 1))
            at = (np.arange(size) >= begin) & (np.arange(size) < begin + width)  # [n, size]
            inside &= at.reshape(len(x), *[size if k == i else 1 for k in range(len(places.shape))])
        donors = self.rows[rng.integers(len(self.rows), size=len(x))]
        return np.where(inside.reshape(len(x), -1), donors, x)

    def _principal(self) -> np.ndarray:
        if self._factor is None:
            z = self.scaler.standardize(self.rows)
            self._factor = principal_factor(z) if len(z) > 1 else np.eye(z.shape[1])
        return self._factor

    def _swapped(self, x: np.ndarray, units: list[list[int]], share: np.ndarray, rng) -> np.ndarray:
        """``x`` itself, changed."""
        for unit in units:
            taken = rng.random(len(x)) < share[unit[0]]
            donors = rng.integers(len(self.rows), size=len(x))
            x[np.ix_(taken, unit)] = self.rows[np.ix_(donors[taken], unit)]
        return x

    def _possible(self, x: np.ndarray, before: np.ndarray, *, inside: bool) -> np.ndarray:
        """The nearest points that can occur; codes and one-hot groups as they were before the noise. Changes ``x``."""
        low, high = self.columns.low, self.columns.high
        if not inside:  # but what is never below 0 in the rows, or never above it, stays so
            low, high = (
                np.where(self._free & (low != 0), -np.inf, low),
                np.where(self._free & (high != 0), np.inf, high),
            )
        np.clip(x, low, high, out=x)
        for unit in self._codes:
            x[:, unit] = before[:, unit]
        return x if self._free.all() else self.columns.restrict(x)
