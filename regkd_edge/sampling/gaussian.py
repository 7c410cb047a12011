"""Inputs drawn from a description: N(0, I) in the simplest case, else with ranges, whole numbers and correlation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..data import Places, Scaler
from ..errors import DataError
from .describe import InputDescription
from .sampler import Sampler, standard_normal

__all__ = ["DescribedInputs", "Gaussian", "HeavyTailed"]

_DRAW, _SCALE = 1, 2


class Gaussian(Sampler):
    """x ~ N(0, spread^2 I) in standardised space (Zhou & Chiam 2023 with spread 1)."""

    def __init__(self, features: int, *, seed: int = 0, spread: float = 1.0):
        self.features, self.seed, self.spread = features, seed, spread

    def draw(self, count: int, step: int) -> Tensor:  # [count, d]
        return self.spread * standard_normal(self.seed, _DRAW, step, count, self.features)


class HeavyTailed(Sampler):
    """Inputs of unit variance with heavy tails (ours): x_j = z_j exp(tail u_j - tail^2), z and u ~ N(0, 1).

    Counters, rates and switches resemble this more than a normal distribution; the student sees the teacher's behaviour
    far from the mean in a few features more often.
    """

    def __init__(self, features: int, *, seed: int = 0, tail: float = 0.7):
        self.features, self.seed, self.tail = features, seed, tail

    def draw(self, count: int, step: int) -> Tensor:  # [count, d]
        z = standard_normal(self.seed, _DRAW, step, count, self.features)
        u = standard_normal(self.seed, _SCALE, step, count, self.features)
        return z * torch.exp(self.tail * u - self.tail**2)


class DescribedInputs(Sampler):
    """Inputs from an :class:`InputDescription`, in the standardised space of ``scaler`` (by default its own).

    ``places``: of rows that are images or signals, which are smooth where nothing else says how they correlate.
    """

    def __init__(
        self,
        description: InputDescription,
        scaler: Scaler | None = None,
        *,
        seed: int = 0,
        places: Places | None = None,
    ):
        self.description, self.seed, self.places = description, seed, places
        self.scaler = scaler if scaler is not None else description.scaler()
        if self.scaler.width != description.d:
            raise DataError(
                f"the description has {description.d} inputs and the teacher takes {self.scaler.width}.",
                "Describe the inputs of this teacher, in order.",
            )
        self.features = description.d

    def draw(self, count: int, step: int) -> Tensor:  # [count, d]
        z = self.scores(standard_normal(self.seed, _DRAW, step, count, self.features).double().numpy())
        return torch.from_numpy(self.scaler.standardize(self.description.inputs(z))).float()

    def scores(self, z: np.ndarray) -> np.ndarray:  # [n, d]
        """Normal scores; of images and signals two thirds are smooth, over one place or over a quarter of an axis."""
        if self.places is not None and self.description.correlation is None:
            longest = max(n for i, n in enumerate(self.places.shape) if i != self.places.axis)
            for start, length in ((1, 1.0), (2, max(longest / 4, 1.0))):
                z[start::3] = self.places.smooth(z[start::3], length)
        return z

    def restrict(self, x: Tensor) -> Tensor:  # [n, d] standardised -> the nearest inputs that can occur
        """Move points of another source to valid inputs."""
        raw = self.scaler.restore(x.detach().double().cpu().numpy())
        return torch.from_numpy(np.asarray(self.scaler.standardize(self.description.restrict(raw)))).to(x)
