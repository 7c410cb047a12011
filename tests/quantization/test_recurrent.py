"""A GRU in every precision: its two matrices, its biases and its state against the exported graph."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import rows

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper

from regkd_edge.errors import GraphError
from regkd_edge.graph.weighted import read_weighted
from regkd_edge.quantization import quantize_fp16, quantize_layers
from regkd_edge.quantization.weighted_plan import nearest_weighted
from regkd_edge.quantization.weighted_posttraining import CorrectedPlan, _correct_biases, _Points, plan_weighted

H, F, T = 4, 3, 5


def source(folder, biased=True):
    """x [b, T F] -> [T, b, F] -> GRU -> its last state [1, b, H] -> [b, H] -> MatMul -> y [b, 2]."""
    rng = np.random.default_rng(0)
    tensors = {
        "w": rng.normal(size=(1, 3 * H, F)), "r": 0.4 * rng.normal(size=(1, 3 * H, H)),
        "bias": 1.5 * rng.normal(size=(1, 6 * H)), "head": rng.normal(size=(H, 2)),
    }  # fmt: skip
    stored = [
        numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in tensors.items() if biased or k != "bias"
    ]
    stored += [numpy_helper.from_array(np.array(v, np.int64), k) for k, v in (("cut", [0, T, F]), ("flat", [-1, H]))]
    nodes = [
        helper.make_node("Reshape", ["x", "cut"], ["steps"], name="cut"),
        helper.make_node("Transpose", ["steps"], ["turned"], name="turn", perm=[1, 0, 2]),
        helper.make_node("GRU", ["turned", "w", "r"] + ["bias"] * biased, ["", "state"], name="gru", hidden_size=H,
                         linear_before_reset=1),
        helper.make_node("Reshape", ["state", "flat"], ["last"], name="flat"),
        helper.make_node("MatMul", ["last", "head"], ["y"], name="head"),
    ]  # fmt: skip
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", k]) for n, k in (("x", T * F), ("y", 2))]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], stored)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), folder / "gru.onnx")
    return folder / "gru.onnx"


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


def by_hand(path, x, keep=lambda name, value: value):
    """The GRU of the ONNX specification with linear_before_reset, step by step; ``keep`` changes its tensors."""
    t = {
        one.name: keep(one.name, numpy_helper.to_array(one).astype(np.float64))
        for one in onnx.load(path).graph.initializer
    }
    w, r = t["w"][0].reshape(3, H, F), t["r"][0].reshape(3, H, H)
    b = t.get("bias", np.zeros((1, 6 * H)))[0].reshape(6, H)
    state = np.zeros((len(x), H))
    for step in x.reshape(-1, T, F).transpose(1, 0, 2):
        update = sigmoid(step @ w[0].T + state @ r[0].T + b[0] + b[3])
        reset = sigmoid(step @ w[1].T + state @ r[1].T + b[1] + b[4])
        new = np.tanh(step @ w[2].T + b[2] + reset * (state @ r[2].T + b[5]))
        state = (1 - update) * new + update * state
    return state @ t["head"]


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize(
    "forms,most",
    [
        (("int8", "int8"), 0.05), (("int8-weights", "int8-weights"), 0.05), (("int8-split", "int8-split"), 5e-4),
        (("fp16", "fp16"), 5e-3), (("fp16", "fp32"), 5e-3), (("fp32", "fp32"), 1e-5),
    ],
)  # fmt: skip
def test_every_precision_answers_as_the_cell_of_the_specification(tmp_path, forms, most, biased):
    path, x = source(tmp_path, biased), rows(n=40, d=T * F)
    graph = read_weighted(path)
    want = by_hand(path, x)
    np.testing.assert_allclose(graph(x), want, atol=1e-5)
    plan = nearest_weighted(graph, forms, [np.abs(x).max(), 1.0])
    error = np.sqrt(np.mean((plan(x) - want) ** 2))
    assert error < most and (forms[0] == "fp32" or error > 1e-7)


def test_weights_alone_are_rounded_in_both_matrices_per_gate_and_unit(tmp_path):
    path, x = source(tmp_path), rows(n=40, d=T * F)
    plan = nearest_weighted(read_weighted(path), ["int8-weights"] * 2, [1.0, 1.0])

    def rounded(name, value):
        if name not in ("w", "r", "head"):
            return value
        layer, which = (1, 0) if name == "head" else (0, ("w", "r").index(name))
        steps = plan.layers[layer].weight_scales[which].astype(np.float64)
        assert steps.shape == ((2,) if name == "head" else (3 * H,))
        steps = steps if name == "head" else steps[None, :, None]
        return np.clip(np.rint(value / steps), -127, 127) * steps

    np.testing.assert_allclose(plan(x), by_hand(path, x, rounded), atol=1e-5)


def test_a_gru_asked_for_in_int8_gets_two_parts_and_its_biases_are_left_alone(tmp_path):
    path, x = source(tmp_path), rows(n=60, d=T * F)
    graph = read_weighted(path)
    assert graph.multiply_adds == [T * (3 * H * F + 3 * H * H), 2 * H]
    for asked in ("int8", "int8-split-data"):
        plan = plan_weighted(graph, x, [asked, "int8"]).plan
        assert plan.layers[0].form.name == "int8-split"
    assert plan_weighted(graph, x, ["fp16", "int8"]).plan.layers[0].form.name == "fp16"
    outcome = CorrectedPlan(nearest_weighted(graph, ["int8-split", "int8"], [2.0, 0.1]))
    bias = outcome.plan.layers[0].bias
    _correct_biases(outcome, _Points.of(graph, x, None))
    assert outcome.plan.layers[0].bias is bias
    done = quantize_layers(path, tmp_path / "q.onnx", x)
    assert "a GRU has data and weights in two INT8 parts: NVIDIA's compiler takes no single part" in done.notes
    assert "gru" not in done.extra.get("two_parts", {}), "no option gives it one part"
    assert done.precision == "int8" and done.check["rmse"] < 0.02


def test_fp16_has_its_state_in_fp16_and_bf16_is_refused(tmp_path):
    path, x = source(tmp_path), rows(n=40, d=T * F)
    done = quantize_fp16(path, tmp_path / "h.onnx", check_rows=x)
    assert done.graph.share == {"fp16": 1.0} and 1e-6 < done.check["rmse"] < 5e-3
    with pytest.raises(GraphError, match="no bf16 convolution or GRU"):
        quantize_layers(path, tmp_path / "b.onnx", x, "bf16")
