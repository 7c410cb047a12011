"""Conversion of an ONNX graph to the program of the native back end.

The graph must be one chain: scalers, layers with constant weights, Q/DQ pairs, activations. An activation may be
several nodes (SiLU, GELU): a region between one value and the next that is a function of that value alone is recognised
by what it computes. Anything else is refused with the name of the node.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import GraphError
from ...graph.native_constants import Constants, attributes
from .file import MAX_WIDTH, Operation, Program

__all__ = ["program_of"]

_CONSTANT = {"Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide"}
_ACTIVATION = {
    "Relu": "relu",
    "LeakyRelu": "leaky_relu",
    "Elu": "elu",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Sigmoid": "sigmoid",
}
_ALPHA = {"leaky_relu": 0.01, "elu": 1.0}  # ONNX's defaults


def program_of(path: str | Path) -> Program:
    """Return the program of an ONNX file: float32, or int8 between symmetric Q/DQ pairs.

    Raises
    ------
    GraphError
        The graph is not a chain, or one of its nodes has no counterpart; the node is named.
    """
    from ...graph.graph import load_graph

    return _Converter(load_graph(path), Path(path).name).convert()


class _Converter:
    def __init__(self, model: Any, file: str) -> None:
        self.file = file
        self.model = model
        self.graph = model.graph
        self.consumers: dict[str, list[Any]] = {}
        for node in self.graph.node:
            for name in dict.fromkeys(node.input):
                self.consumers.setdefault(name, []).append(node)
        self.constants = Constants(self.graph, self.refuse)
        self.operations: list[Operation] = []
        self.width = 0
        self.pair: float | None = None  # scale of the Q/DQ pair that the value just passed

    def refuse(self, node: Any, why: str) -> GraphError:
        name = node.name or (node.output[0] if node.output else "?")
        return GraphError(
            f"'{self.file}', node '{name}' ({node.op_type}): {why}.",
            "The native back end takes fp32 and int8 MLPs; use 'onnxruntime' for this graph.",
        )

    def convert(self) -> Program:
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
            current = self.step(current)
        if self.pair is not None:
            self.flush()
        if not any(op.multiply_adds for op in self.operations):
            raise GraphError(f"'{self.file}' has no layer.", "Export a network that has layers.")
        return Program(d, self.width, self.operations, self.names(d))

    def names(self, d: int) -> list[str]:
        """Return the column names from the exporter's metadata, if they are complete and have no line breaks."""
        kept = {item.key: item.value for item in self.model.metadata_props}
        try:
            found = [*json.loads(kept["regkd.feature_names"]), *json.loads(kept["regkd.target_names"])]
        except (KeyError, ValueError, TypeError):
            return []
        usable = len(found) == d + self.width and all(
            isinstance(name, str) and name and not set(name) & set("\n\0") for name in found
        )
        return found if usable else []

    # -- one step along the chain ---------------------------------------------------------------------------------
    def step(self, current: str) -> str:
        nodes = self.consumers.get(current, [])
        if not nodes:
            raise GraphError(f"'{self.file}': the value '{current}' is not used.", "Export the student again.")
        node = nodes[0]
        if len(nodes) > 1 or list(node.input).count(current) > 1:
            return self.region(current)
        handlers: dict[str, Callable[[Any, str], None]] = {
            "Gemm": self.dense, "MatMul": self.dense, "QuantizeLinear": self.quantize, "DequantizeLinear": self.dequantize,
            "Clip": self.clip, "Gelu": self.gelu, "Identity": lambda node, current: None, "Dropout": lambda node, current: None,
        }  # fmt: skip
        if node.op_type in handlers:
            handlers[node.op_type](node, current)
        elif node.op_type in _ACTIVATION:
            self.activation(
                _ACTIVATION[node.op_type], attributes(node).get("alpha", _ALPHA.get(_ACTIVATION[node.op_type], 0.0))
            )
        elif node.op_type in _CONSTANT:
            self.constant(node, current)
        else:
            raise self.refuse(node, "it is not a layer, scaler, activation or Q/DQ pair of an fp32 or int8 MLP")
        return node.output[0]

    def add(self, op: Operation) -> None:
        """Append an operation; a pending Q/DQ pair does not feed a layer and becomes an operation of its own."""
        self.flush()
        self.operations.append(op)

    def flush(self) -> None:
        if self.pair is not None:
            self.operations.append(Operation("quantize", self.width, number=self.pair))
            self.pair = None

    def constant(self, node: Any, current: str) -> None:
        position = list(node.input).index(current)
        if position == 1 and node.op_type in ("Sub", "Div"):
            raise self.refuse(node, "the data may not be its second operand")
        value = self.constants.values(node.input[1 - position])
        if value is None:
            raise self.refuse(node, "both operands depend on the input")
        row = self.row(node, value)
        last = self.operations[-1] if self.operations else None
        if (
            node.op_type == "Add"
            and self.pair is None
            and last is not None
            and last.multiply_adds
            and last.bias is None
        ):
            last.bias = row
            return
        self.add(Operation(_CONSTANT[node.op_type], self.width, values=row))

    def row(self, node: Any, value: np.ndarray) -> np.ndarray:  # float32 [width]
        if value.dtype != np.float32:
            raise self.refuse(node, f"its constant is {value.dtype}, expected float32")
        if value.size not in (1, self.width) or max(value.shape, default=1) != value.size:
            raise self.refuse(node, f"its constant has shape {list(value.shape)}, expected one number or {self.width}")
        if not np.isfinite(value).all():
            raise self.refuse(node, "its constant is not finite")
        return np.broadcast_to(value.reshape(-1), (self.width,)).copy()

    def activation(self, name: str, alpha: float = 0.0) -> None:
        self.add(Operation("activation", self.width, activation=name, number=float(alpha)))

    def gelu(self, node: Any, current: str) -> None:
        kind = attributes(node).get("approximate", b"none")
        self.activation("gelu_tanh" if kind in (b"tanh", "tanh") else "gelu")

    def clip(self, node: Any, current: str) -> None:
        bounds = []
        for position, missing in ((1, -np.finfo(np.float32).max), (2, np.finfo(np.float32).max)):
            name = node.input[position] if len(node.input) > position else ""
            value = self.constants.values(name) if name else np.float32(missing)
            if value is None or np.size(value) != 1:
                raise self.refuse(node, "its bounds are not two constants")
            bounds.append(float(np.reshape(value, -1)[0]))
        self.add(Operation("clip", self.width, values=np.array(bounds, np.float32)))

    # -- Q/DQ and layers --------------------------------------------------------------------------------------------
    def quantize(self, node: Any, current: str) -> None:
        scale = self.pair_scale(node)
        nodes = self.consumers.get(node.output[0], [])
        if len(nodes) != 1 or nodes[0].op_type != "DequantizeLinear" or self.pair_scale(nodes[0]) != scale:
            raise self.refuse(node, "no DequantizeLinear of the same scale follows it")
        self.flush()
        self.pair = scale

    def dequantize(self, node: Any, current: str) -> None:
        if self.pair is None:
            raise self.refuse(node, "no QuantizeLinear precedes it")

    def pair_scale(self, node: Any) -> float:
        scale = self.constants.values(node.input[1])
        zero = self.constants.values(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if scale is None or scale.size != 1 or not np.isfinite(scale).all() or scale.reshape(-1)[0] <= 0:
            raise self.refuse(node, "the scale of the data is not one constant above 0")
        if zero is None or zero.dtype != np.int8 or np.any(zero):
            raise self.refuse(node, "the data are not symmetric int8 (zero point 0 of type int8)")
        return float(scale.reshape(-1)[0])

    def dense(self, node: Any, current: str) -> None:
        given = attributes(node)
        if given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0 or given.get("transA", 0):
            raise self.refuse(node, "alpha, beta or transA does not have its default value")
        if node.input[0] != current:
            raise self.refuse(node, "the data are not its first operand")
        turned = bool(given.get("transB", 0))
        weights = self.constants.weights(node, node.input[1])  # [n, m], or [m, n] if transposed
        shape = weights.values.shape
        if (
            len(shape) != 2
            or shape[1 if turned else 0] != self.width
            or not 1 <= shape[0 if turned else 1] <= MAX_WIDTH
        ):
            raise self.refuse(node, f"its weights have shape {list(shape)} behind {self.width} values")
        width = shape[0 if turned else 1]
        scale = weights.scale if weights.codes is None else weights.per_output(0 if turned else 1, width)
        oriented = lambda a: np.ascontiguousarray(a if turned else a.T)
        if self.pair is not None and weights.codes is not None:
            if scale is None:
                raise self.refuse(node, "the scales of its weights are not one number, or one per output")
            op = Operation("dense_int8", width, number=self.pair, codes=oriented(weights.codes), scale=scale)
            self.pair = None
            self.operations.append(op)
        else:
            op = Operation("dense", width, values=oriented(weights.values))
            self.add(op)
        self.width = width
        if len(node.input) > 2 and node.input[2]:
            bias = self.constants.values(node.input[2])
            if bias is None:
                raise self.refuse(node, "its bias is not constant")
            op.bias = self.row(node, bias)

    # -- activations of several nodes -------------------------------------------------------------------------------
    def region(self, entry: str) -> str:
        """Return the value where all paths from ``entry`` join again; the nodes between become one activation."""
        z = np.linspace(-12, 12, 4801)
        derived: dict[str, np.ndarray] = {entry: z}
        inside: list[Any] = []
        for node in self.graph.node:
            if not any(name in derived for name in node.input):
                continue
            function = _ELEMENTWISE.get(node.op_type)
            if function is None or len(node.output) != 1:
                raise self.refuse(node, "the paths that part before it are no activation")
            operands = [derived[name] if name in derived else self.scalar(node, name) for name in node.input]
            with np.errstate(all="ignore"):
                derived[node.output[0]] = function(*operands)
            inside.append(node)
            live = [
                name
                for name in derived
                if name == self.graph.output[0].name or any(n not in inside for n in self.consumers.get(name, []))
            ]
            if len(live) == 1 and live[0] != entry:
                self.activation(self.recognise(node, z, derived[live[0]]))
                return live[0]
        raise self.refuse(
            inside[-1] if inside else self.consumers[entry][0], "the paths from one value never join again"
        )

    def scalar(self, node: Any, name: str) -> float:
        value = self.constants.values(name)
        if value is None or value.size != 1:
            raise self.refuse(node, "the paths that part before it are no activation")
        return float(value.reshape(-1)[0])

    def recognise(self, node: Any, z: np.ndarray, values: np.ndarray) -> str:
        # The constants in the graph are float32, hence 1e-6 of the value; GELU and its tanh form differ by 5e-4.
        for name, function in _KNOWN.items():
            want = function(z)
            if np.all(np.abs(values - want) <= 1e-6 * (1e-3 + np.abs(want)) + 1e-7):
                return name
        raise self.refuse(node, "the function that ends here is not a known activation")


def _erf(z: Any) -> np.ndarray:
    return np.vectorize(math.erf)(z)


def _sigmoid(z: Any) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power, "Neg": np.negative, "Exp": np.exp, "Log": np.log,
    "Sigmoid": _sigmoid, "Tanh": np.tanh, "Erf": _erf, "Softplus": lambda z: np.logaddexp(0, z), "Sqrt": np.sqrt, "Abs": np.abs,
    "Relu": lambda z: np.maximum(z, 0), "Identity": lambda z: z,
}  # fmt: skip
_KNOWN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "silu": lambda z: z * _sigmoid(z),
    "gelu": lambda z: z / 2 * (1 + _erf(z / math.sqrt(2))),
    "gelu_tanh": lambda z: z / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    "softplus": lambda z: np.logaddexp(0, z),
    "relu": lambda z: np.maximum(z, 0),
}
