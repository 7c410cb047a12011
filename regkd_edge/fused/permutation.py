"""Order of the rows: a keyed bijection of [0, N) per epoch, without a stored shuffle.

The twin of ``csrc/core/permutation.h``, bit for bit: six Feistel rounds with an integer hash over the smallest power of
two that holds N, repeated while the result is N or beyond. The six round keys are Philox words of (seed, epoch).
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from .philox import ROWS, philox

__all__ = ["batch_rows", "epoch_rows"]

_MASK = 0xFFFFFFFF


def _round_keys(seed: int, epoch: int) -> list[int]:
    seed ^= (epoch >> 32) << 32
    quad = torch.tensor([0, 1])
    fixed = [torch.full_like(quad, value) for value in (0, epoch & _MASK, ROWS << 16)]
    words = torch.stack(philox(fixed[0], quad, fixed[1], fixed[2], seed), 1)  # [2, 4]
    return words.flatten()[:6].tolist()


def _hash(h: Tensor, key: int) -> Tensor:
    h = ((h ^ key) * 0x9E3779B1) & _MASK
    h = h ^ (h >> 15)
    h = (h * 0x85EBCA6B) & _MASK
    return h ^ (h >> 13)


@lru_cache(maxsize=32)
def epoch_rows(seed: int, epoch: int, n: int) -> Tensor:  # [n] int64
    """Return the order in which an epoch visits the n rows. It is shared between callers: do not modify it."""
    keys = _round_keys(seed, epoch)
    bits = max(2, (n - 1).bit_length())
    high, low = bits // 2, bits - bits // 2
    high_mask, low_mask = (1 << high) - 1, (1 << low) - 1
    index = torch.arange(n, dtype=torch.int64)
    pending = torch.ones(n, dtype=torch.bool)
    while bool(pending.any()):
        at = index[pending]
        left, right = at >> low, at & low_mask
        for r in range(0, 6, 2):
            left = left ^ (_hash(right, keys[r]) & high_mask)
            right = right ^ (_hash(left, keys[r + 1]) & low_mask)
        index[pending] = (left << low) | right
        pending = index >= n
    return index


def batch_rows(seed: int, step: int, batch: int, n: int) -> Tensor:  # [batch] int64
    """Return the rows of a step: positions ``step * batch ...`` in the stream of epochs (permutations of [0, n))."""
    first, last = step * batch, (step + 1) * batch
    parts = []
    for epoch in range(first // n, (last - 1) // n + 1):
        parts.append(epoch_rows(seed, epoch, n)[max(0, first - epoch * n) : last - epoch * n])
    return torch.cat(parts)
