"""FP16 as a typed graph: the layers and the nodes between them in half precision, the scalers around them in FP32.

Raw sensor units overflow FP16 (largest value 65504), so the cast comes after the inputs are standardised, and the
outputs are cast back before they are scaled to target units. Inputs and outputs of the graph stay float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GraphError
from ..graph.graph import input_of, load_graph
from ..io.files import write_atomic
from .summary import QuantizeSummary, checked_rows, summarize

__all__ = ["quantize_fp16"]

_LAYER_OPS = ("Gemm", "MatMul", "Conv", "GRU")


def quantize_fp16(source: str | Path, target: str | Path, *, check_rows: Any = None) -> QuantizeSummary:
    """Write ``source`` with its layers in FP16.

    Parameters
    ----------
    source, target : path
        FP32 graph to read, FP16 graph to write (atomically).
    check_rows : float32 [n, d], optional
        Rows in raw units on which both graphs are compared.

    Raises
    ------
    GraphError
        No layer to convert, a weight beyond FP16's range, or outputs that are not finite on ``check_rows``.
    """
    import onnx

    model = load_graph(source)
    _, width, _ = input_of(model)
    rows = None if check_rows is None else checked_rows(check_rows, width, "check rows")
    notes = _convert(model)
    onnx.checker.check_model(model, full_check=True)
    with write_atomic(target) as temporary:
        onnx.save(model, temporary)
        summarize("fp16", source, temporary, rows, notes=notes)  # refuse before the file gets its final name
    return summarize("fp16", source, target, rows, notes=notes)


def _convert(model: Any) -> list[str]:
    """Convert in place; return notes on what was rounded to 0."""
    from onnx import TensorProto, helper

    graph = model.graph
    _constants_to_initializers(graph)
    weights = {tensor.name: tensor for tensor in graph.initializer}
    half = _half_nodes(graph)
    if not half:
        raise GraphError(
            "the graph has no Gemm, MatMul, Conv or GRU layer to convert to FP16.", "Export a network that has layers."
        )
    made = {output for index in half for output in graph.node[index].output}  # tensors that become FP16
    float_made = made & _float_tensors(model)
    notes: list[str] = []
    nodes: list[Any] = []
    ready: dict[str, str] = {}  # float32 tensor -> its FP16 twin
    outputs = {value.name for value in graph.output}
    used_outside = outputs | {name for index, node in enumerate(graph.node) if index not in half for name in node.input}
    new_weights = []

    for index, node in enumerate(graph.node):
        if index not in half:
            nodes.append(node)
            continue
        for position, name in enumerate(node.input):
            if name in weights and weights[name].data_type == TensorProto.FLOAT:
                if name not in ready:
                    new_weights.append(_half_tensor(weights[name], node.name, notes))
                    ready[name] = new_weights[-1].name
                node.input[position] = ready[name]
            elif name and name not in weights and name not in made:
                if name not in ready:
                    ready[name] = f"{name}_fp16"
                    nodes.append(
                        helper.make_node("Cast", [name], [ready[name]], name=f"{name}/to_fp16", to=TensorProto.FLOAT16)
                    )
                node.input[position] = ready[name]
            elif name in float_made and name in used_outside:
                node.input[position] = f"{name}_fp16"
        if node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                    attribute.i = TensorProto.FLOAT16
        nodes.append(node)
        for position, name in enumerate(node.output):
            if name in float_made and name in used_outside:  # readers outside keep the float32 name
                node.output[position] = f"{name}_fp16"
                nodes.append(
                    helper.make_node("Cast", [f"{name}_fp16"], [name], name=f"{name}/to_fp32", to=TensorProto.FLOAT)
                )

    del graph.node[:]
    graph.node.extend(nodes)
    still_used = {name for node in nodes for name in node.input} | outputs
    kept = [tensor for tensor in (*graph.initializer, *new_weights) if tensor.name in still_used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]  # stale: they still have type float32
    return notes


def _half_nodes(graph: Any) -> set[int]:
    """Return the indices of the layers and of every node on a path from one layer to another."""
    consumers: dict[str, list[int]] = {}
    for index, node in enumerate(graph.node):
        for name in node.input:
            consumers.setdefault(name, []).append(index)
    layers = {index for index, node in enumerate(graph.node) if node.op_type in _LAYER_OPS}
    after: set[int] = set()  # ONNX keeps nodes in topological order, so one sweep each way is enough
    for index, node in enumerate(graph.node):
        if index in layers or index in after:
            after.update(i for output in node.output for i in consumers.get(output, ()))
    before: set[int] = set()
    for index in range(len(graph.node) - 1, -1, -1):
        next_ones = {i for output in graph.node[index].output for i in consumers.get(output, ())}
        if next_ones & (layers | before):
            before.add(index)
    return layers | (after & before)


def _float_tensors(model: Any) -> set[str]:
    """Return the names of float32 tensors by shape inference (a Shape node between two layers gives int64)."""
    import onnx
    from onnx import TensorProto, shape_inference

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph = shape_inference.infer_shapes(copy).graph
    return {v.name for v in (*graph.value_info, *graph.output) if v.type.tensor_type.elem_type == TensorProto.FLOAT}


def _half_tensor(tensor: Any, node: str, notes: list[str]) -> Any:
    from onnx import numpy_helper

    values = numpy_helper.to_array(tensor)
    largest = float(np.abs(values).max(initial=0.0))
    if largest > float(np.finfo(np.float16).max):
        raise GraphError(
            f"weight '{tensor.name}' of '{node}' holds {largest:.6g}, beyond FP16's maximum of 65504.",
            "Use fp32 or int8 for this student.",
        )
    rounded = values.astype(np.float16)
    lost = int(np.count_nonzero((rounded == 0) & (values != 0)))
    if lost:
        notes.append(f"{lost} of {values.size} values of '{tensor.name}' are below FP16's smallest number and became 0")
    return numpy_helper.from_array(rounded, f"{tensor.name}_fp16")


def _constants_to_initializers(graph: Any) -> None:
    """Turn Constant nodes with a tensor into initializers, so that one rule covers both."""
    kept = []
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None) if node.op_type == "Constant" else None
        if value is None:
            kept.append(node)
            continue
        tensor = graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
    del graph.node[:]
    graph.node.extend(kept)
