"""Inputs drawn from a description: N(0, I) in the plainest case, ranges, whole numbers and correlation where known."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..data import Scaler
from ..errors import DataError
from .describe import InputDescription
from .sampler import Sampler, standard_normal

__all__ = ["DescribedInputs", "Gaussian"]

_DRAW = 1


class Gaussian(Sampler):
    """x ~ N(0, spread^2 I) in standardised space (Zhou & Chiam 2023 with spread 1)."""

    def __init__(self, features: int, *, seed: int = 0, spread: float = 1.0):
        self.features, self.seed, self.spread = features, seed, spread

    def draw(self, count: int, step: int) -> Tensor:  # [count, d]
        return self.spread * standard_normal(self.seed, _DRAW, step, count, self.features)


class DescribedInputs(Sampler):
    """Inputs as an :class:`InputDescription` has them, in the standardised space of ``scaler`` (by default its own)."""

    def __init__(self, description: InputDescription, scaler: Scaler | None = None, *, seed: int = 0):
        self.description, self.seed = description, seed
        self.scaler = scaler if scaler is not None else description.scaler()
        if self.scaler.width != description.d:
            raise DataError(
                f"the description has {description.d} inputs and the teacher takes {self.scaler.width}.",
                "Describe the inputs of this teacher, in its order.",
            )
        self.features = description.d

    def draw(self, count: int, step: int) -> Tensor:  # [count, d]
        z = standard_normal(self.seed, _DRAW, step, count, self.features).double().numpy()
        return torch.from_numpy(self.scaler.standardize(self.description.inputs(z))).float()

    def restrict(self, x: Tensor) -> Tensor:  # [n, d] standardised -> the nearest inputs that can occur
        """For points that something else has moved."""
        raw = self.scaler.restore(x.detach().double().cpu().numpy())
        return torch.from_numpy(np.asarray(self.scaler.standardize(self.description.restrict(raw)))).to(x)
