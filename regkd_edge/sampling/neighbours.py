"""Points around real rows: perturbation matching with noise that respects what a row can be (ours).

Kang & Kang 2024 move a row by isotropic noise. On collinear inputs such points leave the sheet on which the rows lie,
and the
teacher's answers there are irrelevant to every input that ever comes. Here the noise may follow the rows'
covariance, or a point may take some of its columns from another row; either way every point is one that can occur:
inside the observed ranges, whole numbers whole, codes among those observed, one-hot groups one-hot.
"""

from __future__ import annotations

import numpy as np

from ..data import Scaler
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
        ("isotropic", 1.0),
        ("principal", 1.0),
        ("crossover", 0.3),
    ),
    "mixed-principal": (("principal", 0.1), ("principal", 0.3), ("principal", 1.0)),
}
"""Parts of equal size, near and far: along columns and principal directions, or along the latter alone."""


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
    """

    def __init__(self, rows: np.ndarray, columns: Columns, scaler: Scaler):
        self.rows = np.asarray(rows, dtype=np.float64)
        if self.rows.ndim != 2 or len(self.rows) == 0:
            raise DataError(f"neighbours need rows [N, d] with N of at least 1, got {self.rows.shape}.")
        self.columns, self.scaler = columns, scaler
        self._factor: np.ndarray | None = None
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
            ``isotropic``: N(0, sigma^2) in every column. ``principal``: sigma times noise with the rows' covariance.
            ``crossover``: each column is taken from another row with probability sigma. ``mixed`` and
            ``mixed-principal``: ``MIXTURES``, in turn.
        sigma : float or sequence of d floats
            In standard deviations of a column, a share for ``crossover``; not looked at by mixtures.
        """
        rng = np.random.default_rng([seed, NOISES.index(noise)])
        if noise in MIXTURES:
            mixture = MIXTURES[noise]
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
        if noise == "crossover":
            return self._swapped(around, self._units, np.minimum(size, 1.0), rng)
        moved = self._swapped(around, self._codes, np.minimum(0.5 * size, 0.5), rng)  # codes have no nearby value
        eps = rng.standard_normal(around.shape)
        if noise == "principal":
            eps = eps @ self._principal().T
        return self._possible(moved + size * eps * self.scaler.scale, moved)

    def _principal(self) -> np.ndarray:
        if self._factor is None:
            z = self.scaler.standardize(self.rows)
            self._factor = principal_factor(z) if len(z) > 1 else np.eye(z.shape[1])
        return self._factor

    def _swapped(self, x: np.ndarray, units: list[list[int]], share: np.ndarray, rng) -> np.ndarray:
        x = x.copy()
        for unit in units:
            taken = rng.random(len(x)) < share[unit[0]]
            donors = rng.integers(len(self.rows), size=len(x))
            x[np.ix_(taken, unit)] = self.rows[np.ix_(donors[taken], unit)]
        return x

    def _possible(self, x: np.ndarray, before: np.ndarray) -> np.ndarray:
        """The nearest points that can occur; codes and one-hot groups as they were before the noise."""
        x = np.clip(x, self.columns.low, self.columns.high)
        for unit in self._codes:
            x[:, unit] = before[:, unit]
        return self.columns.restrict(x)
