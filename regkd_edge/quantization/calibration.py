"""The points that a quantization is chosen on, and the error that it is chosen by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..graph.chain import Chain
from ..sampling.synthetic import nearest
from .plan import Plan

__all__ = ["TOLERANCE", "Calibration", "allowed_change", "combined_rows"]

_SIGMA = 0.1  # of a small step away from a row, in deviations: the perturbation of distillation
_ALONE = 1e-3  # of a feature's own, uncorrelated step: no direction stays without any
#: Change of an output, in its standard deviations, that is allowed where the FP32 student's own error is unknown: with
#: an R2 of 0.9999 (an error of 1 % of the deviation) it raises the RMSE by 3 %, with 0.999 by 0.3 %.
TOLERANCE = 0.0025
_OF_ERROR = 0.07  # of the FP32 student's own RMSE: adds 0.25 % where the two are independent
_FEW = 0.02  # of the labelled rows: those with the largest errors do not count, since other rows will not have them


def allowed_change(
    chain: Chain,
    rows: np.ndarray,  # [n, d] raw units
    targets: np.ndarray,  # [n, o]
) -> np.ndarray:  # [o]
    """Return the RMS change of each output that hardly shows beside the FP32 student's own error on labelled rows.

    The 2 % of the rows with the largest errors (one at least, of 10 or more) are left out: an RMSE that rests on them
    allows a change that shows on all other rows.
    """
    squares = np.sort((chain(np.asarray(rows, np.float32)) - targets).astype(np.float64) ** 2, axis=0)
    n = len(squares)
    left_out = max(1, int(_FEW * n)) if n >= 10 else 0
    return _OF_ERROR * np.sqrt(np.mean(squares[: n - left_out], axis=0))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration points, with the answers that the quantized student should give.

    Parameters
    ----------
    given : float32 [n, d], raw units
        The calibration rows themselves.
    fit, held : float32 [n, d], raw units
        Points to fit on, and points to accept by.
    fit_y, held_y : float32 [n, o]
        Answers of the FP32 student.
    tolerance : float64 [o]
        RMS change of each output that is allowed, in its own unit. Errors are in these units, so that targets in watts
        and in strains are compared and never added up.
    """

    chain: Chain
    given: np.ndarray
    fit: np.ndarray
    held: np.ndarray
    fit_y: np.ndarray
    held_y: np.ndarray
    tolerance: np.ndarray

    @classmethod
    def split(
        cls, chain: Chain, rows: np.ndarray, points: int = 2048, tolerance: np.ndarray | None = None
    ) -> Calibration:
        """Return two thirds and one third of the rows, interleaved, each filled up to its share of ``points``.

        Fewer than 3 rows serve as both parts. The FP32 student answers any input, so a few rows need not be all that
        the ranges and the rounding see: what is filled in are new combinations of the rows (:func:`combined_rows`).
        """
        index = np.arange(len(rows))
        held = index % 3 == 2 if len(rows) >= 3 else index >= 0
        fit = ~held if len(rows) >= 3 else held
        new = combined_rows(rows, max(0, points - len(rows)), 1.0 / np.abs(chain.rate))
        third = len(new) // 3
        fit, held = np.concatenate([rows[fit], new[third:]]), np.concatenate([rows[held], new[:third]])
        spread = np.maximum(chain(rows).std(axis=0, dtype=np.float64), 1e-12)
        allowed = TOLERANCE * spread if tolerance is None else np.maximum(tolerance, 1e-6 * spread)  # float32 itself
        return cls(chain, rows, fit, held, chain(fit), chain(held), allowed)

    @property
    def rows(self) -> np.ndarray:
        return np.concatenate([self.fit, self.held])

    def error(self, plan: Plan, *, held: bool) -> float:
        """Return the mean square of the outputs' changes against FP32, each in units of its tolerance."""
        rows, y = (self.held, self.held_y) if held else (self.fit, self.fit_y)
        return self.judge(plan(rows), y)

    def judge(self, answers: np.ndarray, y: np.ndarray) -> float:
        """Return the mean square of ``answers - y``, each output in units of its tolerance."""
        return float(np.mean(((answers - y) / self.tolerance) ** 2))

    def worst(self, plan: Plan) -> float:
        """Return the RMS change of the output that comes nearest to its tolerance, or exceeds it most, in units of it.

        Judged on the points that nothing was fitted on; 1 is what is allowed.
        """
        change = plan(self.held) - self.held_y
        return float(np.sqrt(np.mean(change.astype(np.float64) ** 2, axis=0) / self.tolerance**2).max())

    @cached_property
    def outputs(self) -> list[np.ndarray]:
        """What each FP32 layer puts out on the fitting points."""
        return self.chain.activations(self.fit)[1]

    @cached_property
    def slopes(self) -> list[np.ndarray]:
        """How much an error there moves the network's output."""
        return self.chain.output_slopes(self.fit, self.tolerance)

    @property
    def fit_x(self) -> np.ndarray:  # [n, d]
        return self.chain.scaled(self.fit)


def combined_rows(
    rows: np.ndarray,  # [n, d] float32, raw units
    count: int,
    scale: np.ndarray,  # [d] deviation of each feature
) -> np.ndarray:  # [count, d] float32
    """Return new inputs that are correlated as the rows are.

    With rows a, b, c drawn at random and their mean m, one half are ``a + 0.1 (b - c) / sqrt(2)``, small steps away
    from a row, and the other half ``m + cos(t) (a - m) + sin(t) (b - m)`` with a random angle, which have the mean and
    the covariance of the rows: combinations of values that did not occur but will (216 hulls and speeds leave the
    corners of 6 inputs empty, and a range that was never met is clipped). Collinear sensors stay collinear: steps of
    each sensor on its own would leave the space that inputs come from, where a network with large weights of opposite
    sign answers wildly, and ranges and errors would be chosen for inputs that never occur. For the same reason all stay
    inside the range of the rows, and on values that occur where a feature takes few.
    """
    rng = np.random.default_rng(0)
    wide = rows.astype(np.float64)
    a, b, c = (wide[rng.integers(len(rows), size=count)] for _ in range(3))
    near = a + _SIGMA * (b - c) / np.sqrt(2.0)
    near += _ALONE * _SIGMA * scale * rng.standard_normal(near.shape)
    angle = rng.uniform(0.0, 2.0 * np.pi, (count, 1))
    mean = wide.mean(axis=0)
    anew = mean + np.cos(angle) * (a - mean) + np.sin(angle) * (b - mean)
    new = np.where(np.arange(count)[:, None] % 2 == 0, near, anew)
    new = np.clip(new, wide.min(axis=0), wide.max(axis=0))
    for j in range(rows.shape[1]):
        values = np.unique(rows[:, j])
        if len(values) <= len(rows) // 2:
            new[:, j] = nearest(new[:, j], values)
    return new.astype(np.float32)
