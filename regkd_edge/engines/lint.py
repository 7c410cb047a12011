"""Checks for what TensorRT on a target would refuse in a graph, without TensorRT.

The rules are compared with NVIDIA's own parser and builder (``tensorrt-rtx``, see ``rtx.py``) by the tests: what is an
"error" here is refused there, and what the quantizers of this project write is accepted. Two rules are ours: the number
of features is fixed, as the runner requires, and the opset is one that NVIDIA documents for the version (the parser
accepts newer ones, and may misread them). An operator that was never tried is a "warning".
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..config.platforms import Platform, get_platform
from ..io.words import counted

__all__ = ["TRIED", "Finding", "lint"]


@dataclass(frozen=True)
class Finding:
    """One finding: ``level`` "error" (it will be refused) or "warning", the node, the cause and the remedy."""

    level: str
    node: str
    what: str
    remedy: str

    def to_dict(self) -> dict[str, str]:
        return asdict(self)


#: Operators that tensorrt-rtx builds in the tests.
TRIED = {
    "Add", "Cast", "Clip", "Constant", "Conv", "DequantizeLinear", "Div", "Elu", "Erf", "Exp", "Flatten", "GRU", "Gelu",
    "Gemm", "GlobalAveragePool",
    "Identity", "LeakyRelu", "Log", "MatMul", "Max", "Min", "Mul", "Neg", "Pow", "QuantizeLinear", "Relu", "Reshape",
    "Sigmoid", "Softplus", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze",
}  # fmt: skip
# Explicit integer arithmetic in ONNX: TensorRT needs Q/DQ pairs and chooses the kernel itself.
_REFUSED = {
    "DynamicQuantizeLinear": "quantize with fixed scales",
    "QLinearMatMul": "write Q/DQ pairs around MatMul",
    "QLinearConv": "write Q/DQ pairs around Conv",
    "MatMulInteger": "write Q/DQ pairs around MatMul",
    "ConvInteger": "write Q/DQ pairs around Conv",
}
# TensorRT version -> newest opset of its parser, by its list of operators; a version between counts as the one before.
_OPSET = {(10, 3): 20, (10, 15): 24, (11, 0): 25}
_OLDEST_OPSET = 9
_STORED = {3: "int8", 17: "float8e4m3fn"}  # between Q and DQ
_NAMES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "double", 16: "bfloat16", 17: "float8e4m3fn", 18: "float8e4m3fnuz", 19: "float8e5m2", 20: "float8e5m2fnuz",
    21: "uint4", 22: "int4", 23: "float4e2m1",
}  # fmt: skip


def lint(path: str | Path, target: str, tensorrt: str | None = None) -> list[Finding]:
    """Return the findings about one graph on one target, errors first.

    Parameters
    ----------
    path : path of an ONNX file
    target : name of a :data:`regkd_edge.config.platforms.PLATFORMS`
    tensorrt : str, optional
        The device's version, e.g. "10.16"; by default the oldest that the target ships with.

    Raises
    ------
    GraphError
        Not an ONNX graph.
    """
    from ..graph.graph import load_graph

    device = get_platform(target)
    version = device.version(tensorrt)
    model = load_graph(path)
    found = [
        *_opset(model, version),
        *_operators(model),
        *_shapes(model),
        *_pairs(model),
        *_types(model),
        *_precision(path, device),
    ]
    unique = list(dict.fromkeys(found))
    return sorted(unique, key=lambda finding: finding.level)  # "error" before "warning"; the order of the graph within


def _opset(model: Any, version: tuple[int, int]) -> Iterator[Finding]:
    newest = max(opset for since, opset in _OPSET.items() if since <= version)
    for entry in model.opset_import:
        if entry.domain in ("", "ai.onnx") and not _OLDEST_OPSET <= entry.version <= newest:
            text = ".".join(map(str, version))
            yield Finding(
                "error",
                "",
                f"opset {entry.version}, and TensorRT {text} supports {_OLDEST_OPSET} to {newest}",
                f"export with opset {newest} or older",
            )
    if len(model.graph.input) > 1 or len(model.graph.output) > 1:
        constants = {tensor.name for tensor in model.graph.initializer}
        inputs = [value.name for value in model.graph.input if value.name not in constants]
        if len(inputs) != 1 or len(model.graph.output) != 1:
            yield Finding(
                "error",
                "",
                f"{counted(len(inputs), 'input')} and {counted(len(model.graph.output), 'output')}, and the runner "
                "takes one of each",
                "export one regression network",
            )


def _operators(model: Any) -> Iterator[Finding]:
    for node in model.graph.node:
        name = _name(node)
        if node.domain not in ("", "ai.onnx"):
            yield Finding(
                "error",
                name,
                f"{node.domain}.{node.op_type} is not an ONNX operator",
                "use the graph of 'quantize', not one optimised by ONNX Runtime",
            )
        elif node.op_type in _REFUSED:
            yield Finding("error", name, f"TensorRT has no {node.op_type}", _REFUSED[node.op_type])
        elif node.op_type not in TRIED:
            yield Finding(
                "warning",
                name,
                f"{node.op_type} has not been tested with TensorRT in this project",
                "build it on the device before you rely on it",
            )


def _shapes(model: Any) -> Iterator[Finding]:
    for value in model.graph.input:
        dims = value.type.tensor_type.shape.dim
        for position, dim in enumerate(dims):
            if position and not dim.dim_value:
                shown = dim.dim_param or "unknown"
                yield Finding(
                    "error",
                    "",
                    f"dimension {position} of input '{value.name}' is dynamic ({shown}), and only the batch may be",
                    "export with a fixed number of features",
                )
        if not dims:
            yield Finding("error", "", f"input '{value.name}' has no shape", "export with a shape")
        if value.type.tensor_type.elem_type != 1:
            kind = _NAMES.get(value.type.tensor_type.elem_type, "unknown")
            yield Finding(
                "error",
                "",
                f"input '{value.name}' is {kind}, and the runner passes float32",
                "keep float32 at the ends and cast inside",
            )
    for value in model.graph.output:
        if value.type.tensor_type.elem_type != 1:
            kind = _NAMES.get(value.type.tensor_type.elem_type, "unknown")
            yield Finding(
                "error",
                "",
                f"output '{value.name}' is {kind}, and the runner expects float32",
                "keep float32 at the ends and cast inside",
            )


def _pairs(model: Any) -> Iterator[Finding]:
    """Check Q/DQ pairs: signed, symmetric, with constant positive scales."""
    from onnx import numpy_helper

    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            constants.update((node.output[0], attribute.t) for attribute in node.attribute if attribute.name == "value")
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        name = _name(node)
        scale = constants.get(node.input[1])
        if scale is None:
            yield Finding("error", name, "its scale is computed, not constant", "quantize with fixed scales")
        elif not (numpy_helper.to_array(scale).astype("float64") > 0).all():
            yield Finding(
                "error", name, "a scale is not positive", "quantize again; a dead channel needs a tiny positive scale"
            )
        zero = constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        kind = (
            zero.data_type
            if zero is not None
            else next((a.i for a in node.attribute if a.name == "output_dtype" and a.i), None)
        )
        stored = constants.get(node.input[0])
        if kind is None and node.op_type == "DequantizeLinear" and stored is not None:
            kind = stored.data_type
        if kind is None and node.op_type == "QuantizeLinear":
            kind = 2  # the standard's default is uint8
        if kind is not None and kind not in _STORED:
            yield Finding(
                "error",
                name,
                f"quantizes to {_NAMES.get(kind, kind)}, and TensorRT takes int8 and float8e4m3fn",
                "quantize symmetrically to int8",
            )
        if zero is not None and (numpy_helper.to_array(zero).astype("float64") != 0).any():
            yield Finding("error", name, "its zero point is not zero", "quantize symmetrically")


def _types(model: Any) -> Iterator[Finding]:
    """Check strong typing: all inputs of a computing node have one floating-point type, which TensorRT supports."""
    from onnx import shape_inference

    try:
        graph = shape_inference.infer_shapes(model, strict_mode=False).graph
    except Exception as error:  # onnx raises several types for contradictory graphs
        yield Finding("error", "", f"its types cannot be inferred: {str(error).splitlines()[0]}", "export again")
        return
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    kinds |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear", "Cast", "Reshape", "Unsqueeze", "Squeeze"):
            met = [kinds.get(node.output[0])]
        else:
            met = [kinds.get(name) for name in node.input if name]
        known = sorted({kind for kind in met if kind})
        if len(known) > 1:
            yield Finding(
                "error",
                _name(node),
                f"mixes {' and '.join(_NAMES.get(k, str(k)) for k in known)}: types are not converted automatically",
                "insert a Cast",
            )
        for kind in known:
            if kind == 11 or kind in (18, 19, 20, 21, 23):
                yield Finding(
                    "error",
                    _name(node),
                    f"computes in {_NAMES[kind]}, which TensorRT lacks or this project does not check",
                    "use float32, float16, bfloat16, int8 or float8e4m3fn",
                )


def _precision(path: str | Path, device: Platform) -> Iterator[Finding]:
    from ..errors import GraphError
    from ..graph.precision import graph_precision

    try:
        label = graph_precision(path).label
    except GraphError as error:
        yield Finding("error", "", error.cause, error.remedy)
        return
    reason = device.lacks(label)
    if reason is not None:
        yield Finding("error", "", reason, "quantize to another precision")


def _name(node: Any) -> str:
    return node.name or (node.output[0] if node.output else node.op_type)
