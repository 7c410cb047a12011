"""The multilayer perceptron: the network of the fused core, and the usual student for tabular regression."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import ModelError

__all__ = ["ACTIVATIONS", "MLP", "hooked", "is_plain"]

# Name -> function. Every name is also one of csrc/core/activation.h; the two lists are compared by a test.
ACTIVATIONS = {
    "identity": lambda z: z,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,  # slope 0.01
    "elu": F.elu,
    "silu": F.silu,
    "gelu": F.gelu,  # by erf
    "gelu_tanh": lambda z: F.gelu(z, approximate="tanh"),
    "tanh": torch.tanh,
    "softplus": F.softplus,
}


class MLP(nn.Module):
    """Linear layers with one activation between them and a linear output.

    Parameters
    ----------
    widths : sequence of int
        ``[d, n_1, ..., n_{L-1}, o]``: inputs, hidden widths, outputs.
    activation : str
        A key of :data:`ACTIVATIONS`.
    generator : torch.Generator, optional
        Source of the initial weights; PyTorch's global generator by default. The distribution is that of
        ``nn.Linear``: uniform in +-1/sqrt(fan_in).
    """

    def __init__(self, widths: Sequence[int], activation: str = "relu", *, generator: torch.Generator | None = None):
        super().__init__()
        widths = [int(n) for n in widths]
        if len(widths) < 2 or min(widths) < 1:
            raise ModelError(
                f"an MLP needs at least 2 widths of at least 1, got {widths}.",
                "Give inputs, hidden widths and outputs.",
            )
        if activation not in ACTIVATIONS:
            raise ModelError(f"unknown activation '{activation}'.", f"Use one of: {', '.join(ACTIVATIONS)}.")
        self.widths = widths
        self.activation = activation
        self.layers = nn.ModuleList(nn.Linear(m, n) for m, n in zip(widths[:-1], widths[1:]))
        if generator is not None:
            with torch.no_grad():
                for layer in self.layers:
                    bound = layer.in_features**-0.5
                    layer.weight.uniform_(-bound, bound, generator=generator)
                    layer.bias.uniform_(-bound, bound, generator=generator)

    def forward(
        self,
        x: Tensor,  # [..., d]
    ) -> Tensor:  # [..., o]
        act = ACTIVATIONS[self.activation]
        *hidden, last = self.layers
        for layer in hidden:
            x = act(layer(x))
        return last(x)

    def extra_repr(self) -> str:
        return f"widths={self.widths}, activation='{self.activation}'"


def hooked(module: nn.Module) -> bool:
    """Whether something of the user's runs before or after a module, which may change what it takes or gives."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


def is_plain(module: object) -> bool:
    """Whether a module is an :class:`MLP` that computes what its weights say: no hooks, nothing parametrized."""
    if type(module) is not MLP or any(map(hooked, module.modules())):
        return False
    return all(type(layer) is nn.Linear for layer in module.layers)
