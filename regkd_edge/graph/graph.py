"""A graph's file, and the input of a graph."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import GraphError, NotAvailable

# Of the other rooms graph uses io alone, for this check: every caller would have to make it otherwise.
from ..io.limits import ENGINE_BYTES
from ..io.regular import file_problem
from ..io.words import counted

__all__ = ["input_of", "load_graph", "row_shape", "tensors_of"]


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
    for tensor in tensors_of(model.graph):
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise GraphError(
                f"'{path}' keeps the values of '{tensor.name}' in another file, which is not read.",
                "Save the graph with its weights inside (onnx.save without external data).",
            )
    return model


def tensors_of(graph: Any) -> Iterator[Any]:
    """Yield all constants of a graph and of the graphs in it."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                if len(inner.node) or len(inner.initializer):
                    yield from tensors_of(inner)


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
