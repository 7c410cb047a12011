"""What a graph means without the rounding of its FP16 parts, wherever it keeps its constants."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from regkd_edge.graph.unoptimized import reference_outputs


@pytest.mark.parametrize("output", [TensorProto.FLOAT16, TensorProto.FLOAT])
def test_half_parts_are_widened_in_initializers_constants_and_outputs(tmp_path, output):
    rng = np.random.default_rng(0)
    weight, factor = rng.normal(size=(4, 2)).astype(np.float16), np.float16(0.3)
    nodes = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.array(factor))),
        helper.make_node("Mul", ["h", "c"], ["m"]),
        helper.make_node("MatMul", ["m", "w"], ["p"]),
        helper.make_node("Cast", ["p"], ["y"], to=output),
    ]
    graph = helper.make_graph(
        nodes,
        "half",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", output, ["n", 2])],
        [numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path / "half.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    x = rng.normal(size=(50, 4)).astype(np.float32)
    exact = (x * np.float32(factor)) @ weight.astype(np.float32)
    wide, rounded = reference_outputs(path, x, wide=True), reference_outputs(path, x)
    assert np.abs(wide - exact).max() < 1e-6
    assert 1e-4 < np.abs(rounded - exact).max() < 1e-2
