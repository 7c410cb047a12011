"""``gru:32``: gated recurrent units over the time of a signal, time x features; the last state gives the answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import ModelError
from ...io.words import counted
from .family import Cost, Family, GraphWriter, LayerCost, Spec, flat_shape

__all__ = ["FAMILY", "GRUNet", "GRUSpec"]

FIRST = "channels-first"
_UNITS, _LAYERS = 4096, 4


@dataclass(frozen=True)
class GRUSpec:
    """Units of each layer; ``str()`` gives the spec back."""

    units: tuple[int, ...]
    channels_first: bool = False
    family = "gru"

    def __str__(self) -> str:
        return f"gru:{','.join(map(str, self.units))}" + (f":{FIRST}" if self.channels_first else "")


class GRUNet(nn.Module):
    """GRU layers over the time steps of a row, the last state of the last one through a linear layer.

    ``r = sigmoid(W_r x + R_r h + b_r)``, ``z = sigmoid(W_z x + R_z h + b_z)``,
    ``n = tanh(W_n x + b_n + r (R_n h + c_n))``, ``h <- (1 - z) n + z h``, from h = 0 (PyTorch's ``nn.GRU``).

    Parameters
    ----------
    shape : tuple of int
        Of a row, as it is given: time x features, or features x time with ``spec.channels_first``.
    """

    def __init__(self, spec: GRUSpec, shape: tuple[int, ...], o: int, generator: torch.Generator):
        super().__init__()
        self.spec, self.shape, self.outputs = spec, tuple(shape), o
        features = shape[0] if spec.channels_first else shape[1]
        widths = [features, *spec.units]
        self.recurrent = nn.ModuleList(nn.GRU(m, n, batch_first=True) for m, n in zip(widths[:-1], widths[1:]))
        self.layers = nn.ModuleList([nn.Linear(widths[-1], o)])
        with torch.no_grad():
            for layer in (*self.recurrent, *self.layers):
                size = layer.hidden_size if isinstance(layer, nn.GRU) else layer.in_features
                for parameter in layer.parameters():
                    parameter.uniform_(-(size**-0.5), size**-0.5, generator=generator)

    def forward(
        self,
        x: Tensor,  # [n, d] or [n, *shape]
    ) -> Tensor:  # [n, o]
        x = x.reshape(len(x), *self.shape)
        if self.spec.channels_first:
            x = x.transpose(1, 2)
        with torch.backends.cudnn.flags(enabled=False):  # cuDNN's GRU has no second derivative, which GM needs
            for layer in self.recurrent:
                x, _ = layer(x)
        return self.layers[-1](x[:, -1])

    def extra_repr(self) -> str:
        return f"{self.spec}, shape={'x'.join(map(str, self.shape))}"


class _GRU(Family):
    """Rows of shape time x features, or features x time with ``:channels-first``.

    Exported form, in order: ``time/transpose`` (Transpose to [time, batch, features]); per layer ``gru{i}`` (GRU,
    ``hidden_size``, ``linear_before_reset`` 1, gates in ONNX's order z, r, h, weights [1, 3H, F] and [1, 3H, H], bias
    [1, 6H], forward, no initial state), and ``gru{i}/squeeze`` of its direction (axis 1 of the sequence, or axis 0 of
    the last state for the last layer); ``layer0/gemm`` (Gemm, transB 1).
    """

    name = "gru"
    form = "gru:UNITS[:channels-first], such as gru:32 or gru:32,16"

    def parse(self, text: str) -> GRUSpec:
        _, *rest = text.split(":")
        if not 1 <= len(rest) <= 2:
            raise self.wrong(text, f"has {counted(len(rest), 'part')} after 'gru', expected 1")
        if len(rest) == 2 and rest[1].strip() != FIRST:
            raise self.wrong(
                text, f"has '{rest[1].strip()[:20]}' behind its units (its functions are sigmoid and tanh)"
            )
        units = [part.strip() for part in rest[0].split(",")]
        for part in units:
            if not (part.isascii() and part.isdigit() and len(part) < 10 and 1 <= int(part) <= _UNITS):
                raise self.wrong(text, f"has '{part[:20]}' units, expected whole numbers from 1 to {_UNITS}")
        if len(units) > _LAYERS:
            raise self.wrong(text, f"has {counted(len(units), 'layer')}, expected at most {_LAYERS}")
        return GRUSpec(tuple(int(part) for part in units), len(rest) == 2)

    def shape(self, spec: Spec, shape: tuple[int, ...] | None, d: int) -> tuple[int, ...]:
        shape, first = flat_shape(shape, d), cast(GRUSpec, spec).channels_first
        words, times = ("features x time", -1) if first else ("time x features", 0)
        met = "x".join(map(str, shape))
        if len(shape) != 2:
            raise ModelError(
                f"network '{spec}' reads rows of shape {words}, and a row here has shape {met}.",
                "Declare the shape with --input-shape (input_shape= in Python), such as "
                f"{f'1,{d}' if first else f'{d},1'}.",
            )
        if shape[times] < 2:
            other = str(spec).removesuffix(f":{FIRST}") if first else f"{spec}:{FIRST}"
            raise ModelError(
                f"network '{spec}' reads rows of shape {words}: a row of {met} has one time step.",
                f"Use {other} if time is its other axis, or an mlp.",
            )
        return shape

    def channel_axis(self, spec: Spec) -> int:
        return 0 if cast(GRUSpec, spec).channels_first else -1

    def cost(self, spec: Spec, shape: tuple[int, ...], o: int) -> Cost:
        spec = cast(GRUSpec, spec)
        features, times = shape if spec.channels_first else shape[::-1]
        layers = []
        for i, units in enumerate(spec.units):
            many = 3 * units * (features + units)
            kept = units if i == len(spec.units) - 1 else units * times
            layers.append(LayerCost(f"gru{i}", many + 6 * units, many * times, features * times, kept + 3 * units))
            features = units
        layers.append(LayerCost("layer0/gemm", (features + 1) * o, features * o, features, o))
        return Cost(tuple(layers))

    def build(self, spec: Spec, shape: tuple[int, ...], o: int, generator: torch.Generator) -> GRUNet:
        return GRUNet(cast(GRUSpec, spec), shape, o, generator)

    def write(self, graph: GraphWriter, module: nn.Module, value: str) -> str:
        module = cast(GRUNet, module)
        order = [2, 0, 1] if module.spec.channels_first else [1, 0, 2]
        value = graph.node("Transpose", "time/transpose", [value], perm=order)
        for i, layer in enumerate(module.recurrent):
            name, last = f"gru{i}", i == len(module.recurrent) - 1
            weights = [
                graph.constant(f"{name}/weight", _in_onnx_order(layer.weight_ih_l0)[None]),
                graph.constant(f"{name}/recurrence", _in_onnx_order(layer.weight_hh_l0)[None]),
                graph.constant(
                    f"{name}/bias",
                    np.concatenate([_in_onnx_order(layer.bias_ih_l0), _in_onnx_order(layer.bias_hh_l0)])[None],
                ),
            ]
            sequence, state = f"{name}/sequence", f"{name}/state"
            value = graph.node(
                "GRU",
                name,
                [value, *weights],
                outputs=["" if last else sequence, state if last else ""],
                hidden_size=layer.hidden_size,
                linear_before_reset=1,
            )
            axis = graph.whole_numbers(f"{name}/axis", [0 if last else 1])
            value = graph.node("Squeeze", f"{name}/squeeze", [value, axis])
        linear = module.layers[-1]
        weight = graph.constant("layer0/weight", linear.weight.detach().cpu().numpy())
        return graph.node(
            "Gemm", "layer0/gemm", [value, weight, graph.constant("layer0/bias", linear.bias.detach().cpu().numpy())],
            transB=1,
        )  # fmt: skip


def _in_onnx_order(parameter: Tensor) -> np.ndarray:
    """From PyTorch's gates r, z, n to ONNX's z, r, h."""
    r, z, n = parameter.detach().cpu().chunk(3)
    return torch.cat([z, r, n]).numpy()


FAMILY = _GRU()
