"""Inputs that do not vary on the training points: the network that is kept ignores them.

Nothing is learnt about such an input, but its weights are not 0: they start at random, and Adam moves each as far as it
moves the bias. A later row with another value there (a lamp that was never on in the rows at hand, a pixel that was
always white) would be multiplied by these. The kept network has zeros in their place and what they added to the first
layer in its bias: on every training point it answers the same.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..models import MLP
from ..objectives import StepRecipe
from ..recipes.terms import TERMS
from .source import Source

__all__ = ["ignored", "ignoring", "unvaried"]

_NAMED = 5
_SOME = 64  # points among which most inputs vary already


def unvaried(source: Source, recipe: StepRecipe) -> np.ndarray:  # -> int [k]
    """Return the inputs that have one value on all points of the steps, as far as that is known beforehand.

    A feed may draw other values; so may perturbed and searched points, unless a box holds them. Matched gradients
    teach the student how its teacher answers to an input, whether it varies or not.
    """
    if source.x is None or source.feed is not None or any(TERMS[name].teacher_gradient for name in recipe.active_terms):
        return np.empty(0, dtype=int)
    x = source.x
    if (x[:_SOME] != x[0]).any(0).all():
        return np.empty(0, dtype=int)
    same = (x == x[0]).all(0)
    if recipe.active_terms:
        if recipe.low is None or recipe.high is None:
            return np.empty(0, dtype=int)
        same &= torch.tensor(recipe.low) == torch.tensor(recipe.high)
    return torch.nonzero(same)[:, 0].numpy()


def ignoring(network: nn.Module, inputs: np.ndarray, x: Tensor) -> nn.Module:  # x [d]: their values
    """Return an MLP with zero weights for ``inputs`` that answers the same where these have the values of ``x``.

    Other networks are returned as they are: a filter has no weight for a single input.
    """
    if not len(inputs) or not isinstance(network, MLP):
        return network
    network = copy.deepcopy(network)
    first = network.layers[0]
    with torch.no_grad():
        chosen = torch.as_tensor(inputs, device=first.weight.device)
        first.bias += first.weight[:, chosen] @ x.to(first.weight)[chosen]
        first.weight[:, chosen] = 0.0
    return network


def ignored(inputs: np.ndarray, names: Sequence[str], x: np.ndarray) -> list[str]:
    """Return a note on the inputs that are ignored but vary in ``x`` [n, d], or none."""
    found = [names[j] for j in inputs if (x[:, j] != x[0, j]).any()]
    if not found:
        return []
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return [
        f"{', '.join(found[:_NAMED])}{more}: one value in all rows that the student sees, others elsewhere; the "
        "student ignores what it cannot learn from (a larger --fraction may show it)"
    ]
