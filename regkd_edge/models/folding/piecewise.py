"""Functions of one number that are straight lines with kinks, as sums of ReLUs.

``f(z) = first line + sum_k (slope_k - slope_{k-1}) relu(z - kink_k)``: a clamp, a leaky ReLU of any slope, a ReLU6, an
absolute value and a hard sigmoid are such functions, however they are written. They are told by their values, so the
kinks are where neighbouring lines meet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["FAR", "Lines", "lines_of"]

_NEAR = 100.0  # from 0, kinks that float32 tells from small numbers
_KINKS = 4  # beyond, the function bends rather than kinks
#: Where kinks are looked for far out, on both sides of 0.
FAR = torch.logspace(1.08, 6.5, 400, dtype=torch.float64)
# Dense where kinks are likely; each line between two kinks needs three points to be told.
_POINTS = torch.cat([-FAR.flip(0), torch.linspace(-12.01, 12.01, 2403, dtype=torch.float64), FAR])
_EXACT = 1e-6  # per unit of the values


@dataclass(frozen=True)
class Lines:
    """``f(z) = shift + slope z + sum steps relu(z - kinks)``, float64."""

    slope: float
    shift: float
    kinks: Tensor  # [k]
    steps: Tensor  # [k]

    def __call__(self, z: Tensor) -> Tensor:
        return self.shift + self.slope * z + (self.steps * torch.relu(z[..., None] - self.kinks)).sum(-1)

    def units(self) -> tuple[float, list[tuple[float, float, float]]]:
        """Return c and (sign, offset, step) of each unit: ``f(z) = c + sum step relu(sign z + offset)``.

        The units go outwards from the kink nearest to 0, or from 0 itself where that is far: otherwise a small number
        would be the difference of two large ones.
        """
        at = self.kinks[self.kinks.abs().argmin()]
        at = at if abs(at) <= _NEAR else torch.zeros_like(at)
        left = self.slope + float(self.steps[self.kinks < at].sum())
        right = self.slope + float(self.steps[self.kinks <= at].sum())
        units = [(-1.0, float(at), -left), (1.0, -float(at), right)]
        for kink, step in zip(self.kinks.tolist(), self.steps.tolist()):
            if kink != at:
                sign = 1.0 if kink > at else -1.0
                units.append((sign, -sign * kink, step))
        return float(self(at)), [unit for unit in units if unit[2] != 0]


def lines_of(function: Callable[[Tensor], Tensor]) -> Lines | None:
    """Return the lines of a function of single numbers, float64, or None where it has none (or too many)."""
    z = _POINTS
    y = function(z).double()
    if y.shape != z.shape or not torch.isfinite(y).all():
        return None
    unit = min(1.0, float(y[len(FAR) : -len(FAR)].abs().max()))  # of values that may all be tiny
    slopes = y.diff() / z.diff()
    size = torch.maximum(slopes[1:].abs(), slopes[:-1].abs())
    same = (
        (slopes.diff().abs() <= _EXACT * size + 1e-10 * unit).nonzero().flatten()
    )  # interval i and i + 1 are one line
    if not len(same):
        return None
    starts = same[torch.cat([torch.tensor([True]), same.diff() > 1])]  # one interval of each line
    if len(starts) > _KINKS + 1 or starts[0] != 0 or same[-1] != len(slopes) - 2:
        return None
    slope = slopes[starts]
    shift = y[starts] - slope * z[starts]
    kinks = -shift.diff() / slope.diff()
    found = Lines(float(slope[0]), float(shift[0]), kinks, slope.diff())
    between = torch.cat([z[:-1] + 0.37 * z.diff(), kinks])
    values = function(between).double()
    close = (found(between) - values).abs() <= _EXACT * (unit + values.abs())
    return found if torch.isfinite(kinks).all() and bool(close.all()) else None
