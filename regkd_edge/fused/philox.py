"""Counter-based noise: Philox4x32-10 (Salmon et al. 2011) and standard normals, in torch integer and float32.

The twin of ``csrc/core/philox.h``, bit for bit: a number depends only on (seed, stream, step, sample, draw, feature),
not on threads, tiles, devices or earlier calls.

    counter = (sample, feature // 4, step, stream << 16 | draw)      key = (seed & 0xffffffff, seed >> 32)

The words r0..r3 of a counter give the normals of features 4q..4q+3 by Box-Muller, a pair from (r0, r1), a pair from
(r2, r3). Logarithm, sine and cosine are the header's polynomials, one rounding per operation.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ASCENT", "COTANGENT", "INPUT", "PERTURB", "ROWS", "normal", "philox", "signs"]

# Purpose of a number: two streams never share a counter.
PERTURB, ASCENT, ROWS, COTANGENT, INPUT = range(5)

_MASK = 0xFFFFFFFF


def philox(c0: Tensor, c1: Tensor, c2: Tensor, c3: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Run ten rounds on counters held in int64 tensors of one shape (values below 2^32); the four words likewise."""
    k0, k1 = seed & _MASK, (seed >> 32) & _MASK
    for _ in range(10):
        # A product of two 32-bit numbers wraps in int64, but its bits are correct: shift, then mask.
        p0, p1 = c0 * 0xD2511F53, c2 * 0xCD9E8D57
        c0, c1, c2, c3 = ((p1 >> 32) & _MASK) ^ c1 ^ k0, p1 & _MASK, ((p0 >> 32) & _MASK) ^ c3 ^ k1, p0 & _MASK
        k0, k1 = (k0 + 0x9E3779B9) & _MASK, (k1 + 0xBB67AE85) & _MASK
    return c0, c1, c2, c3


def _log(u: Tensor) -> Tensor:
    """Return ln u for float32 u in (0, 1], by the header's order of operations."""
    bits = u.view(torch.int32) + (0x3F800000 - 0x3F3504F3)
    e = ((bits >> 23) - 127).float()
    f = ((bits & 0x007FFFFF) + 0x3F3504F3).view(torch.float32) - 1.0
    z = f * f
    p = f * 7.0376836292e-2 - 1.1514610310e-1
    for constant in (
        1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1, -1.6668057665e-1,
        2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1,
    ):  # fmt: skip
        p = p * f + constant
    y = (p * f) * z
    y = y + e * -2.12194440e-4
    y = y - z * 0.5
    y = f + y
    return y + e * 0.693359375


def _cos_sin(m: Tensor) -> tuple[Tensor, Tensor]:
    """Return cos and sin of m * 2^-24 turns, m int32 in [0, 2^24)."""
    q = (m + (1 << 21)) >> 22
    w = (m - (q << 22)).float() * 2.0**-22
    x = w * 1.57079632679489662
    z = x * x
    s = z * -1.9515295891e-4 + 8.3321608736e-3
    s = s * z - 1.6666654611e-1
    s = (s * z) * x + x
    c = z * 2.443315711809948e-5 - 1.388731625493765e-3
    c = c * z + 4.166664568298827e-2
    c = (c * z) * z
    c = c - z * 0.5
    c = c + 1.0
    odd = (q & 1) != 0
    a, b = torch.where(odd, s, c), torch.where(odd, c, s)
    return torch.where(((q + 1) & 2) != 0, -a, a), torch.where((q & 2) != 0, -b, b)


def _normal_pair(r0: Tensor, r1: Tensor) -> tuple[Tensor, Tensor]:
    u = ((r0 >> 8).to(torch.int32).float() + 0.5) * 2.0**-24
    # Via float64: the float32 root of torch on a CPU (MKL) is not correctly rounded, the header's is.
    radius = (_log(u) * -2.0).double().sqrt().float()
    c, s = _cos_sin((r1 >> 8).to(torch.int32))
    return radius * c, radius * s


def _words(stream: int, step: int, draws: range, samples: range, quads: int, seed: int, device) -> tuple[Tensor, ...]:
    sample = torch.arange(samples.start, samples.stop, dtype=torch.int64, device=device)[:, None, None]
    draw = torch.arange(draws.start, draws.stop, dtype=torch.int64, device=device)[None, :, None]
    quad = torch.arange(quads, dtype=torch.int64, device=device)[None, None, :]
    shape = (len(samples), len(draws), quads)
    fixed = torch.full((1, 1, 1), step & _MASK, dtype=torch.int64, device=device)
    counter = (sample, quad, fixed, (stream << 16) | draw)
    return philox(*(c.expand(shape) for c in counter), seed)


def normal(
    seed: int,
    stream: int,
    step: int,
    samples: int,
    draws: int,
    features: int,
    *,
    first_draw: int = 0,
    first: int = 0,
    device="cpu",
) -> Tensor:  # [samples, draws, features] float32
    """Return standard normals of one step of one stream, for the samples from ``first`` on, all draws and features."""
    quads = -(-features // 4)
    r0, r1, r2, r3 = _words(
        stream, step, range(first_draw, first_draw + draws), range(first, first + samples), quads, seed, device
    )
    quad = torch.stack([*_normal_pair(r0, r1), *_normal_pair(r2, r3)], -1)
    return quad.flatten(2)[:, :, :features]


def signs(
    seed: int, step: int, samples: int, first: int, count: int, outputs: int, *, sample: int = 0, device="cpu"
) -> Tensor:  # [samples, count, outputs] float32 of +-1
    """Return random cotangents: -1 where the top bit of the word of stream COTANGENT is set.

    Draws from ``first``, samples from ``sample`` on.
    """
    draws, samples = range(first, first + count), range(sample, sample + samples)
    words = _words(COTANGENT, step, draws, samples, -(-outputs // 4), seed, device)
    bits = torch.stack([w >> 31 for w in words], -1).flatten(2)[:, :, :outputs]
    return 1.0 - 2.0 * bits.float()
