"""The student with two heads: one learns the (noisy) label, one the teacher, on one trunk (Imaoka et al. 2020).

While it learns it has 2 o outputs and ``StepRecipe.second_head`` > 0. What is kept afterwards is an ordinary MLP with o
outputs: since the output layer is linear, even the mean of the heads is one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import ModelError, RecipeError
from ..models.mlp import MLP

__all__ = ["HEADS", "first_head", "one_head", "two_heads"]

HEADS = ("label", "teacher", "mean")


def two_heads(student: MLP, generator: torch.Generator | None = None) -> MLP:
    """A student with twice the outputs: the trunk and the label head are copied, the teacher's head starts anew."""
    *hidden, outputs = student.widths
    wide = MLP([*hidden, 2 * outputs], student.activation, generator=generator)
    with torch.no_grad():
        for new, old in zip(wide.layers[:-1], student.layers[:-1]):
            new.weight.copy_(old.weight)
            new.bias.copy_(old.bias)
        wide.layers[-1].weight[:outputs].copy_(student.layers[-1].weight)
        wide.layers[-1].bias[:outputs].copy_(student.layers[-1].bias)
    return wide


def one_head(student: MLP, which: str = "label") -> MLP:
    """The MLP to export: the head that learnt the ``label`` (the default), the ``teacher``'s, or the ``mean`` of the
    two."""
    *hidden, both = student.widths
    if which not in HEADS:
        raise RecipeError(f"head '{which}' is unknown.", f"Use one of: {', '.join(HEADS)}.")
    if both % 2:
        raise ModelError(
            f"a two-headed student has an even number of outputs, this one {both}.", "Train it with second_head > 0."
        )
    o = both // 2
    single = MLP([*hidden, o], student.activation)
    with torch.no_grad():
        for new, old in zip(single.layers[:-1], student.layers[:-1]):
            new.weight.copy_(old.weight)
            new.bias.copy_(old.bias)
        for new, old in ((p, q) for p, q in zip(single.layers[-1].parameters(), student.layers[-1].parameters())):
            label, teacher = old[:o], old[o:]
            new.copy_({"label": label, "teacher": teacher, "mean": (label + teacher) / 2}[which])
    return single


def first_head(student: nn.Module, outputs: int) -> Callable[[Tensor], Tensor]:
    """The label head as a function [B, ...] -> [B, o], for the terms and the search."""
    return lambda x: check_two_heads(student(x), outputs)[..., :outputs]


def check_two_heads(out: Tensor, outputs: int) -> Tensor:
    """``out`` if it is of two heads of ``outputs`` each."""
    if out.shape[-1] != 2 * outputs:
        raise RecipeError(
            f"second_head needs a student with {2 * outputs} outputs, this one has {out.shape[-1]}.",
            "Make it with objectives.heads.two_heads.",
        )
    return out
