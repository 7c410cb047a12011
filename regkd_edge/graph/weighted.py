"""The layers of any graph: nodes that multiply by constant weights, whatever lies between them.

Chains of dense layers have a recognizer of their own (:mod:`~regkd_edge.graph.reader`); this is for convolutions, GRUs
and graphs that branch. A GRU is one layer with two matrices of weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GraphError, NotAvailable
from .constants import attributes
from .graph import load_graph, row_shape
from .sizes import sizes_of
from .unoptimized import fixed_batch

__all__ = ["WeightedGraph", "WeightedLayer", "read_weighted", "run_model"]


@dataclass(frozen=True, eq=False)
class WeightedLayer:
    """One layer.

    Attributes
    ----------
    node : onnx.NodeProto
        A Conv, MatMul, Gemm (alpha and beta 1, transA 0) or GRU.
    name : str
    weights : tuple of float32 arrays
        As the node has them; of a GRU those of its inputs [1, 3H, F] and of its state [1, 3H, H].
    axes : tuple of int
        Axis of each along which the outputs lie.
    bias : float32 array or None
    """

    node: Any
    name: str
    weights: tuple[np.ndarray, ...]
    axes: tuple[int, ...]
    bias: np.ndarray | None


@dataclass(frozen=True, eq=False)
class WeightedGraph:
    """A float32 graph with its layers; a call runs it."""

    model: Any  # onnx.ModelProto
    layers: tuple[WeightedLayer, ...]

    @cached_property
    def multiply_adds(self) -> list[int]:
        """Of each layer, per row."""
        shapes = sizes_of(self.model)
        found = []
        for layer in self.layers:
            size = sum(w.size for w in layer.weights)
            if layer.node.op_type == "Conv":
                size *= math.prod(shapes.get(layer.node.output[0], [])[2:])
            elif layer.node.op_type == "GRU":
                size *= shapes.get(layer.node.input[0], [1])[0]
            found.append(size)
        return found

    @property
    def outputs(self) -> int:
        """Number of targets."""
        return int(self.model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value)

    def __call__(self, rows: np.ndarray) -> np.ndarray:  # [n, d] float32, raw units -> [n, o]
        return run_model(self.model, rows)[0]


def read_weighted(source: str | Path | Any) -> WeightedGraph | str:
    """Return the layers of an ONNX file or model, or one sentence that says why there is nothing to quantize."""
    from onnx import numpy_helper

    model = load_graph(source) if isinstance(source, (str, Path)) else source
    graph = model.graph
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    if any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in graph.node):
        return "it is quantized already"
    layers = []
    for node in graph.node:
        if node.domain not in ("", "ai.onnx"):
            continue
        given = attributes(node)
        names = [*node.input, "", "", "", ""]
        weights, axes, bias = [names[1]], [0], names[2]
        if node.op_type == "GRU":
            weights, axes, bias = [names[1], names[2]], [1, 1], names[3]
        elif node.op_type == "Gemm":
            if given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0 or given.get("transA", 0):
                continue
            axes = [0 if given.get("transB", 0) else 1]
        elif node.op_type == "MatMul":
            axes, bias = [1], ""
        elif node.op_type != "Conv":
            continue
        arrays = [stored.get(name) for name in weights]
        if any(a is None or a.dtype != np.float32 or a.ndim < 2 for a in arrays) or (bias and bias not in stored):
            continue
        if node.op_type == "MatMul" and arrays[0].ndim != 2:
            continue
        layers.append(
            WeightedLayer(node, node.name or node.output[0], tuple(arrays), tuple(axes), stored.get(bias or ""))
        )
    return WeightedGraph(model, tuple(layers)) if layers else "it has no Conv, Gemm, MatMul or GRU with stored weights"


def run_model(
    model: Any,
    rows: np.ndarray,  # [n, d] float32, raw units
    also: tuple[str, ...] = (),
) -> list[np.ndarray]:
    """Return the output [n, o] of a model on the CPU with every optimization off, and of further tensors ``also``.

    Raises
    ------
    NotAvailable
        ONNX Runtime is not installed.
    GraphError
        It cannot run the model.
    """
    try:
        import onnxruntime as ort
    except ImportError:
        raise NotAvailable("onnxruntime is not installed.", "Run: pip install 'regkd-edge[onnxruntime]'.") from None
    import onnx

    if also:
        wider = onnx.ModelProto()
        wider.CopyFrom(model)
        for name in also:
            wider.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
        model = wider
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    name, _, batch = _input_of(model)
    shape = row_shape(model)
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        wanted = [session.get_outputs()[0].name, *also]
        parts = [
            session.run(wanted, {name: part.reshape(len(part), *shape)})
            for part in fixed_batch(np.ascontiguousarray(rows, np.float32), batch)
        ]
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise GraphError(f"ONNX Runtime cannot run the graph: {error}.", "Export the student again.") from None
    first = np.concatenate([part[0] for part in parts])[: len(rows)]
    return [first, *(np.concatenate([part[k] for part in parts]) for k in range(1, len(wanted)))]


def _input_of(model: Any) -> tuple[str, int, int | None]:
    """As :func:`~regkd_edge.graph.graph.input_of`, for a model with further outputs."""
    constants = {tensor.name for tensor in model.graph.initializer}
    value = next(value for value in model.graph.input if value.name not in constants)
    dims = value.type.tensor_type.shape.dim
    return value.name, math.prod(dim.dim_value for dim in dims[1:]), dims[0].dim_value or None
