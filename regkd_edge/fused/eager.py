"""A fast path for eager calls of an operator that computes its derivative beside its value.

A registered operator with lists of tensors costs half a millisecond per call in PyTorch's dispatcher and its Python
autograd, many times the cost of a small step. If nothing traces or transforms a call, the dispatcher can be skipped.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["layout_of", "parts_of", "plainly_eager", "with_gradient"]

Layout = tuple[tuple[torch.Size, tuple[int, ...], int], ...]  # shape, strides and offset in a flat gradient


def plainly_eager(x: Tensor) -> bool:
    """Return whether a call on ``x`` is plain PyTorch: no compiler, dispatch mode, function transform or subclass."""
    if torch.compiler.is_compiling() or type(x) is not Tensor:
        return False
    return not (torch._C._len_torch_dispatch_stack() or torch._C._are_functorch_transforms_active())


def layout_of(shapes: Iterable[torch.Size]) -> Layout:
    """Where tensors of these shapes lie one after the other in a flat tensor, each dense and row-major."""
    found, offset = [], 0
    for shape in shapes:
        strides, size = [], 1
        for n in reversed(shape):
            strides.append(size)
            size *= n
        found.append((torch.Size(shape), tuple(reversed(strides)), offset))
        offset += size
    return tuple(found)


def parts_of(flat: Tensor, layout: Layout) -> list[Tensor]:
    """Views of a flat tensor."""
    return [flat.as_strided(shape, strides, offset) for shape, strides, offset in layout]


def with_gradient(
    value: Tensor,  # scalar, without a graph
    flat: Tensor,  # [P] the derivative of value by the inputs, one after the other
    inputs: list[Tensor],
    layout: Layout,
) -> Tensor:  # scalar
    """Return ``value`` as a differentiable function of the inputs; a second derivative is an error."""
    return _apply((value, flat, layout), *inputs) if torch.is_grad_enabled() else value


class _WithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, known, *inputs):
        value, flat, ctx.layout = known
        ctx.save_for_backward(flat)
        return value

    @staticmethod
    def backward(ctx, upstream):
        return (_once if torch.is_grad_enabled() else _scaled)(ctx, upstream)


# Not Function.apply, which checks every argument for wrappers of a function transform: there are none if
# plainly_eager() holds.
_apply = super(torch.autograd.Function, _WithGradient).apply


def _scaled(ctx, upstream):
    return None, *parts_of(upstream * ctx.saved_tensors[0], ctx.layout)


# Expensive, needed only if the backward itself is recorded.
_once = torch.autograd.function.once_differentiable(_scaled)
