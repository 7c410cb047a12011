"""Analysis of a graph: its layers, the precision of each, and the multiply-adds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import GraphError, NotAvailable

# Of the other rooms graph uses io alone, for this check: every caller would have to make it otherwise.
from ..io.limits import ENGINE_BYTES
from ..io.regular import file_problem
from ..io.words import counted
from .sizes import positions, sizes_of

__all__ = ["GraphPrecision", "LayerPrecision", "graph_precision", "input_of", "load_graph", "row_shape"]

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


def load_graph(path: str | Path) -> Any:
    """Return the checked ``onnx.ModelProto`` of a file; :class:`GraphError` if it is not one."""
    try:
        import onnx
    except ImportError:
        raise NotAvailable("onnx is not installed.", "Run: pip install 'regkd-edge[distill]'.") from None
    path = Path(path)
    if not path.exists():
        raise GraphError(f"no ONNX file '{path}'.", "Run 'distill' first: it exports the student.")
    problem = file_problem(path, ENGINE_BYTES)
    if problem is not None:
        raise GraphError(f"'{path}' cannot be read: {problem}.", "Give a readable ONNX file.")
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception as error:  # protobuf raises its own classes, and they changed between versions
        raise GraphError(f"'{path}' is not an ONNX graph: {error}.", "Export the student again.") from None
    for tensor in _tensors(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise GraphError(
                f"'{path}' keeps the values of '{tensor.name}' in another file, which is not read.",
                "Save the graph with its weights inside (onnx.save without external data).",
            )
    return model


def _tensors(graph: Any) -> Iterator[Any]:
    """Yield all constants of a graph and of the graphs in it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                if len(inner.node) or len(inner.initializer):
                    yield from _tensors(inner)


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
    model = load_graph(path)
    graph = model.graph
    producers = {output: node for node in graph.node for output in node.output}
    constants = _constants(graph)
    shapes: dict[str, list[int]] | None = None
    layers = []
    for node in graph.node:
        if node.op_type not in _LAYERS:
            continue
        data_index, weight_index = _LAYERS[node.op_type]
        weights, weight_pair = _walk(node.input[weight_index], producers, constants)
        if weights is None:
            continue  # both factors depend on the input: an attention product, not a layer with weights
        data_pair = _pair(node.input[data_index], producers)
        if node.op_type in _INTEGER or _rounds_its_data(node):
            precision = "int8"
        elif node.op_type == "MatMulNBits":
            precision = "fp32"
        elif executed or not weight_pair:
            precision = _NAMES.get(_compute_type(node.input[weight_index], weights, producers, executed), "unknown")
        else:
            stored = _NAMES.get(_quantized_type(weight_pair, producers, constants), "unknown")
            precision = stored if data_pair is not None else f"{stored}-weights"
        macs = math.prod(weights.dims)
        if node.op_type == "MatMulNBits":  # its weights are stored in blocks
            macs = math.prod(a.i for a in node.attribute if a.name in ("K", "N"))
        if node.op_type == "GRU":  # its state is float32 at every step, whatever its weights are
            shapes = sizes_of(model) if shapes is None else shapes
            times = max(shapes.get(node.input[0], [1])[0], 1)
            state, state_pair = _walk(node.input[2], producers, constants)
            if state is None:
                continue
            macs *= times
            kept = (
                f"{precision.removesuffix('-weights')}-weights"
                if state_pair is not None and not executed
                else precision
            )
            name = f"{node.name or node.output[0]}/recurrence"
            of_state = LayerPrecision(
                name, node.op_type, kept, times * math.prod(state.dims), int(state_pair is not None)
            )
        if "Conv" in node.op_type:
            shapes = sizes_of(model) if shapes is None else shapes
            macs *= positions(node, shapes, path)
        layers.append(
            LayerPrecision(
                node.name or node.output[0],
                node.op_type,
                precision,
                macs,
                (data_pair is not None) + (weight_pair is not None),
            )
        )
        if node.op_type == "GRU":
            layers.append(of_state)
    if not layers:
        raise GraphError(
            f"'{path}' has no Gemm, MatMul, Conv or GRU with constant weights.", "Export a network that has layers."
        )
    quantized = constants.keys() | {
        output for node in graph.node if node.op_type == "QuantizeLinear" for output in node.output
    }
    pairs = sum(node.op_type == "DequantizeLinear" and node.input[0] in quantized for node in graph.node)
    total = sum(layer.multiply_adds for layer in layers)
    counts: dict[str, int] = {}
    for layer in layers:
        counts[layer.precision] = counts.get(layer.precision, 0) + layer.multiply_adds
    share = {name: count / total for name, count in sorted(counts.items(), key=lambda item: -item[1])}
    return GraphPrecision(layers, pairs, share)


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


def _constants(graph: Any) -> dict[str, Any]:
    """Return name -> TensorProto of initializers and Constant nodes."""
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.name == "value":
                    found[node.output[0]] = attribute.t
    return found


def _walk(name: str, producers: dict[str, Any], constants: dict[str, Any]) -> tuple[Any, Any]:
    """Trace a layer's input back to its constant: return (tensor or None, DequantizeLinear on the way or None)."""
    pair = None
    while name not in constants:
        node = producers.get(name)
        if node is None or not (node.op_type in _TRANSPARENT or node.op_type in ("QuantizeLinear", "DequantizeLinear")):
            return None, None
        if node.op_type == "DequantizeLinear":
            pair = node
        name = node.input[0]
    return constants[name], pair


def _pair(name: str, producers: dict[str, Any]) -> Any:
    """Return the DequantizeLinear that a layer's data comes from, or None."""
    node = producers.get(name)
    while node is not None and node.op_type in _TRANSPARENT:
        if node.op_type == "Add" and any(_pair(other, producers) is None for other in node.input[1:]):
            return None  # a summand that is float: only the two parts of an INT8 number are both behind pairs
        node = producers.get(node.input[0])
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def _quantized_type(pair: Any, producers: dict[str, Any], constants: dict[str, Any]) -> int | None:
    """Return the type between Q and DQ: that of the zero point, of the constant, or QuantizeLinear's output_dtype."""
    if len(pair.input) > 2 and pair.input[2] in constants:
        return constants[pair.input[2]].data_type
    if pair.input[0] in constants:
        return constants[pair.input[0]].data_type
    source = producers.get(pair.input[0])
    for attribute in source.attribute if source is not None else ():
        if attribute.name == "output_dtype":
            return attribute.i
    return 2  # the standard's default is uint8


def _compute_type(name: str, weights: Any, producers: dict[str, Any], executed: bool) -> int:
    """Return the type in which a layer multiplies: that of the last Cast, DequantizeLinear's scale, or its weights."""
    node = producers.get(name)
    while node is not None:
        if node.op_type == "Cast":
            return next(a.i for a in node.attribute if a.name == "to")
        if node.op_type == "DequantizeLinear" and executed:
            return 1
        node = producers.get(node.input[0]) if node.op_type in _TRANSPARENT else None
    return weights.data_type


def _rounds_its_data(node: Any) -> bool:
    """Whether a MatMulNBits rounds its data to INT8 on its own."""
    return node.op_type == "MatMulNBits" and any(a.name == "accuracy_level" and a.i == 4 for a in node.attribute)


def input_of(model: Any) -> tuple[str, int, int | None]:
    """Return (name, numbers of a row, fixed batch or None) of a graph's only input."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    if len(inputs) != 1 or len(model.graph.output) != 1:
        raise GraphError(
            f"the graph has {counted(len(inputs), 'input')} and {counted(len(model.graph.output), 'output')}, expected "
            "one of each.",
            "Export one regression network.",
        )
    dims = inputs[0].type.tensor_type.shape.dim
    if len(dims) < 2 or any(dim.dim_value < 1 for dim in dims[1:]):
        raise GraphError(
            f"input '{inputs[0].name}' has no fixed number of columns.", "Export with the number of features fixed."
        )
    return inputs[0].name, math.prod(dim.dim_value for dim in dims[1:]), dims[0].dim_value or None


def row_shape(model: Any) -> tuple[int, ...]:
    """Return the shape of one row of a graph's only input: (d,), or that of an image or a signal."""
    constants = {tensor.name for tensor in model.graph.initializer}
    value = next(value for value in model.graph.input if value.name not in constants)
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim[1:])
