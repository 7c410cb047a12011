"""A fast path for eager calls of an operator that returns its derivative beside its value.

A registered operator with lists of tensors costs half a millisecond per call in PyTorch's dispatcher and its Python
autograd, many times the cost of a small step. If nothing traces or transforms a call, the dispatcher can be skipped.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["WithGradient", "plainly_eager"]


def plainly_eager(x: Tensor) -> bool:
    """Return whether a call on ``x`` is plain PyTorch: no compiler, dispatch mode, function transform or subclass."""
    if torch.compiler.is_compiling() or type(x) is not Tensor:
        return False
    return not (torch._C._len_torch_dispatch_stack() or torch._C._are_functorch_transforms_active())


class WithGradient(torch.autograd.Function):
    """Function ``apply(call, *inputs)`` with ``call() -> (value, detached or None, flat gradient)``.

    The flat gradient is that of the value by the inputs, one after the other. A second derivative is an error.
    """

    @classmethod
    def apply(cls, call, *inputs):
        # Bypass Function.apply, which checks every argument for wrappers of a function transform: there are none
        # if plainly_eager() holds.
        return super(torch.autograd.Function, cls).apply(call, *inputs)

    @staticmethod
    def forward(ctx, call, *inputs):
        value, detached, flat = call()
        ctx.save_for_backward(flat)
        ctx.shapes = [p.shape for p in inputs]
        if detached is not None:
            ctx.mark_non_differentiable(detached)
        return value, detached

    @staticmethod
    def backward(ctx, upstream, _):
        return (_once if torch.is_grad_enabled() else _scaled)(ctx, upstream)


def _scaled(ctx, upstream):
    parts = torch.split_with_sizes(upstream * ctx.saved_tensors[0], [shape.numel() for shape in ctx.shapes])
    return None, *[part if len(shape) == 1 else part.view(shape) for part, shape in zip(parts, ctx.shapes)]


_once = torch.autograd.function.once_differentiable(
    _scaled
)  # expensive, needed only if the backward itself is recorded
