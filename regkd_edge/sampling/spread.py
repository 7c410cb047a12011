"""Inputs as described, heavy-tailed around the same moments, moved by a few random factors, or mixtures of these."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..data import Places, Scaler
from .describe import InputDescription
from .gaussian import DescribedInputs, HeavyTailed
from .sampler import noise

__all__ = ["Spread"]

_APART = 1_000_000  # between the seeds of the two halves: their scores have nothing in common
_TAIL, _BROAD_TAIL = 0.7, 1.2
_FACTORS = 3  # stream of the noise
_BLOCK = 512  # points with the same factors
_BROAD = np.array(["described", "factors", "described", "factors", "described", "tails"])  # of six points


class Spread(DescribedInputs):
    """Draws by ``kind``.

    ``described``, ``gaussian``: as described. ``heavy-tailed``: the same moments, more small and more large values.
    ``mixed``: half of each. ``broad``: half as described, a sixth with yet heavier tails, a third moved by a few common
    factors, other ones for every block of points: what correlates with what is unknown, but real inputs do. A student
    that is too small to follow everywhere would give equal shares of it to inputs that are rare or never come.
    """

    def __init__(
        self,
        kind: str,
        description: InputDescription,
        scaler: Scaler | None = None,
        *,
        seed: int = 0,
        places: Places | None = None,
    ):
        super().__init__(description, scaler, seed=seed, places=places)
        self.kind = kind
        tail = _BROAD_TAIL if kind == "broad" else _TAIL
        self._tails = HeavyTailed(description.d, seed=seed + _APART, tail=tail)

    def draw(self, count: int, step: int) -> Tensor:  # [count, d]
        return self.draw_double(count, step).float()

    def draw_double(self, count: int, step: int) -> Tensor:  # [count, d] float64
        x = super().draw(count, step).double()
        if self.kind in ("described", "gaussian"):
            return x
        # The same mean and variance for each feature, fewer middling values; then back to inputs that can occur. Where
        # ranges are known the described half lies near their crowded ends, and this half fills what lies between.
        z = self.scores(self._tails.draw(count, step).double().numpy())
        raw = self.description.restrict(self.description.mean + self.description.sd * self.description.correlated(z))
        heavy = torch.from_numpy(self.scaler.standardize(raw))
        if self.kind == "mixed":
            heavy[::2] = x[::2]
        if self.kind == "broad":
            of = _BROAD[np.arange(count) % len(_BROAD)]
            heavy[of == "described"] = x[of == "described"]
            z = self._factors(int((of == "factors").sum()), step)
            heavy[of == "factors"] = torch.from_numpy(self.scaler.standardize(self.description.inputs(z)))
        return heavy

    def _factors(self, count: int, step: int) -> np.ndarray:  # [count, d]
        """Scores N(0, 1) that share 1 to 7 factors with random loadings; independent where a correlation is known."""
        d, generator = self.description.d, noise(self.seed, _FACTORS, step)
        z = torch.randn(count, d, generator=generator)
        if self.description.correlation is not None:
            return z.double().numpy()
        for start in range(0, count, _BLOCK):
            factors = int(torch.randint(1, max(2, min(d, 8)), (1,), generator=generator))
            loadings = torch.randn(d, factors, generator=generator)
            loadings = loadings / loadings.norm(dim=1, keepdim=True)
            share, block = torch.rand(1, generator=generator), z[start : start + _BLOCK]
            common = torch.randn(len(block), factors, generator=generator) @ loadings.T
            z[start : start + _BLOCK] = share.sqrt() * common + (1.0 - share).sqrt() * block
        return z.double().numpy()
