"""Conversion of a teacher into standardised space, as an :class:`MLP` if that is exact, for use in the fused core."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..data import Scalers
from ..errors import ModelError
from .mlp import MLP

__all__ = ["InStandardizedSpace", "as_mlp", "folded"]


def as_mlp(module: nn.Module) -> MLP | None:
    """Return the same network as an :class:`MLP`, or None. It accepts an MLP, or an ``nn.Sequential`` of linear layers
    with one kind of activation between them (identity and dropout layers are skipped: they have no effect here).
    The result shares no storage with the module."""
    if type(module) is MLP:
        copy = MLP(module.widths, module.activation).to(next(module.parameters()).dtype)
        copy.load_state_dict(module.state_dict())
        return copy
    if type(module) is not nn.Sequential:
        return None
    layers = [m for m in _flat(module) if type(m) not in (nn.Identity, nn.Dropout)]
    linear, between = layers[::2], layers[1::2]
    if len(linear) != len(between) + 1 or not all(type(m) is nn.Linear for m in linear):
        return None
    names = {_activation(m) for m in between} or {"identity"}
    if len(names) != 1 or None in names:
        return None
    widths = [linear[0].in_features, *(m.out_features for m in linear)]
    if any(m.in_features != n for m, n in zip(linear, widths)):
        return None
    mlp = MLP(widths, names.pop()).to(linear[0].weight.dtype)
    with torch.no_grad():
        for ours, theirs in zip(mlp.layers, linear):
            ours.weight.copy_(theirs.weight)
            ours.bias.zero_() if theirs.bias is None else ours.bias.copy_(theirs.bias)
    return mlp


def _flat(module: nn.Sequential) -> list[nn.Module]:
    """Return the layers in order, nested sequences flattened; a layer that is used twice appears twice."""
    return [inner for m in module for inner in (_flat(m) if type(m) is nn.Sequential else [m])]


def _activation(module: nn.Module) -> str | None:
    if type(module) is nn.GELU:
        return "gelu" if module.approximate == "none" else "gelu_tanh"
    if type(module) is nn.LeakyReLU:
        return "leaky_relu" if module.negative_slope == 0.01 else None
    if type(module) is nn.ELU:
        return "elu" if module.alpha == 1.0 else None
    if type(module) is nn.Softplus:
        return "softplus" if (module.beta, module.threshold) == (1.0, 20.0) else None
    return {nn.ReLU: "relu", nn.SiLU: "silu", nn.Tanh: "tanh"}.get(type(module))


def folded(mlp: MLP, scalers: Scalers) -> MLP:
    """Fold the scaling into the first and last layer (in float64) of an MLP from raw to raw units:
    the result maps standardised inputs to standardised outputs."""
    out = MLP(mlp.widths, mlp.activation)
    x_mean, x_scale, y_mean, y_scale = (
        torch.from_numpy(v) for v in (scalers.x.mean, scalers.x.scale, scalers.y.mean, scalers.y.scale)
    )
    weights = [layer.weight.detach().double() for layer in mlp.layers]
    biases = [layer.bias.detach().double() for layer in mlp.layers]
    biases[0] = biases[0] + weights[0] @ x_mean
    weights[0] = weights[0] * x_scale
    weights[-1] = weights[-1] / y_scale[:, None]
    biases[-1] = (biases[-1] - y_mean) / y_scale
    with torch.no_grad():
        for layer, w, b in zip(out.layers, weights, biases):
            layer.weight.copy_(w)
            layer.bias.copy_(b)
    return out


class InStandardizedSpace(nn.Module):
    """Any network behind scalers: standardised inputs [n, d] to standardised outputs [n, o], float32.

    Parameters
    ----------
    module : nn.Module
        Takes raw inputs of ``own`` units (raw units when ``own`` is None, else standardised by ``own``).
    scalers : Scalers or None
        The target space; None if the module is in that space already.
    """

    def __init__(
        self, module: nn.Module, scalers: Scalers | None, own: Scalers | None = None, differentiable: bool = True
    ):
        super().__init__()
        self.module = module
        self.differentiable = differentiable
        dtype = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
        self.dtype = dtype
        x_mul = x_add = y_mul = y_add = None
        if scalers is not None:
            x_mul, x_add, y_mul, y_add = (
                scalers.x.scale,
                scalers.x.mean,
                1 / scalers.y.scale,
                -scalers.y.mean / scalers.y.scale,
            )
            if own is not None:
                x_mul, x_add = x_mul / own.x.scale, (x_add - own.x.mean) / own.x.scale
                y_add, y_mul = (own.y.mean - scalers.y.mean) / scalers.y.scale, own.y.scale / scalers.y.scale
        for name, value in (("x_mul", x_mul), ("x_add", x_add), ("y_mul", y_mul), ("y_add", y_add)):
            self.register_buffer(name, None if value is None else torch.as_tensor(value, dtype=dtype))

    def forward(
        self,
        x: Tensor,  # [n, d] standardised
    ) -> Tensor:  # [n, o] standardised
        kind = x.dtype
        x = x.to(self.dtype)
        if self.x_mul is not None:
            x = x * self.x_mul + self.x_add
        y = self.module(x)
        if y.ndim == 1:  # a network that squeezes its single output
            y = y[:, None]
        if self.y_mul is not None:
            if y.shape[-1] != len(self.y_mul):  # else the scaling would broadcast one output over several targets
                raise ModelError(
                    f"the teacher has {y.shape[-1]} outputs, but {len(self.y_mul)} targets are named.",
                    "Name one target per output.",
                )
            y = y * self.y_mul + self.y_add
        return y.to(kind)
