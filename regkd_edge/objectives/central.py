"""Central differences that make a teacher differentiable, with 2 d teacher evaluations per point."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .networks import central_products

__all__ = ["CentralDifferences"]


class _Central(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, teacher: nn.Module, half: float) -> Tensor:  # [P, d] -> [P, o]
        ctx.save_for_backward(x)
        ctx.teacher, ctx.half, ctx.jacobian = teacher, half, None
        return teacher(x)

    @staticmethod
    def backward(ctx, v: Tensor) -> tuple[Tensor, None, None]:  # [P, o]
        if ctx.jacobian is None:  # computed once for any number of cotangents
            ctx.jacobian = central_products(ctx.teacher, ctx.saved_tensors[0], None, ctx.half)  # [P, o, d]
        return (v[..., None] * ctx.jacobian).sum(1), None, None


class CentralDifferences(nn.Module):
    """A teacher with a first derivative by central differences of half width ``half`` (no second one).

    For the gradient-based samplers (generator, direct), for ABM by ascent and for GM, whose teacher is a constant.
    """

    differentiable = True

    def __init__(self, teacher: nn.Module, half: float):
        super().__init__()
        self.teacher, self.half = teacher, half

    def forward(self, x: Tensor) -> Tensor:  # [P, d] -> [P, o]
        return _Central.apply(x, self.teacher, self.half)
