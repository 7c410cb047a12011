"""The student with two heads: one learns the (noisy) label, one the teacher, on one trunk (Imaoka et al. 2020).

In training it has 2 o outputs and ``StepRecipe.second_head`` > 0. The result is an ordinary MLP with o
outputs: since the output layer is linear, this holds even for the mean of the heads.
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
    """Return a student with twice the outputs: trunk and label head are copied, the teacher's head is new."""
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
    """Return the MLP to export: the head of the ``label`` (the default), of the ``teacher``, or the ``mean``."""
    *hidden, both = student.widths
    if which not in HEADS:
        raise RecipeError(f"head '{which}' is unknown.", f"Use one of: {', '.join(HEADS)}.")
    if both % 2:
        raise ModelError(
            f"a two-headed student has an even number of outputs, and this one has {both}.",
            "Train it with second_head > 0.",
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
    """Return the label head as a function [B, ...] -> [B, o], for the terms and the search."""
    return lambda x: check_two_heads(student(x), outputs)[..., :outputs]


def check_two_heads(out: Tensor, outputs: int) -> Tensor:
    """Return ``out`` if it consists of two heads of ``outputs`` each."""
    if out.shape[-1] != 2 * outputs:
        raise RecipeError(
            f"second_head needs a student with {2 * outputs} outputs, and this one has {out.shape[-1]}.",
            "Create it with objectives.heads.two_heads.",
        )
    return out
