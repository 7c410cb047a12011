"""A student's graph as arrays: scaler, layers, and the elementwise nodes between them; other graphs are recognised.

Everything that chooses a quantization (ranges, equalization, rounding, corrections) works on a :class:`Chain` in NumPy,
because it needs thousands of forward passes of a very small network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .elementwise import Segment, is_elementwise
from .graph import _constants, input_of, load_graph

__all__ = ["Chain", "ChainLayer", "read_chain"]


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
    """Return the chain of an ONNX file or model, or one sentence why it is not one (other placers may support it)."""
    from onnx import numpy_helper

    model = load_graph(source) if isinstance(source, (str, Path)) else source
    graph = model.graph
    input_name, width, _ = input_of(model)
    if len(next(v for v in graph.input if v.name == input_name).type.tensor_type.shape.dim) != 2:
        return f"its input '{input_name}' is not a table of rows"
    constants = {name: numpy_helper.to_array(tensor) for name, tensor in _constants(graph).items()}
    consumers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            consumers.setdefault(name, []).append(node)
    shift, rate = np.zeros(width), np.ones(width)
    at, layers, pending = input_name, [], None  # pending: a layer whose trailing segment is being read
    while True:
        segment, at_next, stop = _segment(at, consumers, constants)
        if isinstance(segment, str):
            return segment
        if pending is None:
            affine = _affine(segment, at, constants, width)
            if affine is None:
                return "its scaler does not consist of Sub, Add, Mul and Div with constants"
            shift, rate = affine
        else:
            layers.append(ChainLayer(*pending, Segment(segment, at, at_next, constants)))
        if stop is None:
            break
        read = _layer(stop, at_next, constants, consumers)
        if isinstance(read, str):
            return read
        *pending, at = read
    if not layers:
        return "it has no layer"
    if at_next != graph.output[0].name:
        return f"it ends in '{at_next}', but its output is '{graph.output[0].name}'"
    return Chain(model, input_name, at_next, shift, rate, tuple(layers))


def _segment(start: str, consumers: dict, constants: dict) -> tuple[Any, str, Any]:
    """Return (elementwise nodes from ``start``, the tensor they end in, the layer node that reads it or None)."""
    known, nodes = {start}, []
    end = start
    while True:
        readers = [n for name in known for n in consumers.get(name, ()) if n not in nodes]
        ready = [
            n for n in readers if is_elementwise(n) and all(not i or i in known or i in constants for i in n.input)
        ]
        if ready:
            nodes.append(ready[0])
            end = ready[0].output[0]
            known.add(end)
            continue
        if not readers:
            return nodes, end, None
        if len(readers) > 1 or end not in readers[0].input:
            return f"tensor '{end}' or one before it is read by several branches", end, None
        if readers[0].op_type not in ("Gemm", "MatMul"):
            return f"it has a {readers[0].op_type} ('{readers[0].name}')", end, None
        return nodes, end, readers[0]


def _affine(nodes: list, start: str, constants: dict, width: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return elementwise nodes as ``(x - shift) * rate``, or None if they do not have that form."""
    shift, rate, current = np.zeros(width), np.ones(width), start
    for node in nodes:
        if (
            node.op_type not in ("Add", "Sub", "Mul", "Div")
            or node.input[0] != current
            or node.input[1] not in constants
        ):
            if node.op_type not in ("Add", "Mul") or node.input[1] != current or node.input[0] not in constants:
                return None
        name = node.input[1] if node.input[0] == current else node.input[0]
        value = np.broadcast_to(constants[name].astype(np.float64).reshape(-1), (width,))
        if node.op_type in ("Add", "Sub"):
            with np.errstate(divide="ignore", invalid="ignore"):
                shift = shift + np.where(rate != 0, value / rate, 0.0) * (1 if node.op_type == "Sub" else -1)
        else:
            rate = rate * value if node.op_type == "Mul" else rate / value
        current = node.output[0]
    return (shift, rate) if np.isfinite(shift).all() and np.isfinite(rate).all() and (rate != 0).all() else None


def _layer(node: Any, data: str, constants: dict, consumers: dict) -> tuple[str, np.ndarray, np.ndarray, str] | str:
    """Return (name, weight [n_out, n_in], bias [n_out], output tensor) of a Gemm, or a MatMul followed by an Add."""
    from onnx import helper

    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    if node.input[0] != data or node.input[1] not in constants:
        return f"'{node.name}' multiplies two tensors that depend on the input"
    weight = constants[node.input[1]]
    output = node.output[0]
    if weight.ndim != 2 or weight.dtype != np.float32:
        return f"the weights of '{node.name}' are {weight.dtype} {list(weight.shape)}, not a float32 matrix"
    if node.op_type == "Gemm":
        if attributes.get("transA", 0) or (len(node.input) > 2 and node.input[2] not in constants):
            return f"'{node.name}' is a Gemm that is not a layer"
        weight = (weight if attributes.get("transB", 0) else weight.T) * np.float32(attributes.get("alpha", 1.0))
        bias = (
            constants[node.input[2]] * np.float32(attributes.get("beta", 1.0)) if len(node.input) > 2 else np.zeros(1)
        )
    else:
        weight, bias = weight.T, np.zeros(1)
        readers = consumers.get(output, [])
        if len(readers) == 1 and readers[0].op_type == "Add":
            other = [name for name in readers[0].input if name != output]
            if len(other) == 1 and other[0] in constants and constants[other[0]].size in (1, len(weight)):
                bias, output = constants[other[0]], readers[0].output[0]
    bias = np.broadcast_to(np.asarray(bias, np.float32).reshape(-1), (len(weight),))
    return node.name or node.output[0], np.ascontiguousarray(weight, np.float32), bias.copy(), output
