"""Inputs as described, heavy-tailed around the same moments, or half of each."""

from __future__ import annotations

import torch
from torch import Tensor

from ..data import Scaler
from .describe import InputDescription
from .gaussian import DescribedInputs, HeavyTailed

__all__ = ["Spread"]

_APART = 1_000_000  # between the seeds of the two halves: their scores have nothing in common


class Spread(DescribedInputs):
    """Inputs as described (``described``, ``gaussian``), heavy-tailed around the same moments, or half of each."""

    def __init__(self, kind: str, description: InputDescription, scaler: Scaler | None = None, *, seed: int = 0):
        super().__init__(description, scaler, seed=seed)
        self.kind = kind
        self._tails = HeavyTailed(description.d, seed=seed + _APART)

    def draw(self, count: int, step: int) -> Tensor:  # [count, d]
        return self.draw_double(count, step).float()

    def draw_double(self, count: int, step: int) -> Tensor:  # [count, d] float64
        x = super().draw(count, step).double()
        if self.kind in ("described", "gaussian"):
            return x
        # The same mean and variance for each feature, fewer middling values; then back to inputs that can occur. Where
        # ranges are known the described half lies near their crowded ends, and this half fills what lies between.
        z = self._tails.draw(count, step).double().numpy()
        raw = self.description.restrict(self.description.mean + self.description.sd * self.description.correlated(z))
        heavy = torch.from_numpy(self.scaler.standardize(raw))
        if self.kind == "mixed":
            heavy[::2] = x[::2]
        return heavy
