"""A student's graph as arrays: scaler, layers, and the elementwise nodes between them; other graphs are recognised.

Everything that chooses a quantization (ranges, equalization, rounding, corrections) works on a :class:`Chain` in NumPy,
because it needs thousands of forward passes of a very small network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GraphError
from .activations import Segment
from .network import Average, Layer, Network, Recurrent, Rounding, Scaling
from .reader import UnknownNode, read_network

__all__ = ["Chain", "ChainLayer", "input_scaler", "read_chain"]


@dataclass(frozen=True, eq=False)
class ChainLayer:
    """A layer ``z = a W^T + b`` and what follows it up to the next layer (or the output)."""

    name: str
    weight: np.ndarray  # [n_out, n_in] float32
    bias: np.ndarray  # [n_out] float32
    after: Segment


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain: raw inputs, ``(x - shift) * rate``, layer, elementwise, ..., layer, elementwise, raw outputs."""

    model: Any  # the onnx.ModelProto it was read from
    input_name: str
    output_name: str
    shift: np.ndarray  # [d] float64
    rate: np.ndarray  # [d] float64
    layers: tuple[ChainLayer, ...]

    @property
    def multiply_adds(self) -> list[int]:
        """Multiply-adds of each layer, per row."""
        return [layer.weight.size for layer in self.layers]

    def scaled(self, rows: np.ndarray) -> np.ndarray:  # [n, d] float32, standardised
        return ((np.asarray(rows, np.float32) - self.shift.astype(np.float32)) * self.rate.astype(np.float32)).astype(
            np.float32
        )

    def activations(
        self,
        rows: np.ndarray,  # [n, d] raw units
    ) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        """Return ``(a, z, y)``: the input of each layer, its output before the activation, and the outputs; float32."""
        a = self.scaled(rows)
        inputs, outputs = [], []
        for layer in self.layers:
            inputs.append(a)
            z = a @ layer.weight.T + layer.bias
            outputs.append(z)
            a = layer.after(z)
        return inputs, outputs, a

    def __call__(self, rows: np.ndarray) -> np.ndarray:  # [n, o] float32, raw units
        return self.activations(rows)[2]

    def output_slopes(
        self,
        rows: np.ndarray,  # [n, d] raw units
        unit: np.ndarray,  # [o] in which each output counts
    ) -> list[np.ndarray]:
        """For each layer the root of ``sum_o (dy_o / dz)^2`` [n, n_out]: how much an error of z moves the outputs."""
        _, outputs, y = self.activations(rows)
        last = self.layers[-1].after.slope(outputs[-1]) / unit  # [n, o]
        jacobians = last[:, :, None] * np.eye(y.shape[1])  # [n, o, o]: d y_k / d z_j
        slopes = [np.sqrt((jacobians**2).sum(axis=1))]
        for layer, following, z in zip(self.layers[-2::-1], self.layers[:0:-1], outputs[-2::-1]):
            jacobians = (jacobians @ following.weight.astype(np.float64)) * layer.after.slope(z)[:, None, :]
            slopes.append(np.sqrt((jacobians**2).sum(axis=1)))
        return slopes[::-1]


def read_chain(source: str | Path | Any) -> Chain | str:
    """Return the float32 chain of an ONNX file or model, or one sentence that says why it is none (other quantizers may
    take it then).
    """
    try:
        network = read_network(source)
    except UnknownNode as error:
        return f"it has a {error.node.op_type} ('{error.node.name}'): {error.why}"
    except GraphError as error:
        return error.cause.rstrip(".")
    for step in network.steps:
        if not step.nodes or isinstance(step, (Average, Recurrent)) or getattr(step, "window", None) is not None:
            node = step.nodes[-1] if step.nodes else network.model.graph.node[0]
            return f"it has a {node.op_type} ('{node.name}'): it is not a chain of dense layers"
    first = next(index for index, step in enumerate(network.steps) if isinstance(step, Layer))
    affine = input_scaler(network)
    if affine is None:
        return "its scaler does not consist of Sub, Add, Mul and Div with constants"
    layers: list[ChainLayer] = []
    position = first
    while position < len(network.steps):
        layer, after = network.steps[position], []
        position += 1
        while position < len(network.steps) and not isinstance(network.steps[position], Layer):
            after.append(network.steps[position])
            position += 1
        if layer.codes is not None or any(isinstance(step, Rounding) for step in after):
            return f"layer '{layer.name}' is quantized already"
        bias = np.zeros(layer.width, np.float32) if layer.bias is None else layer.bias
        nodes = [node for step in after for node in step.nodes]
        segment = Segment(nodes, layer.target, after[-1].target if after else layer.target, network.constants)
        layers.append(ChainLayer(layer.name, layer.weight, bias, segment))
    return Chain(network.model, network.steps[0].source, network.steps[-1].target, *affine, tuple(layers))


def input_scaler(network: Network) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the steps before the first layer as ``(x - shift) * rate``, [d] each;
    None if they are not of that form."""
    shift, rate = np.zeros(network.inputs), np.ones(network.inputs)
    for step in network.steps:
        if isinstance(step, Layer):
            break
        if not isinstance(step, Scaling):
            return None
        value = step.row.astype(np.float64)
        if step.operator in ("add", "subtract"):
            with np.errstate(divide="ignore", invalid="ignore"):
                shift = shift + np.where(rate != 0, value / rate, 0.0) * (1 if step.operator == "subtract" else -1)
        else:
            with np.errstate(divide="ignore"):
                rate = rate * value if step.operator == "multiply" else rate / value
    return (shift, rate) if np.isfinite(shift).all() and np.isfinite(rate).all() and (rate != 0).all() else None
