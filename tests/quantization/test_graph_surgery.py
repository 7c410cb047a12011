"""What is done to the nodes of a graph before and after rounding: products taken apart, FP16 from layer to layer."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import rows, write_mlp

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper

from regkd_edge.config import CORRECTIONS, QuantizeConfig
from regkd_edge.errors import GraphError, UserError
from regkd_edge.graph.formats import FORMATS
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.graph.weighted import read_weighted
from regkd_edge.quantization import dispatch, quantize_fp16, quantize_int8, quantize_layers
from regkd_edge.quantization import weighted_posttraining as weighted
from regkd_edge.quantization.int8 import _split_gemm
from regkd_edge.quantization.weighted_plan import nearest_weighted


def model(nodes, weights, x=(4,), y=(3,)):
    tensors = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in weights.items()]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", *s]) for n, s in (("x", x), ("y", y))]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def answers(made, x, folder):
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, folder / "made.onnx")
    return reference_outputs(folder / "made.onnx", x)


def weights(seed=0, **shapes):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


# -- Gemm as a product and a sum ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options,inputs,becomes",
    [
        ({}, ["x", "w", "b"], ["MatMul", "Add"]),
        ({}, ["x", "w"], ["MatMul"]),
        ({}, ["x", "w", ""], ["MatMul"]),
        ({"transB": 1}, ["x", "turned", "b"], ["MatMul", "Add"]),
        ({"alpha": 1.0, "beta": 1.0, "transA": 0}, ["x", "w", "b"], ["MatMul", "Add"]),
        ({"alpha": 2.0}, ["x", "w", "b"], ["Gemm"]),
        ({"beta": 0.5}, ["x", "w", "b"], ["Gemm"]),
    ],
)
def test_a_plain_gemm_becomes_a_product_and_a_sum_and_the_function_stays(tmp_path, options, inputs, becomes):
    held = weights(w=(4, 3), turned=(3, 4), b=(3,))
    held = {name: value for name, value in held.items() if name in inputs}
    made = model([helper.make_node("Gemm", inputs, ["y"], name="first", **options)], held)
    want = answers(made, rows(d=4), tmp_path)
    _split_gemm(made)
    assert [node.op_type for node in made.graph.node] == becomes
    assert made.graph.node[0].name == "first" and made.graph.node[-1].output[0] == "y"
    np.testing.assert_allclose(answers(made, rows(d=4), tmp_path), want, rtol=1e-5, atol=1e-5)


def test_a_gemm_on_turned_data_or_on_weights_that_two_layers_read_or_that_are_computed_stays(tmp_path):
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["a"], name="one"),
        helper.make_node("Gemm", ["a", "w", "b"], ["c"], name="two"),
        helper.make_node("Neg", ["v"], ["computed"], name="negative"),
        helper.make_node("Gemm", ["c", "computed"], ["d"], name="three"),
        helper.make_node("Relu", ["d"], ["y"], name="relu"),
    ]
    made = model(nodes, weights(w=(4, 4), v=(4, 4), b=(4,)), y=(4,))
    want = answers(made, rows(d=4), tmp_path)
    _split_gemm(made)
    assert [node.op_type for node in made.graph.node] == ["Gemm", "Gemm", "Neg", "Gemm", "Relu"]
    np.testing.assert_allclose(answers(made, rows(d=4), tmp_path), want)
    turned = helper.make_graph([helper.make_node("Gemm", ["x", "w"], ["y"], transA=1)], "g", [], [],
                               [numpy_helper.from_array(np.ones((4, 4), np.float32), "w")])  # fmt: skip
    holder = helper.make_model(turned)
    _split_gemm(holder)
    assert [node.op_type for node in holder.graph.node] == ["Gemm"]


# -- FP16 -----------------------------------------------------------------------------------------------------------


def test_only_what_lies_between_two_layers_is_fp16(tmp_path):
    """x -> Neg -> MatMul -> Tanh -> MatMul -> Exp, beside it Neg -> Abs that meets no second layer."""
    nodes = [
        helper.make_node("Neg", ["x"], ["n"], name="before"),
        helper.make_node("MatMul", ["n", "w"], ["a"], name="first"),
        helper.make_node("Abs", ["a"], ["beside"], name="beside"),
        helper.make_node("Tanh", ["a"], ["t"], name="between"),
        helper.make_node("MatMul", ["t", "v"], ["c"], name="second"),
        helper.make_node("Add", ["c", "beside"], ["y"], name="after"),
    ]
    source = tmp_path / "s.onnx"
    onnx.save(model(nodes, weights(w=(4, 3), v=(3, 3))), source)
    done = quantize_fp16(source, tmp_path / "h.onnx", check_rows=rows(d=4))
    typed = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "h.onnx"), strict_mode=True).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*typed.value_info, *typed.output)}
    half = {n.name for n in typed.node if n.op_type != "Cast" and kinds[n.output[0]] == TensorProto.FLOAT16}
    assert half == {"first", "between", "second"}
    assert sum(n.op_type == "Cast" for n in typed.node) == 3  # in, out beside, out at the end
    assert done.check["rmse"] < 5e-3 and done.precision == "fp16" and done.graph.share == {"fp16": 1.0}


def test_a_weight_that_a_layer_and_another_node_read_is_kept_in_both_types(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node("ReduceSum", ["w", "axes"], ["s"], name="outside", keepdims=1),
        helper.make_node("Mul", ["a", "s"], ["y"], name="scaled"),
    ]
    made = model(nodes, weights(w=(4, 3)))
    made.graph.initializer.append(numpy_helper.from_array(np.array([0], np.int64), "axes"))
    onnx.save(made, tmp_path / "s.onnx")
    quantize_fp16(tmp_path / "s.onnx", tmp_path / "h.onnx")
    kept = {t.name: t.data_type for t in onnx.load(tmp_path / "h.onnx").graph.initializer}
    assert kept == {"w": TensorProto.FLOAT, "axes": TensorProto.INT64, "w_fp16": TensorProto.FLOAT16}
    got, want = (reference_outputs(tmp_path / name, rows(d=4)) for name in ("h.onnx", "s.onnx"))
    np.testing.assert_allclose(got, want, rtol=0.02, atol=0.02)


def test_the_largest_number_of_fp16_is_taken_and_what_vanishes_is_counted(tmp_path):
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="layer")
    limit, beyond = [[65504.0, 1e-9, 0.0]] * 4, [[65520.0, 1.0, 1.0]] * 4
    onnx.save(model([node], {"w": limit}), tmp_path / "s.onnx")
    done = quantize_fp16(tmp_path / "s.onnx", tmp_path / "h.onnx")
    assert done.notes == ["4 of 12 values of 'w' are below FP16's smallest number and became 0"]
    onnx.save(model([node], {"w": beyond}), tmp_path / "s.onnx")
    with pytest.raises(GraphError, match="weight 'w' of 'layer' holds 65520, beyond FP16's maximum of 65504"):
        quantize_fp16(tmp_path / "s.onnx", tmp_path / "h.onnx")


# -- plans of other graphs ------------------------------------------------------------------------------------------


@pytest.fixture
def graph():
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "shift"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Flatten", ["r"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "dense", "bias"], ["y"], name="dense"),
    ]
    return read_weighted(model(nodes, weights(kernel=(3, 2, 3), shift=(3,), dense=(12, 2), bias=(2,)), (2, 6), (2,)))


@pytest.mark.parametrize("form,bound", [("int8", 0.5), ("int8-split-weights", 0.5 / 254)])
def test_codes_of_weights_are_within_half_a_step_of_the_last_part(graph, form, bound):
    for one in nearest_weighted(graph, [form] * 2, [4.0, 8.0]).layers:
        (weight,), (axis,), (steps,) = one.layer.weights, one.layer.axes, one.weight_scales
        scale = steps.reshape([-1 if i == axis else 1 for i in range(weight.ndim)]).astype(np.float64)
        parts = one.coded(0)
        for codes in parts:
            assert np.abs(codes).max() <= 127 and (codes == np.rint(codes)).all()
        whole = parts[0] * scale + (parts[1] * scale / 254 if len(parts) == 2 else 0.0)
        clipped = np.clip(weight, -127 * scale, 127 * scale)
        assert len(parts) == FORMATS[form].weight_parts
        assert (np.abs(whole - clipped) <= (bound + 1e-3) * scale).all()


def test_a_layer_alone_has_its_data_its_weights_or_both_rounded(graph):
    x = rows(n=120, d=12)
    plan = nearest_weighted(graph, ["int8"] * 2, [8.0, 30.0])
    exact = graph(x)
    error = lambda one: float(np.sqrt(np.mean((one(x) - exact) ** 2)))
    for index in (0, 1):
        both, data, weight = plan.only(index), plan.only(index, weights=False), plan.only(index, data=False)
        assert error(both) > 1e-3 and error(data) > 1e-4 and error(weight) > 1e-4
        assert error(both) ** 2 == pytest.approx(error(data) ** 2 + error(weight) ** 2, rel=0.4)  # nearly independent
        finer = plan.with_layer(index, data_scale=plan.layers[index].data_scale / 4)
        assert error(finer.only(index, data=False)) == pytest.approx(error(weight))
        assert error(plan.only(index, data=False, weights=False)) < 1e-5
    operators = [node.op_type for node in plan.only(1).model().graph.node]
    assert operators.count("QuantizeLinear") == 1 and operators.count("DequantizeLinear") == 2
    assert plan.share == {"int8": 1.0}
    halves = nearest_weighted(graph, ["int8", "fp16"], [8.0, 30.0]).share  # 3 x 2 x 3 at 4 places, and 12 x 2
    assert halves == {"int8": pytest.approx(72 / 96), "fp16": pytest.approx(24 / 96)}


def test_ranges_of_data_are_those_of_what_a_layer_reads(graph):
    x = rows(n=90, d=12)
    plan = weighted.plan_weighted(graph, x, ["int8"] * 2, method="minmax", corrections=()).plan
    fit = np.delete(x, np.s_[2::3], axis=0)
    kernel = next(t for t in graph.model.graph.initializer if t.name == "kernel")
    kernel, shift = numpy_helper.to_array(kernel), graph.layers[0].bias
    signal = fit.reshape(-1, 2, 6)
    hidden = np.stack([np.einsum("nck,ock->no", signal[:, :, at : at + 3], kernel) + shift for at in range(4)], axis=2)
    assert plan.layers[0].data_scale == pytest.approx(np.abs(fit).max() / 127, rel=1e-5)
    assert plan.layers[1].data_scale == pytest.approx(np.maximum(hidden, 0).max() / 127, rel=1e-4)
    split = weighted.plan_weighted(graph, x, ["int8-split"] * 2, method="minmax", corrections=()).plan
    for two, one in zip(split.layers, plan.layers):  # twice what was met
        assert two.data_scale == pytest.approx(2 * one.data_scale, rel=1e-5)


def test_each_rounding_alone_is_what_it_does_to_the_worst_output_in_tolerances(graph, monkeypatch):
    """Data by rounding the rows, weights by rounding the stored tensors, and running the graph itself."""
    x, tolerance = rows(n=90, d=12), np.array([0.3, 0.02])
    points = weighted._Points.of(graph, x, tolerance)
    plan = nearest_weighted(graph, ["int8"] * 2, [2.0, 20.0])
    seen = {}
    monkeypatch.setattr(weighted, "finer_forms", lambda layers, harm: seen.update(harm))
    weighted._more_parts(plan, points)
    step = plan.layers[0].data_scale
    changes = {(0, 0): graph(np.clip(np.rint(points.held / step), -128, 127).astype(np.float32) * np.float32(step))}
    for index, (name, axis) in enumerate((("kernel", 0), ("dense", 1))):
        changed = onnx.ModelProto()
        changed.CopyFrom(graph.model)
        tensor = next(t for t in changed.graph.initializer if t.name == name)
        value, steps = numpy_helper.to_array(tensor), plan.layers[index].weight_scales[0]
        steps = steps.reshape([-1 if i == axis else 1 for i in range(value.ndim)])
        tensor.CopyFrom(numpy_helper.from_array(np.clip(np.rint(value / steps), -127, 127) * steps, name))
        changes[index, 1] = weighted.run_model(changed, points.held)[0]
    for key, got in changes.items():
        worst = (np.mean((got - points.held_y) ** 2, axis=0) / tolerance**2).max()
        assert seen[key] == pytest.approx(worst, rel=1e-3)
    assert set(seen) == {*changes, (1, 0)} and seen[1, 0] > 0
    only = nearest_weighted(graph, ["int8-split-data", "fp16"], [2.0, 20.0])
    seen.clear()
    weighted._more_parts(only, points)
    assert set(seen) == {(0, 1)}


# -- who writes a precision -----------------------------------------------------------------------------------------


def test_options_reach_the_quantizer_of_each_precision(monkeypatch):
    seen = {}
    for name in ("quantize_fp16", "quantize_int8", "quantize_layers"):
        monkeypatch.setattr(dispatch, name, lambda *given, n=name, **named: seen.update({n: (given, named)}))
    options = QuantizeConfig(
        method="percentile", percentile=99.0, quantizer="own", corrections=["bias"], rank_layers=True
    )
    ask = lambda precision: dispatch.quantize_graph("s", "t", precision, "rows", options, bound="bound",
        labelled="labels", check_rows="check")  # fmt: skip
    ask("fp16"), ask("int8"), ask("fp8")
    shared = {
        "method": "percentile",
        "percentile": 99.0,
        "corrections": ["bias"],
        "check_rows": "check",
        "rank_layers": True,
    }
    assert seen["quantize_fp16"] == (("s", "t"), {"check_rows": "check"})
    assert seen["quantize_int8"] == (
        ("s", "t", "rows"), {"quantizer": "own", "bound": "bound", "labelled": "labels", **shared}
    )  # fmt: skip
    assert seen["quantize_layers"] == (("s", "t", "rows", "fp8"), {"bound": "bound", **shared})
    ask("int8-weights")
    assert seen["quantize_layers"] == (("s", "t", "rows", "int8-weights"), {"bound": None, **shared})


@pytest.mark.parametrize(
    "options,words",
    [
        ({"bound": object()}, "has no bound on the RMSE"),
        ({"rank_layers": True}, "has no ranking of layers"),
        ({"corrections": ("bias",)}, r"has no corrections \(bias\)"),
        ({"corrections": ()}, None),
        ({"corrections": CORRECTIONS, "bound": None, "rank_layers": False}, None),
    ],
)
def test_what_another_quantizer_lacks_is_refused_rather_than_ignored(tmp_path, options, words):
    source, target = write_mlp(tmp_path / "s.onnx"), tmp_path / "q.onnx"
    ask = lambda: quantize_int8(source, target, rows(), quantizer="onnxruntime", method="minmax", **options)
    if words is None:
        assert ask().graph.share == {"int8": 1.0}
    else:
        with pytest.raises(UserError, match=words):
            ask()


def test_the_other_quantizer_says_what_it_does_in_place_of_what_it_lacks(tmp_path):
    source = write_mlp(tmp_path / "s.onnx")
    done = quantize_int8(source, tmp_path / "q.onnx", rows(), quantizer="onnxruntime", labelled=(rows(), np.ones(256)))
    assert done.notes == ["ranges by percentile: only --quantizer own has method 'output'"]
    assert done.calibration == {"rows": 256, "method": "percentile", "percentile": 99.99}
    plain = quantize_int8(source, tmp_path / "q.onnx", rows(), quantizer="onnxruntime", method="entropy")
    assert plain.notes == [] and plain.calibration == {"rows": 256, "method": "entropy"}
    with pytest.raises(UserError, match="unknown quantizer 'other'"):
        quantize_int8(source, tmp_path / "q.onnx", rows(), quantizer="other")


@pytest.mark.parametrize("form,opset,ir", [("int8", 13, 7), ("fp16", 13, 7), ("fp8", 19, 9)])
def test_a_graph_keeps_its_versions_unless_a_type_needs_newer_ones(tmp_path, form, opset, ir):
    """FP8 came with opset 19 and IR 9."""
    made = onnx.load(write_mlp(tmp_path / "s.onnx"))
    made.opset_import[0].version, made.ir_version, made.producer_name = 13, 7, "someone"
    helper.set_model_props(made, {"note": "kept"})
    onnx.save(made, tmp_path / "s.onnx")
    quantize_layers(tmp_path / "s.onnx", tmp_path / "q.onnx", rows(), form)
    plan = nearest_weighted(read_weighted(tmp_path / "s.onnx"), [form] * 3, [4.0] * 3)
    for written in (onnx.load(tmp_path / "q.onnx"), plan.model()):
        assert (written.opset_import[0].version, written.ir_version) == (opset, ir)
        assert written.producer_name == "someone" and written.metadata_props[0].value == "kept"
