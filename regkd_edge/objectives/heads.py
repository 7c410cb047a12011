"""The student with two heads: one learns the (noisy) label, one the teacher, on one trunk (Imaoka et al. 2020).

In training it has 2 o outputs and ``StepRecipe.second_head`` > 0. The result is an ordinary network with o
outputs: since the output layer is linear, this holds even for the mean of the heads.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..errors import ModelError, RecipeError
from ..models.mlp import MLP

__all__ = ["HEADS", "first_head", "one_head", "two_heads"]

HEADS = ("label", "teacher", "mean")


def two_heads(student: nn.Module, generator: torch.Generator | None = None) -> nn.Module:
    """Return a student with twice the outputs: trunk and label head are copied, the teacher's head is new.

    Raises
    ------
    RecipeError
        The student does not end in a linear layer of its own (a module of the user's).
    """
    last = _last(student)
    o, n = last.out_features, last.in_features
    wide, head = copy.deepcopy(student), nn.Linear(n, 2 * o)
    with torch.no_grad():
        for new, old in ((head.weight, last.weight), (head.bias, last.bias)):
            new.uniform_(-(n**-0.5), n**-0.5, generator=generator)
            new[:o].copy_(old)
    return _ending_in(wide, head)


def one_head(student: nn.Module, which: str = "label") -> nn.Module:
    """Return the network to export: the head of the ``label`` (the default), of the ``teacher``, or the ``mean``."""
    last = _last(student)
    both = last.out_features
    if which not in HEADS:
        raise RecipeError(f"head '{which}' is unknown.", f"Use one of: {', '.join(HEADS)}.")
    if both % 2:
        raise ModelError(
            f"a two-headed student has an even number of outputs, and this one has {both}.",
            "Train it with second_head > 0.",
        )
    o = both // 2
    single, head = copy.deepcopy(student), nn.Linear(last.in_features, o)
    with torch.no_grad():
        for new, old in zip(head.parameters(), last.parameters()):
            label, teacher = old[:o], old[o:]
            new.copy_({"label": label, "teacher": teacher, "mean": (label + teacher) / 2}[which])
    return _ending_in(single, head)


def _last(student: nn.Module) -> nn.Linear:
    """The linear layer that gives the answers."""
    layers = getattr(student, "layers", None)
    if not isinstance(layers, nn.ModuleList) or not isinstance(layers[-1], nn.Linear):
        raise RecipeError(
            f"a second head needs a student that ends in a linear layer of its own, and this one is a "
            f"{type(student).__name__}.",
            "Use --heads 1, or a student of another family.",
        )
    return layers[-1]


def _ending_in(network: nn.Module, head: nn.Linear) -> nn.Module:
    """Put another last layer into a network."""
    network.layers[-1] = head.to(next(network.parameters()).device)
    if isinstance(network, MLP):
        network.widths = [*network.widths[:-1], head.out_features]
    else:
        network.outputs = head.out_features
    return network


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
