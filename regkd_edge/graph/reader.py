"""From an ONNX graph to a :class:`~regkd_edge.graph.network.Network`: the one recognizer of our graphs.

The graph has to be a chain: scalers, layers with constant weights, Q/DQ pairs, elementwise functions. An activation may
be several nodes (SiLU, GELU): a region between one value and the next that is a function of that value alone is
recognized by what it computes. What is not understood is refused with the name of the node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GraphError
from .activations import Segment, is_elementwise, recognized
from .constants import Constants, attributes
from .graph import load_graph
from .network import Activation, Clip, Layer, Network, Rounding, Scaling, Step, column_names
from .split_reader import read_split_layer

__all__ = ["MAX_WIDTH", "UnknownNode", "read_network", "read_scalers"]

MAX_WIDTH = 65536
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
_NO_STEP = "it is not a layer, scaler, activation or Q/DQ pair of an fp32 or int8 MLP"


class UnknownNode(GraphError):
    """A node that is not part of a chain; ``node`` is the ONNX node and ``why`` the reason."""

    def __init__(self, file: str, node: Any, why: str) -> None:
        self.node, self.why = node, why
        name = node.name or (node.output[0] if node.output else "?")
        super().__init__(
            f"'{file}', node '{name}' ({node.op_type}): {why}.",
            "The native back end takes fp32 and int8 MLPs; use 'onnxruntime' for this graph.",
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
        self.pair: Rounding | None = None  # the Q/DQ pair that the value just passed

    def refuse(self, node: Any, why: str) -> GraphError:
        return UnknownNode(self.file, node, why)

    def read(self, *, scalers_only: bool = False) -> Network:
        inputs = [value for value in self.graph.input if value.name not in self.constants.tensors]
        if len(inputs) != 1 or len(self.graph.output) != 1:
            raise GraphError(
                f"'{self.file}' has {len(inputs)} inputs and {len(self.graph.output)} outputs, expected one of each.",
                "Export one regression network.",
            )
        kind = inputs[0].type.tensor_type
        dims = kind.shape.dim
        if kind.elem_type != 1 or len(dims) != 2 or not 1 <= dims[1].dim_value <= MAX_WIDTH:
            raise GraphError(f"the input of '{self.file}' is not float32 [batch, d].", "Export an MLP in raw units.")
        self.width = d = dims[1].dim_value
        current, end = inputs[0].name, self.graph.output[0].name
        while current != end or self.consumers.get(current):
            nodes = self.consumers.get(current, [])
            if scalers_only and (len(nodes) != 1 or nodes[0].op_type not in _SCALING):
                return Network(self.model, d, self.width, self.steps)
            current = self.step(current)
        self.flush()
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
            split = read_split_layer(self, current)
            if split is None:
                return self.region(current)
            self.add(split)
            self.width = split.width
            return split.target
        handlers: dict[str, Callable[[Any, str], None]] = {
            "Gemm": self.dense, "MatMul": self.dense, "QuantizeLinear": self.quantize,
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
        if node.op_type == "Add" and self.pair is None and isinstance(last, Layer) and last.bias is None:
            self.steps[-1] = replace(last, bias=row, nodes=(*last.nodes, node), target=node.output[0])
            return
        self.add(Scaling((node,), current, node.output[0], self.width, _SCALING[node.op_type], row))

    def row(self, node: Any, value: np.ndarray) -> np.ndarray:  # float32 [width]
        if value.dtype != np.float32:
            raise self.refuse(node, f"its constant is {value.dtype}, expected float32")
        if value.size not in (1, self.width) or max(value.shape, default=1) != value.size:
            raise self.refuse(node, f"its constant has shape {list(value.shape)}, expected one number or {self.width}")
        if not np.isfinite(value).all():
            raise self.refuse(node, "its constant is not finite")
        return np.broadcast_to(value.reshape(-1), (self.width,)).copy()

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
        scale = self.pair_scale(node)
        nodes = self.consumers.get(node.output[0], [])
        if len(nodes) != 1 or nodes[0].op_type != "DequantizeLinear" or self.pair_scale(nodes[0]) != scale:
            raise self.refuse(node, "no DequantizeLinear of the same scale follows it")
        self.flush()
        self.pair = Rounding((node, nodes[0]), current, nodes[0].output[0], self.width, scale)

    def dequantize(self, node: Any, current: str) -> None:
        if self.pair is None:
            raise self.refuse(node, "no QuantizeLinear precedes it")

    def pair_scale(self, node: Any) -> float:
        """Return the scale of a Q or DQ of data."""
        scale = self.constants.values(node.input[1])
        zero = self.constants.values(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if scale is None or scale.size != 1 or not np.isfinite(scale).all() or scale.reshape(-1)[0] <= 0:
            raise self.refuse(node, "the scale of the data is not one constant above 0")
        if zero is None or zero.dtype != np.int8 or np.any(zero):
            raise self.refuse(node, "the data are not symmetric int8 (zero point 0 of type int8)")
        return float(scale.reshape(-1)[0])

    def dense(self, node: Any, current: str) -> None:
        layer = self.layer(node, current)
        if self.pair is not None and layer.codes is not None:
            pair, self.pair = self.pair, None
            layer = replace(layer, data_scale=pair.scale, nodes=(*pair.nodes, node), source=pair.source)
        self.add(layer)
        self.width = layer.width

    def layer(self, node: Any, current: str) -> Layer:
        """Read the weights of a Gemm or MatMul; its data are those of the tensor ``current``."""
        given = attributes(node)
        if given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0 or given.get("transA", 0):
            raise self.refuse(node, "alpha, beta or transA does not have its default value")
        if node.input[0] != current:
            raise self.refuse(node, "the data are not its first operand")
        turned = bool(given.get("transB", 0))
        weights = self.constants.weights(node, node.input[1])  # [n, m], or [m, n] when turned
        shape = weights.values.shape
        if (
            len(shape) != 2
            or shape[1 if turned else 0] != self.width
            or not 1 <= shape[0 if turned else 1] <= MAX_WIDTH
        ):
            raise self.refuse(node, f"its weights have shape {list(shape)} behind {self.width} values")
        width = shape[0 if turned else 1]
        scale = weights.scale if weights.codes is None else weights.per_output(0 if turned else 1, width)
        if weights.codes is not None and scale is None and self.pair is not None:
            raise self.refuse(node, "the scales of its weights are not one number, or one per output")

        def oriented(a: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(a if turned else a.T)

        bias = None
        if len(node.input) > 2 and node.input[2]:
            value = self.constants.values(node.input[2])
            if value is None:
                raise self.refuse(node, "its bias is not constant")
            before, self.width = self.width, width
            bias, self.width = self.row(node, value), before
        codes = None if weights.codes is None or scale is None else oriented(weights.codes)
        name = node.name or node.output[0]
        weight = oriented(weights.values)
        return Layer((node,), current, node.output[0], width, name, weight, bias, codes, scale)

    # -- elementwise functions of several nodes ---------------------------------------------------------------------
    def region(self, entry: str) -> str:
        """Return the value where all paths from ``entry`` have joined again; the nodes between become one activation."""
        inside: list[Any] = []
        derived = {entry}
        for node in self.graph.node:
            if not any(name in derived for name in node.input):
                continue
            if not is_elementwise(node) or not all(name in derived or self.known(name) for name in node.input):
                raise self.refuse(node, "the paths that part before it are no activation")
            inside.append(node)
            derived.add(node.output[0])
            live = [
                name
                for name in derived
                if name == self.graph.output[0].name or any(n not in inside for n in self.consumers.get(name, []))
            ]
            if len(live) == 1 and live[0] != entry:
                self.add(self.function(tuple(inside), entry, live[0]))
                return live[0]
        raise self.refuse(
            inside[-1] if inside else self.consumers[entry][0], "the paths from one value never join again"
        )

    def function(self, nodes: tuple[Any, ...], entry: str, target: str) -> Activation:
        values = {name: self.constants.values(name) for node in nodes for name in node.input if name}
        constants = {name: value for name, value in values.items() if value is not None}
        name = None
        if all(value.size == 1 for value in constants.values()):
            scalars = {key: value.reshape(-1) for key, value in constants.items()}
            segment = Segment(nodes, entry, target, scalars, exact=True)
            name = recognized(segment)
        why = "the function that ends here is not a known activation"
        return Activation(nodes, entry, target, self.width, name, why=why)
