"""The precision of a graph's layers, and their multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import GraphError
from .graph import load_graph
from .sizes import positions, sizes_of

__all__ = ["GraphPrecision", "LayerPrecision", "graph_precision"]

# A layer is a node that multiplies by constant weights: operator -> (index of its data input, index of its weights).
# The operators of com.microsoft are what ONNX Runtime's optimiser turns layers into.
_LAYERS = {
    "Gemm": (0, 1),
    "MatMul": (0, 1),
    "Conv": (0, 1),
    "GRU": (0, 1),
    "FusedGemm": (0, 1),
    "FusedMatMul": (0, 1),
    "FusedConv": (0, 1),
    "MatMulIntegerToFloat": (0, 1),
    "DynamicQuantizeMatMul": (0, 1),
    "QGemm": (0, 3),
    "QLinearMatMul": (0, 3),
    "QLinearConv": (0, 3),
    "MatMulNBits": (0, 1),
}
_INTEGER = {"MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QGemm", "QLinearMatMul", "QLinearConv"}
# Operators between a layer and its weights or its Q/DQ pair that change no value, but for the sum of two parts.
_TRANSPARENT = {"Add", "Transpose", "Identity", "Reshape", "Cast", "Squeeze", "Unsqueeze", "Flatten"}


# onnx.TensorProto type -> our name. The numbers are the format's own and never change.
_NAMES = {
    1: "fp32",
    10: "fp16",
    16: "bf16",
    11: "fp64",
    2: "uint8",
    3: "int8",
    17: "fp8",
    19: "fp8_e5m2",
    22: "int4",
    21: "uint4",
}


@dataclass(frozen=True)
class LayerPrecision:
    """One layer of a graph.

    ``multiply_adds`` counts those of one row; ``pairs`` the Q/DQ pairs on its data and weights (0, 1 or 2).
    """

    name: str
    op: str
    precision: str
    multiply_adds: int
    pairs: int


@dataclass(frozen=True)
class GraphPrecision:
    """The result of an analysis.

    Attributes
    ----------
    layers : list of LayerPrecision, in the order of the graph
    pairs : int
        Q/DQ pairs of the whole graph.
    share : dict of str to float
        Share of the multiply-adds in each precision, largest first.
    """

    layers: list[LayerPrecision]
    pairs: int
    share: dict[str, float]

    @property
    def label(self) -> str:
        """Label such as ``"int8"``, or ``"int8+fp32"`` if layers differ; the largest share is first."""
        return "+".join(self.share)

    def to_dict(self) -> dict[str, Any]:
        return {"layers": [asdict(layer) for layer in self.layers], "pairs": self.pairs, "share": self.share}


def graph_precision(path: str | Path, *, executed: bool = False) -> GraphPrecision:
    """Count a graph's multiply-adds by precision.

    Parameters
    ----------
    path : path of an ONNX file
    executed : bool
        False: the *meaning* of the graph; a layer between Q/DQ pairs is INT8. True: the *execution* by ONNX Runtime
        without further optimisation; then only its integer operators multiply integers, and a layer behind a
        DequantizeLinear multiplies floats.

    Raises
    ------
    GraphError
        No such file, not ONNX, or a graph without layers.
    """
    source = _Source(load_graph(path))
    nodes = source.model.graph.node
    layers = [layer for node in nodes if node.op_type in _LAYERS for layer in _layers_of(node, source, executed, path)]
    if not layers:
        raise GraphError(
            f"'{path}' has no Gemm, MatMul, Conv or GRU with constant weights.", "Export a network that has layers."
        )
    quantized = source.constants.keys() | {
        output for node in nodes if node.op_type == "QuantizeLinear" for output in node.output
    }
    pairs = sum(node.op_type == "DequantizeLinear" and node.input[0] in quantized for node in nodes)
    total = sum(layer.multiply_adds for layer in layers)
    counts: dict[str, int] = {}
    for layer in layers:
        counts[layer.precision] = counts.get(layer.precision, 0) + layer.multiply_adds
    share = {name: count / total for name, count in sorted(counts.items(), key=lambda item: -item[1])}
    return GraphPrecision(layers, pairs, share)


class _Source:
    """A graph, and where its values come from: its constants, and the node that makes each other value."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.producers = {output: node for node in model.graph.node for output in node.output}
        self.constants = _constants(model.graph)

    @cached_property
    def shapes(self) -> dict[str, list[int]]:
        return sizes_of(self.model)


def _layers_of(node: Any, source: _Source, executed: bool, path: str | Path) -> Iterator[LayerPrecision]:
    """Yield a node's layer, and that of its state if it has one; nothing for a product of two values of the graph."""
    data_index, weight_index = _LAYERS[node.op_type]
    weights, weight_pair = _walk(node.input[weight_index], source)
    if weights is None:
        return  # both factors depend on the input: an attention product, not a layer with weights
    data_pair = _pair(node.input[data_index], source)
    name, precision = (
        node.name or node.output[0],
        _precision_of(node, weights, weight_pair, data_pair, source, executed),
    )
    pairs = (data_pair is not None) + (weight_pair is not None)
    count = math.prod(weights.dims)
    if node.op_type == "MatMulNBits":  # its weights are stored in blocks
        count = math.prod(a.i for a in node.attribute if a.name in ("K", "N"))
    if "Conv" in node.op_type:
        count *= positions(node, source.shapes, path)
    if node.op_type != "GRU":
        yield LayerPrecision(name, node.op_type, precision, count, pairs)
        return
    state, state_pair = _walk(node.input[2], source)
    if state is None:
        return
    times = max(source.shapes.get(node.input[0], [1])[0], 1)
    kept = precision
    if state_pair is not None and not executed:  # the state is float32 at every step, whatever its weights are
        kept = f"{precision.removesuffix('-weights')}-weights"
    yield LayerPrecision(name, node.op_type, precision, count * times, pairs)
    state_count = math.prod(state.dims) * times
    yield LayerPrecision(f"{name}/recurrence", node.op_type, kept, state_count, int(state_pair is not None))


def _precision_of(node: Any, weights: Any, weight_pair: Any, data_pair: Any, source: _Source, executed: bool) -> str:
    """Return the precision of a layer's products: ``"int8"``, ``"fp32"``, ``"int8-weights"``, ..."""
    if node.op_type in _INTEGER or _rounds_its_data(node):
        return "int8"
    if node.op_type == "MatMulNBits":
        return "fp32"
    if executed or not weight_pair:
        weight_name = node.input[_LAYERS[node.op_type][1]]
        return _NAMES.get(_compute_type(weight_name, weights, source, executed), "unknown")
    stored = _NAMES.get(_quantized_type(weight_pair, source), "unknown")
    return stored if data_pair is not None else f"{stored}-weights"


def _constants(graph: Any) -> dict[str, Any]:
    """Return name -> TensorProto of initializers and Constant nodes."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = attribute.t
    return found


def _walk(name: str, source: _Source) -> tuple[Any, Any]:
    """Trace a layer's input back to its constant: return (tensor or None, DequantizeLinear on the way or None)."""
    pair = None
    while name not in source.constants:
        node = source.producers.get(name)
        if node is None or not (node.op_type in _TRANSPARENT or node.op_type in ("QuantizeLinear", "DequantizeLinear")):
            return None, None
        if node.op_type == "DequantizeLinear":
            pair = node
        name = node.input[0]
    return source.constants[name], pair


def _pair(name: str, source: _Source) -> Any:
    """Return the DequantizeLinear that a layer's data comes from, or None."""
    node = source.producers.get(name)
    while node is not None and node.op_type in _TRANSPARENT:
        if node.op_type == "Add" and any(_pair(other, source) is None for other in node.input[1:]):
            return None  # a summand that is float: only the two parts of an INT8 number are both behind pairs
        node = source.producers.get(node.input[0])
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def _quantized_type(pair: Any, source: _Source) -> int | None:
    """Return the type between Q and DQ: that of the zero point, of the constant, or QuantizeLinear's output_dtype."""
    if len(pair.input) > 2 and pair.input[2] in source.constants:
        return source.constants[pair.input[2]].data_type
    if pair.input[0] in source.constants:
        return source.constants[pair.input[0]].data_type
    quantizer = source.producers.get(pair.input[0])
    for attribute in quantizer.attribute if quantizer is not None else ():
        if attribute.name == "output_dtype":
            return attribute.i
    return 2  # the standard's default is uint8


def _compute_type(name: str, weights: Any, source: _Source, executed: bool) -> int:
    """Return the type in which a layer multiplies: that of the last Cast, DequantizeLinear's scale, or its weights."""
    node = source.producers.get(name)
    while node is not None:
        if node.op_type == "Cast":
            return next(a.i for a in node.attribute if a.name == "to")
        if node.op_type == "DequantizeLinear" and executed:
            return 1
        node = source.producers.get(node.input[0]) if node.op_type in _TRANSPARENT else None
    return weights.data_type


def _rounds_its_data(node: Any) -> bool:
    """Whether a MatMulNBits rounds its data to INT8 on its own."""
    return node.op_type == "MatMulNBits" and any(a.name == "accuracy_level" and a.i == 4 for a in node.attribute)
