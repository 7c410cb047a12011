"""Linear maps, sums, products and limits of a symbolic row, one function per operation of torch, with its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .branches import joined, total
from .piecewise import Lines
from .symbolic_row import NotAChain, SymbolicRow
from .values import Stacked, require_constant, scalar, vector

__all__ = [
    "added",
    "addmm",
    "any_batch_norm",
    "batch_norm",
    "batch_norm_of_aten",
    "clamped",
    "divided",
    "dropout",
    "linear",
    "matmul",
    "maximum",
    "minimum",
    "multiplied",
    "negated",
    "normalized",
    "power",
    "prelu",
    "reduced",
    "subtracted",
    "subtracted_from",
]


def linear(x: Any, weight: Any, bias: Any = None) -> SymbolicRow:
    require_constant(weight, bias)
    return x.linear(weight, bias)


def matmul(x: Any, other: Any) -> SymbolicRow:
    if not isinstance(x, SymbolicRow):
        raise NotAChain("a product with the row on the right")
    require_constant(other)
    return x.linear(other.T if other.ndim == 2 else other[None])


def addmm(bias: Any, x: Any, other: Any, beta: float = 1, alpha: float = 1) -> SymbolicRow:
    require_constant(bias)
    return matmul(x, other * alpha).scaled(torch.ones(()), bias * beta)


def normalized(x: SymbolicRow, mean, var, weight, bias, eps: float) -> SymbolicRow:
    if mean is None or var is None:
        raise NotAChain("a normalization by the batch")
    factor = (var.double() + eps).rsqrt() * (1 if weight is None else weight.double())
    return x.scaled(factor, (0 if bias is None else bias.double()) - mean.double() * factor)


def batch_norm(
    x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5
) -> SymbolicRow:
    if training:
        raise NotAChain("a normalization by the batch")
    return normalized(x, running_mean, running_var, weight, bias, eps)


def batch_norm_of_aten(x, weight, bias, running_mean, running_var, *rest) -> SymbolicRow:
    # aten.batch_norm(..., training, momentum, eps, cudnn_enabled);
    # _native_batch_norm_legit_no_training(..., momentum, eps)
    if rest[0] is True:
        raise NotAChain("a normalization by the batch")
    return normalized(x, running_mean, running_var, weight, bias, rest[2] if len(rest) > 2 else rest[1])


def any_batch_norm(x, *args, **kwargs) -> SymbolicRow:
    if len(args) >= 6 and isinstance(args[4], bool):  # aten has weight and bias first
        return batch_norm_of_aten(x, *args)
    return batch_norm(x, *args, **kwargs)


def dropout(x: SymbolicRow, p: float = 0.5, training: bool = True, inplace: bool = False) -> SymbolicRow:
    if training and p > 0:
        raise NotAChain("a dropout that is always on")
    return x


# Sums and products


def added(a: Any, b: Any, alpha: float = 1, **_: Any) -> SymbolicRow:
    if isinstance(a, SymbolicRow) and isinstance(b, SymbolicRow):
        if (a.function is None and b.function is None) or not a.same_numbers(b):
            return total(a, b, alpha)
        return a.with_other(b, lambda x, y: x + alpha * y, otherwise=lambda: total(a, b, alpha))
    x, constant, factor = (a, b * alpha, 1.0) if isinstance(a, SymbolicRow) else (b, a, float(alpha))
    if scalar(constant) is not None:
        return x.each(lambda z: z * factor + scalar(constant))
    return x.scaled(torch.tensor(factor), vector(constant, x.width))


def subtracted(a: Any, b: Any, alpha: float = 1, **_: Any) -> SymbolicRow:
    return added(a, b, alpha=-alpha)


def subtracted_from(a: Any, b: Any, alpha: float = 1) -> SymbolicRow:
    return added(b, a, alpha=-alpha)


def multiplied(a: Any, b: Any) -> SymbolicRow:
    if isinstance(a, SymbolicRow) and isinstance(b, SymbolicRow):
        return a.with_other(b, torch.mul)
    x, constant = (a, b) if isinstance(a, SymbolicRow) else (b, a)
    if scalar(constant) is not None:
        return x.each(lambda z: z * scalar(constant))
    return x.scaled(vector(constant, x.width), torch.zeros(()))


def divided(a: Any, b: Any, rounding_mode: str | None = None) -> SymbolicRow:
    if rounding_mode is not None:
        raise NotAChain("a division that rounds")
    if isinstance(b, SymbolicRow):
        if isinstance(a, SymbolicRow):
            return a.with_other(b, torch.div)
        if scalar(a) is None:
            raise NotAChain("a division by the row")
        return b.each(lambda z: scalar(a) / z)
    if scalar(b) is not None:
        return a.each(lambda z: z / scalar(b))
    return a.scaled(1 / vector(b, a.width).double(), torch.zeros(()))


def power(a: Any, b: Any) -> SymbolicRow:
    if isinstance(b, SymbolicRow) or scalar(b) is None:
        raise NotAChain("a power of another row")
    return a.each(lambda z: z ** scalar(b))


def maximum(a: Any, b: Any) -> SymbolicRow:
    x, other = (a, b) if isinstance(a, SymbolicRow) else (b, a)
    if isinstance(other, SymbolicRow):
        return total(subtracted(x, other).each(torch.relu), other)
    if scalar(other) is not None:
        return x.each(lambda z: z.clamp(min=scalar(other)))
    return added(subtracted(x, other).each(torch.relu), other)


def minimum(a: Any, b: Any) -> SymbolicRow:
    return negated(maximum(*(negated(v) if isinstance(v, SymbolicRow) else -v for v in (a, b))))


def negated(x: SymbolicRow) -> SymbolicRow:
    return x.each(torch.neg)


def clamped(x: SymbolicRow, min: Any = None, max: Any = None) -> SymbolicRow:
    x = x if min is None else maximum(x, min)
    return x if max is None else minimum(x, max)


def prelu(x: SymbolicRow, weight: Tensor) -> SymbolicRow:
    """A leaky ReLU with one slope, or one per column."""
    slopes = weight.detach().double().reshape(-1).expand(x.width)
    kink = torch.zeros(1, dtype=torch.float64)
    return x.kinked([Lines(float(slope), 0.0, kink, 1 - slope[None]) for slope in slopes])


def reduced(mean: bool) -> Callable[..., SymbolicRow]:
    def reduce(x: Any, dim: Any = None, keepdim: bool = False, axis: Any = None, **_: Any) -> SymbolicRow:
        dim = axis if dim is None else dim
        dim = dim[0] if isinstance(dim, (list, tuple)) and len(dim) == 1 else dim
        if isinstance(x, Stacked):
            if dim is None or dim % 3 != x.dim:
                raise NotAChain("a sum over other than the branches")
            one = torch.eye(x.parts[0].width, dtype=torch.float64) / (len(x.parts) if mean else 1)
            return joined(x.parts).linear(one.repeat(1, len(x.parts)))
        if dim not in (1, -1):
            raise NotAChain("a sum over the rows")
        return x.linear(torch.full((1, x.width), 1 / x.width if mean else 1.0))

    return reduce
