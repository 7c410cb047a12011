"""Graphs that TensorRT refuses, each with one thing wrong, made from ones that it takes."""

from __future__ import annotations

import numpy as np
from graphs import rows, write_mlp


def write_wrong(kind, path, scratch):
    """Write the graph of that name to ``path``."""
    import onnx

    from regkd_edge.quantization import quantize_int8

    source = write_mlp(scratch / f"{kind}.fp32.onnx", widths=(20, 32, 1))
    quantize_int8(source, scratch / f"{kind}.int8.onnx", rows(64, 20))
    model = onnx.load(scratch / f"{kind}.{'int8' if kind in QUANTIZED else 'fp32'}.onnx")
    WRONG[kind](model)
    onnx.save(model, path)
    return path


def _zero_points(model):
    """The zero points of the pairs on data (a scalar each)."""
    from onnx import numpy_helper

    names = {node.input[2] for node in model.graph.node if node.op_type == "QuantizeLinear" and len(node.input) > 2}
    return [(tensor, numpy_helper.to_array(tensor)) for tensor in model.graph.initializer if tensor.name in names]


def _set(tensor, value):
    from onnx import numpy_helper

    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))


def zero_point(model):
    tensor, value = _zero_points(model)[0]
    _set(tensor, np.full_like(value, 3))


def uint8(model):
    """Both halves of every pair on data say uint8 with the middle of its range as zero."""
    for tensor, value in _zero_points(model):
        _set(tensor, np.full(value.shape, 128, np.uint8))


def scale(model):
    from onnx import numpy_helper

    names = {node.input[1] for node in model.graph.node if node.op_type == "QuantizeLinear"}
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name in names)
    _set(tensor, -np.abs(numpy_helper.to_array(tensor)))


def dynamic_quantize(model):
    """Scales computed from the data: DynamicQuantizeLinear and back in front of the first layer."""
    from onnx import helper

    first = next(node for node in model.graph.node if node.op_type == "Gemm")
    nodes = [
        helper.make_node("DynamicQuantizeLinear", [first.input[0]], ["dq.q", "dq.scale", "dq.zero"], name="dynamic"),
        helper.make_node("DequantizeLinear", ["dq.q", "dq.scale", "dq.zero"], ["dq.out"], name="dynamic.back"),
    ]
    first.input[0] = "dq.out"
    place = list(model.graph.node).index(first)
    for offset, node in enumerate(nodes):
        model.graph.node.insert(place + offset, node)


def integer_product(model):
    """A product of integers, in place of Q/DQ pairs around one of floats."""
    from onnx import helper, numpy_helper

    def constant(name, value):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    first = next(node for node in model.graph.node if node.op_type == "Gemm")
    place = list(model.graph.node).index(first)
    s, z = constant("one.scale", np.float32(0.1)), constant("one.zero", np.int8(0))
    w = constant("one.weight", np.ones((20, 20), np.int8))
    nodes = [
        helper.make_node("QuantizeLinear", [first.input[0], s, z], ["one.q"], name="one.quantize"),
        helper.make_node("QLinearMatMul", ["one.q", s, z, w, s, z, s, z], ["one.y"], name="one.product"),
        helper.make_node("DequantizeLinear", ["one.y", s, z], ["one.out"], name="one.back"),
    ]
    first.input[0] = "one.out"
    for offset, node in enumerate(nodes):
        model.graph.node.insert(place + offset, node)


def mixed_types(model):
    """A float16 addend on a float32 sum."""
    from onnx import numpy_helper

    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == "y.mean")
    _set(tensor, numpy_helper.to_array(tensor).astype(np.float16))


def foreign_operator(model):
    """What ONNX Runtime's optimiser leaves behind."""
    from onnx import helper

    first = next(node for node in model.graph.node if node.op_type == "Gemm")
    first.op_type, first.domain = "FusedGemm", "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def dynamic_features(model):
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "features"


def future_opset(model):
    model.opset_import[0].version = 30


QUANTIZED = ("zero_point", "uint8", "scale")
WRONG = {
    function.__name__: function
    for function in (
        zero_point,
        uint8,
        scale,
        dynamic_quantize,
        integer_product,
        mixed_types,
        foreign_operator,
        dynamic_features,
        future_opset,
    )
}
#: What the lint says about each, and the node it names ("" where it is the whole graph).
SAID = {
    "zero_point": "zero point is not zero",
    "uint8": "quantizes to uint8",
    "scale": "scale is not positive",
    "dynamic_quantize": "no DynamicQuantizeLinear",
    "integer_product": "no QLinearMatMul",
    "mixed_types": "mixes float32 and float16",
    "foreign_operator": "com.microsoft.FusedGemm is not an ONNX operator",
    "dynamic_features": "dimension 1 of input 'x' is dynamic (features)",
    "future_opset": "opset 30",
}
