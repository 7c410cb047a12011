"""From an ONNX graph to a :class:`~regkd_edge.graph.network.Network`: the one recognizer of our graphs.

The graph has to be a chain: scalers, layers with constant weights, Q/DQ pairs, elementwise functions. An activation may
be several nodes (SiLU, GELU): a region between one value and the next that is a function of that value alone is
recognized by what it computes. What is not understood is refused with the name of the node.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GraphError
from ..io.words import counted
from . import pair_reader, spatial_reader
from .activations import is_elementwise
from .constants import Constants, attributes
from .dense_reader import MAX_WIDTH, dense_layer
from .function_reader import read_function
from .graph import load_graph
from .network import Activation, Clip, Layer, Network, Rounding, Scaling, Step, column_names
from .split_reader import read_split_layer

__all__ = ["MAX_WIDTH", "UnknownNode", "read_network", "read_scalers"]

_MAX_VALUES = 1 << 22  # of a row between two steps
_SCALING = {"Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide"}
_NAMED = {
    "Relu": "relu",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Sigmoid": "sigmoid",
}
_ALPHA = {"leaky_relu": 0.01, "elu": 1.0}  # ONNX's defaults
_NO_STEP = "it is not a layer, scaler, activation or Q/DQ pair of an fp32 or int8 student"


class UnknownNode(GraphError):
    """A node that is not part of a chain; ``node`` is the ONNX node and ``why`` the reason."""

    def __init__(self, file: str, node: Any, why: str) -> None:
        self.node, self.why = node, why
        name = node.name or (node.output[0] if node.output else "?")
        super().__init__(
            f"'{file}', node '{name}' ({node.op_type}): {why}.",
            "The native back end takes mlp, conv1d, conv2d and gru students in fp32 and int8; "
            "use 'onnxruntime' for this graph.",
        )


def read_network(source: str | Path | Any) -> Network:
    """Read the network of an ONNX file or model.

    Raises
    ------
    GraphError
        The graph is not a chain. :class:`UnknownNode` where one node is the reason.
    """
    if isinstance(source, (str, Path)):
        return _Reader(load_graph(source), Path(source).name).read()
    return _Reader(source, "the graph").read()


def read_scalers(source: str | Path) -> Network:
    """Read the steps before the first layer only, which are float32 in every precision: a network without layers."""
    return _Reader(load_graph(source), Path(source).name).read(scalers_only=True)


class _Reader:
    def __init__(self, model: Any, file: str) -> None:
        self.file, self.model, self.graph = file, model, model.graph
        self.consumers: dict[str, list[Any]] = {}
        for node in self.graph.node:
            for name in dict.fromkeys(node.input):
                self.consumers.setdefault(name, []).append(node)
        self.constants = Constants(self.graph, self.refuse)
        self.steps: list[Step] = []
        self.width = 0
        # The value at hand: its shape in the graph without the batch, where in it the numbers of the steps are (None:
        # in the same order), the axis of the batch, and behind a GRU the axis of its directions.
        self.shape: tuple[int, ...] = ()
        self.index: np.ndarray | None = None
        self.batch_axis = 0
        self.direction_axis: int | None = None
        self.pair: Rounding | None = None  # the Q/DQ pair that the value just passed

    def refuse(self, node: Any, why: str) -> GraphError:
        return UnknownNode(self.file, node, why)

    def read(self, *, scalers_only: bool = False) -> Network:
        inputs = [value for value in self.graph.input if value.name not in self.constants.tensors]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            raise GraphError(
                f"'{self.file}' has {counted(len(inputs), 'input')} and {counted(len(self.graph.output), 'output')}, "
                "expected one of each.",
                "Export one regression network.",
            )
        kind = inputs[0].type.tensor_type
        dims = kind.shape.dim
        self.shape = tuple(dim.dim_value for dim in dims[1:])
        self.width = d = math.prod(self.shape)
        limit = MAX_WIDTH if len(self.shape) == 1 else _MAX_VALUES
        if kind.elem_type != 1 or not self.shape or min(self.shape) < 1 or d > limit:
            raise GraphError(
                f"the input of '{self.file}' is not float32 [batch, d] or [batch, *shape] of at most {limit} numbers.",
                "Export a student in raw units.",
            )
        current, end = inputs[0].name, self.graph.output[0].name
        self.end = end
        if len(self.shape) > 1 and not scalers_only:
            spatial_reader.arrange(self, current)
        while current != end or self.consumers.get(current):
            nodes = self.consumers.get(current, [])
            if scalers_only and (len(nodes) != 1 or nodes[0].op_type not in _SCALING):
                return Network(self.model, d, self.width, self.steps)
            current = self.step(current)
        self.flush()
        if len(self.shape) != 1 or self.index is not None or self.batch_axis:
            raise GraphError(f"the output of '{self.file}' is not [batch, o].", "Export the student again.")
        if not any(isinstance(step, Layer) for step in self.steps):
            raise GraphError(f"'{self.file}' has no layer.", "Export a network that has layers.")
        return Network(
            self.model, d, self.width, self.steps, column_names(self.model, d + self.width), self.constants.tensors
        )

    # -- one step along the chain ---------------------------------------------------------------------------------
    def step(self, current: str) -> str:
        nodes = self.consumers.get(current, [])
        if not nodes:
            raise GraphError(f"'{self.file}': the value '{current}' leads nowhere.", "Export the student again.")
        node = nodes[0]
        if len(nodes) > 1 or list(node.input).count(current) > 1:
            twice = spatial_reader.rounded_twice(self, current)
            if twice is not None:
                self.add(twice)
                return twice.target
            split = read_split_layer(self, current)
            if split is None:
                return read_function(self, current)
            self.add(split)
            self.moved(split)
            return split.target
        spatial = {
            "GlobalAveragePool": spatial_reader.average, "Flatten": spatial_reader.flatten,
            "Transpose": spatial_reader.transpose, "Squeeze": spatial_reader.squeeze, "GRU": spatial_reader.recurrent,
        }  # fmt: skip
        if node.op_type in spatial and node.domain in ("", "ai.onnx"):
            return spatial[node.op_type](self, node, current) or node.output[0]
        handlers: dict[str, Callable[[Any, str], None]] = {
            "Gemm": self.dense, "MatMul": self.dense, "Conv": self.dense, "QuantizeLinear": self.quantize,
            "DequantizeLinear": self.dequantize, "Clip": self.clip, "Gelu": self.gelu,
            **dict.fromkeys(_NAMED, self.named), **dict.fromkeys(_SCALING, self.scaling),
            **dict.fromkeys(("Identity", "Dropout"), self.named),
        }  # fmt: skip
        if node.op_type in handlers and node.domain in ("", "ai.onnx"):
            handlers[node.op_type](node, current)
        elif is_elementwise(node) and all(self.known(name) or name == current for name in node.input):
            self.add(Activation((node,), current, node.output[0], self.width, None, why=_NO_STEP))
        else:
            raise self.refuse(node, _NO_STEP)
        return node.output[0]

    def known(self, name: str) -> bool:
        return not name or self.constants.values(name) is not None

    def add(self, step: Step) -> None:
        """Append a step; a Q/DQ pair that is still open does not feed an INT8 layer and becomes a step of its own."""
        self.flush()
        self.steps.append(step)

    def flush(self) -> None:
        if self.pair is not None:
            self.steps.append(self.pair)
            self.pair = None

    def named(self, node: Any, current: str) -> None:
        name = _NAMED.get(node.op_type, "identity")
        alpha = float(attributes(node).get("alpha", _ALPHA.get(name, 0.0)))
        self.add(Activation((node,), current, node.output[0], self.width, name, alpha))

    def gelu(self, node: Any, current: str) -> None:
        kind = attributes(node).get("approximate", b"none")
        name = "gelu_tanh" if kind in (b"tanh", "tanh") else "gelu"
        self.add(Activation((node,), current, node.output[0], self.width, name))

    def scaling(self, node: Any, current: str) -> None:
        position = list(node.input).index(current)
        value = self.constants.values(node.input[1 - position])
        if value is None:
            raise self.refuse(node, "both operands depend on the input")
        row = self.row(node, value)
        if position == 1 and node.op_type in ("Sub", "Div"):
            why = "the data may not be its second operand"
            self.add(Activation((node,), current, node.output[0], self.width, None, why=why))
            return
        last = self.steps[-1] if self.steps else None
        plain = isinstance(last, Layer) and last.bias is None and last.window is None
        if node.op_type == "Add" and self.pair is None and plain:
            self.steps[-1] = replace(last, bias=row, nodes=(*last.nodes, node), target=node.output[0])
            return
        self.add(Scaling((node,), current, node.output[0], self.width, _SCALING[node.op_type], row))

    def row(self, node: Any, value: np.ndarray) -> np.ndarray:  # float32 [width]
        if value.dtype != np.float32:
            raise self.refuse(node, f"its constant is {value.dtype}, expected float32")
        if not np.isfinite(value).all():
            raise self.refuse(node, "its constant is not finite")
        if value.size in (1, self.width) and max(value.shape, default=1) == value.size and len(self.shape) < 2:
            row = np.broadcast_to(value.reshape(-1), (self.width,))
        else:
            shape = value.shape[1:] if value.ndim > len(self.shape) and value.shape[0] == 1 else value.shape
            try:
                row = np.broadcast_to(value.reshape(shape), self.shape).reshape(-1)
            except ValueError:
                expected = self.width if len(self.shape) == 1 else f"the shape {list(self.shape)}"
                why = f"its constant has shape {list(value.shape)}, expected one number or {expected}"
                raise self.refuse(node, why) from None
            if self.batch_axis and value.size > 1:
                raise self.refuse(node, "its constants do not belong to the numbers of one row")
        return row.copy() if self.index is None else row[self.index]

    def clip(self, node: Any, current: str) -> None:
        bounds = []
        for position, missing in ((1, -np.finfo(np.float32).max), (2, np.finfo(np.float32).max)):
            name = node.input[position] if len(node.input) > position else ""
            value = self.constants.values(name) if name else np.float32(missing)
            if value is None or np.size(value) != 1:
                raise self.refuse(node, "its bounds are not two constants")
            bounds.append(float(np.reshape(value, -1)[0]))
        self.add(Clip((node,), current, node.output[0], self.width, *bounds))

    # -- Q/DQ and layers --------------------------------------------------------------------------------------------
    def quantize(self, node: Any, current: str) -> None:
        pair = pair_reader.pair_at(self, node, current)
        self.flush()
        self.pair = pair

    def dequantize(self, node: Any, current: str) -> None:
        if self.pair is None:
            raise self.refuse(node, "no QuantizeLinear precedes it")

    def dense(self, node: Any, current: str) -> None:
        layer = self.layer(node, current)
        if self.pair is not None and layer.codes is not None:
            pair, self.pair = self.pair, None
            layer = replace(layer, data_scale=pair.scale, nodes=(*pair.nodes, node), source=pair.source)
        self.add(layer)
        self.moved(layer)

    def moved(self, layer: Layer) -> None:
        """The value at hand is now the one behind a layer."""
        self.width = layer.width
        if layer.window is None:
            self.shape, self.index = (layer.width,), None
        else:
            self.shape, self.index = spatial_reader.behind_convolution(layer, len(self.shape) - 1)

    def layer(self, node: Any, current: str) -> Layer:
        """Read the weights of a Gemm, MatMul or Conv; its data are those of the tensor ``current``."""
        return (spatial_reader.convolution if node.op_type == "Conv" else dense_layer)(self, node, current)
