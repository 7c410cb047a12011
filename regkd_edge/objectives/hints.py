"""Hints (FitNets, Romero et al. 2015): the student's hidden layer matches the teacher's through a learnt linear map.

``|S-T|^2 + weight / n_T |r(h_S) - h_T|^2`` is the base ``mimic`` between two networks with more outputs: both get
their hidden layer, scaled, as further outputs. So hints support every row weight and sampler that mimic supports.
Between the last hidden layers both widened networks are MLPs again, which the fused core supports.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..errors import RecipeError
from ..models.mlp import ACTIVATIONS, MLP

__all__ = ["WithHidden", "hinted", "without_hint"]


class WithHidden(nn.Module):
    """An MLP with outputs ``[S, scale * r(h)]``, h a hidden layer, r linear (the identity for a teacher)."""

    def __init__(self, network: MLP, layer: int, scale: float, regressor: nn.Linear | None):
        super().__init__()
        self.network, self.layer, self.scale, self.regressor = network, layer, scale, regressor

    def forward(self, x: Tensor) -> Tensor:  # [B, d] -> [B, o + n]
        act = ACTIVATIONS[self.network.activation]
        hidden = None
        for i, layer in enumerate(self.network.layers[:-1]):
            x = act(layer(x))
            if i == self.layer:
                hidden = x
        hint = hidden if self.regressor is None else self.regressor(hidden)
        return torch.cat([self.network.layers[-1](x), self.scale * hint], -1)


def hinted(
    student: MLP,
    teacher: MLP,
    weight: float = 1.0,
    student_layer: int = -1,
    teacher_layer: int = -1,
    generator: torch.Generator | None = None,
) -> tuple[nn.Module, nn.Module]:
    """Return ``(student, teacher)`` to train in place of the two with base ``mimic`` (ours: weight 1, mean over units).

    Layers are hidden layers counted from 0, or -1 for the last. :func:`without_hint` returns the plain student.

    Raises
    ------
    RecipeError
        A network without that hidden layer, or a weight that is not above 0.
    """
    if not weight > 0:
        raise RecipeError(f"the weight of a hint must be above 0, got {weight!r}.", "Use base mimic without hints.")
    where = []
    for name, net, layer in (("student", student, student_layer), ("teacher", teacher, teacher_layer)):
        if not isinstance(net, MLP):
            raise RecipeError(
                f"the {name} is a {type(net).__name__}, and hints need the hidden layers of an MLP.", "Use base mimic."
            )
        count = len(net.widths) - 2
        if not -1 <= layer < count or count == 0:
            raise RecipeError(
                f"the {name} has {count} hidden layers, and layer {layer} was requested.",
                f"Use -1 or 0 to {count - 1}.",
            )
        where.append(layer % count)
    units = teacher.widths[1 + where[1]]
    scale = (weight / units) ** 0.5
    regressor = nn.Linear(student.widths[1 + where[0]], units)
    if generator is not None:
        bound = regressor.in_features**-0.5
        for p in regressor.parameters():
            nn.init.uniform_(p, -bound, bound, generator=generator)
    last = where[0] == len(student.widths) - 3 and where[1] == len(teacher.widths) - 3
    if last:
        identity = torch.eye(units), torch.zeros(units)
        wide_teacher = _widened(teacher, scale * identity[0], scale * identity[1])
        return _widened(student, scale * regressor.weight, scale * regressor.bias), wide_teacher.requires_grad_(False)
    return WithHidden(student, where[0], scale, regressor), WithHidden(teacher, where[1], scale, None).requires_grad_(
        False
    )


@torch.no_grad()
def _widened(network: MLP, weight: Tensor, bias: Tensor) -> MLP:
    """Return the MLP with further outputs ``weight h + bias`` on its last hidden layer."""
    wide = MLP([*network.widths[:-1], network.widths[-1] + len(bias)], network.activation)
    for new, old in zip(wide.layers[:-1], network.layers[:-1]):
        new.load_state_dict(old.state_dict())
    wide.layers[-1].weight.copy_(torch.cat([network.layers[-1].weight, weight]))
    wide.layers[-1].bias.copy_(torch.cat([network.layers[-1].bias, bias]))
    return wide


@torch.no_grad()
def without_hint(student: nn.Module, outputs: int) -> MLP:
    """Return the plain student of ``outputs`` outputs from one that :func:`hinted` created."""
    if isinstance(student, WithHidden):
        return student.network
    plain = MLP([*student.widths[:-1], outputs], student.activation)
    for new, old in zip(plain.layers[:-1], student.layers[:-1]):
        new.load_state_dict(old.state_dict())
    plain.layers[-1].weight.copy_(student.layers[-1].weight[:outputs])
    plain.layers[-1].bias.copy_(student.layers[-1].bias[:outputs])
    return plain
