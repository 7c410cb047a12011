"""Samplers: inputs in standardised space as a function of (seed, step), possibly learning from the student."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..errors import RecipeError

__all__ = ["Network", "Sampler", "noise", "standard_normal"]

Network = Callable[[Tensor], Tensor]  # [B, d] -> [B, o], standardised

_MASK = (1 << 64) - 1


class Sampler:
    """A source of synthetic inputs.

    ``draw`` depends only on the seed, the step and what ``learn`` has done so far. A run that is interrupted and
    resumed with :meth:`state_dict` therefore draws the same points.
    """

    features: int  # d

    def draw(self, count: int, step: int) -> Tensor:  # [count, d] float32
        """Return points for the steps that begin with ``step``."""
        raise NotImplementedError

    def learn(self, student: Network, teacher: Network, step: int) -> None:
        """Learn once per round, after the student's steps of that round. Most samplers have nothing to learn."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return the learnt state, as a flat dict of tensors."""
        return {}

    def load_state_dict(self, flat: Mapping[str, Tensor]) -> None:
        """Restore the state of :meth:`state_dict`."""
        if flat:
            raise RecipeError(
                f"{type(self).__name__} keeps no state, got {sorted(flat)[:3]}.",
                "Give the state of the same kind of sampler.",
            )


def _mixed(*numbers: int) -> int:
    """Return one 63-bit seed from several numbers (SplitMix64's finalizer), so that nearby seeds share no stream."""
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state ^ number) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state = (state ^ (state >> 31)) + 0x9E3779B97F4A7C15
    return state & (_MASK >> 1)


def noise(seed: int, stream: int, step: int) -> torch.Generator:
    """Return a new generator for one purpose (``stream``) of one step."""
    return torch.Generator().manual_seed(_mixed(seed, stream, step))


def standard_normal(seed: int, stream: int, step: int, *shape: int) -> Tensor:
    """Return N(0, 1) numbers, float32, as a function of (seed, stream, step)."""
    return torch.randn(*shape, generator=noise(seed, stream, step))
