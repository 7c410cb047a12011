"""Reference outputs of a typed graph, computed on the CPU independently of the CPU's own kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GraphError, NotAvailable, UserError
from .graph import load_graph

__all__ = ["fixed_batch", "reference_outputs"]


def fixed_batch(rows: np.ndarray, batch: int | None) -> list[np.ndarray]:
    """Split rows into batches that a graph supports; with a fixed batch the last is padded with the first rows."""
    if batch is None:
        return [rows]
    padded = rows[np.arange(-(-len(rows) // batch) * batch) % len(rows)]
    return [np.ascontiguousarray(part) for part in padded.reshape(-1, batch, *rows.shape[1:])]


def reference_outputs(path: str | Path, rows: np.ndarray, *, wide: bool = False) -> np.ndarray:  # [n, o] float64
    """Return what a graph means: its outputs by ONNX Runtime on the CPU with every optimization off.

    Where the onnx package is absent (on a device), FP16 is computed as ONNX Runtime does it, with fewer roundings than
    a GPU has.

    Parameters
    ----------
    path : path of an ONNX file with one input and one output
    rows : float32 [n, d] or [n, *shape]
        Inputs in raw units.
    wide : bool
        Compute FP16 parts in float32, from the weights as FP16 has them: what is left is free of FP16's rounding.

    Raises
    ------
    NotAvailable
        ONNX Runtime is not installed, or the graph has a BF16 part and the onnx package is not installed.
    GraphError
        The graph cannot be run.
    """
    try:
        import onnxruntime as ort
    except ImportError:
        raise NotAvailable("onnxruntime is not installed.", "Run: pip install 'regkd-edge[onnxruntime]'.") from None
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        try:
            content = _widened(path) if wide else _with_half_roundings(path)
        except NotAvailable:
            content = Path(path).read_bytes()
        session = ort.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)
        [value] = session.get_inputs()
        batch = value.shape[0] if isinstance(value.shape[0], int) else None
        if rows.ndim == 2 and len(value.shape) > 2:
            rows = rows.reshape(len(rows), *value.shape[1:])
        parts = [session.run(None, {value.name: part})[0] for part in fixed_batch(rows, batch)]
    except UserError:
        raise
    except Exception as error:  # onnxruntime's exceptions share no public base class
        if "NOT_IMPLEMENTED" in str(error):
            raise NotAvailable(
                f"ONNX Runtime has no kernel for a node of '{path}'.", "Run: pip install 'regkd-edge[distill]'."
            ) from None
        raise GraphError(f"ONNX Runtime cannot run '{path}': {error}.", "Export and quantize again.") from None
    return np.concatenate(parts)[: len(rows)].astype(np.float64)


def _with_half_roundings(path: str | Path) -> bytes:
    """Return the graph as bytes, changed to round where a GPU rounds.

    The CPU provider has no FP16 arithmetic: it computes such a node in float32 between casts and then drops the cast
    pairs between two nodes, and with them the rounding and the overflow that a GPU would have. An Identity keeps them.
    It lacks BF16 products: here one is computed in float32 from the BF16 operands, and its result cast back.
    """
    model = load_graph(path)
    from onnx import TensorProto, helper, shape_inference

    graph = shape_inference.infer_shapes(model).graph
    types = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    nodes = []
    for node in model.graph.node:
        kinds = {types.get(name) for name in node.output}
        if TensorProto.BFLOAT16 in kinds and node.op_type not in ("Cast", "DequantizeLinear"):
            for position, name in enumerate(node.input):
                wide = f"{node.output[0]}_operand{position}"
                nodes.append(helper.make_node("Cast", [name], [wide], to=TensorProto.FLOAT))
                node.input[position] = wide
            final, node.output[0] = node.output[0], f"{node.output[0]}_wide"
            nodes += [node, helper.make_node("Cast", [node.output[0]], [final], to=TensorProto.BFLOAT16)]
            continue
        nodes.append(node)
        for position, name in enumerate(node.output):
            if types.get(name) == TensorProto.FLOAT16:
                node.output[position] = f"{name}_unrounded"
                nodes.append(helper.make_node("Identity", [f"{name}_unrounded"], [name]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]
    return model.SerializeToString()


def _widened(path: str | Path) -> bytes:
    """Return the graph as bytes with float32 in place of FP16: weights, constants, casts and outputs."""
    model = load_graph(path)
    from onnx import TensorProto, helper, numpy_helper

    def widen(tensor: Any) -> None:
        if tensor.data_type == TensorProto.FLOAT16:
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))

    for tensor in model.graph.initializer:
        widen(tensor)
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
                attribute.CopyFrom(helper.make_attribute("to", TensorProto.FLOAT))
            elif attribute.HasField("t"):
                widen(attribute.t)
    for output in model.graph.output:
        if output.type.tensor_type.elem_type == TensorProto.FLOAT16:
            output.type.tensor_type.elem_type = TensorProto.FLOAT
    del model.graph.value_info[:]
    return model.SerializeToString()
