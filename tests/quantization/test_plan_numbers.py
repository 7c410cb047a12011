"""Plans by numbers: formats of layers, what is written for each, importance, refinement,
and graphs with other layers."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import rows, write_mlp

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper

from regkd_edge.graph.chain import read_chain
from regkd_edge.graph.formats import FORMATS
from regkd_edge.graph.weighted import read_weighted
from regkd_edge.quantization import quantize_int8, rounding
from regkd_edge.quantization import weighted_posttraining as weighted
from regkd_edge.quantization.calibration import Calibration
from regkd_edge.quantization.equalize import EVEN_WEIGHTS, equalize, fold_rates
from regkd_edge.quantization.evenness import _bounds
from regkd_edge.quantization.plan import nearest_plan
from regkd_edge.quantization.posttraining import CorrectedPlan
from regkd_edge.quantization.rounding import learn_rounding
from regkd_edge.quantization.splitting import clipping_risk, refined
from regkd_edge.quantization.weighted_plan import nearest_weighted, weight_steps


def saved(path, nodes, weights, x, y):
    """A graph from x of shape ``x`` to y of shape ``y``, opset 18."""
    tensors = [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in weights.items()]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["b", *s]) for n, s in (("x", x), ("y", y))]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@pytest.fixture
def graph(tmp_path):
    """Conv with bias -> Relu -> Flatten -> Gemm with bias, as a weighted graph."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "shift"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Flatten", ["r"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "dense", "bias"], ["y"], name="dense"),
    ]
    weights = {
        "kernel": rng.normal(size=(3, 2, 3)), "shift": [4.0, -1.0, 2.0],
        "dense": rng.normal(size=(12, 2)), "bias": [30.0, -70.0],
    }  # fmt: skip
    return read_weighted(saved(tmp_path / "g.onnx", nodes, weights, (2, 6), (2,)))


def ranges(graph, x):
    return weighted._ranges(graph, x, "minmax", 100.0)


# -- formats ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forms,most",
    [
        (("int8", "int8"), 0.3), (("fp16", "int8"), 0.3), (("int8", "fp16"), 0.3), (("fp32", "int8"), 0.3),
        (("int8-split", "int8-split"), 0.01), (("fp16", "fp16"), 0.02), (("fp32", "fp32"), 1e-5),
    ],
)  # fmt: skip
def test_every_mixture_of_formats_keeps_products_and_biases(graph, forms, most):
    x = rows(n=200, d=12)
    plan = nearest_weighted(graph, forms, ranges(graph, x))
    assert np.sqrt(np.mean((plan(x) - graph(x)) ** 2)) < most  # the biases are 30 and -70


def test_data_go_up_to_the_largest_number_of_their_format(graph):
    scales = lambda form: [one.data_scale for one in nearest_weighted(graph, [form] * 2, [4.48, 8.96]).layers]
    assert scales("fp8") == pytest.approx([0.01, 0.02]) and scales("int8") == pytest.approx([4.48 / 127, 8.96 / 127])
    opset = lambda form: nearest_weighted(graph, [form] * 2, [4.0, 8.0]).model().opset_import[0].version
    assert (opset("int8"), opset("fp8")) == (18, 19)  # Q/DQ of FP8 came with opset 19


def test_weights_in_one_part_may_be_clipped_and_in_two_are_not(graph):
    for form in ("int8", "int8-split-weights"):
        for one in nearest_weighted(graph, [form] * 2, [4.0, 8.0]).layers:
            (weight,), (axis,), (steps,) = one.layer.weights, one.layer.axes, one.weight_scales
            apart = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
            full = np.abs(apart).max(axis=1) / 127
            expected = weight_steps(weight, axis, 127.0) if form == "int8" else full
            np.testing.assert_allclose(steps, expected, rtol=1e-6)
            assert (steps <= full * 1.000001).all()


def test_weights_of_a_format_without_scale_are_its_nearest_numbers(tmp_path):
    chain = read_chain(write_mlp(tmp_path / "s.onnx"))
    for one in nearest_plan(chain, ["fp16"] * 3, [1.0] * 3).layers:
        assert (one.stored == one.weight.astype(np.float16).astype(np.float32)).all()


def test_a_rate_is_folded_only_where_the_layer_before_can_hold_it(tmp_path):
    chain = read_chain(write_mlp(tmp_path / "s.onnx", activation="Relu"))
    for before, folded in (("int8", True), ("fp32", True), ("fp16", False)):
        plan = nearest_plan(chain, [before, "int8", "int8"], [4.0, 4.0, 4.0])
        rate = np.linspace(0.5, 2.0, 16).astype(np.float32)
        plan = plan.with_layer(1, rate=rate)
        done = fold_rates(plan)
        assert (done.layers[1].rate is None) == folded
        if folded:
            np.testing.assert_allclose(done.layers[0].bias, plan.layers[0].bias * rate)
        np.testing.assert_allclose(done(rows()), plan(rows()), atol=2e-2)


# -- corrections --------------------------------------------------------------------------------------------------


def test_biases_are_corrected_where_something_was_rounded(graph):
    x = rows(n=300, d=12)
    outcome = CorrectedPlan(nearest_weighted(graph, ["fp32", "int8"], [1.0, 300.0]))
    kept, moved = (one.bias for one in outcome.plan.layers)
    weighted._correct_biases(outcome, weighted._Points.of(graph, x, None))
    assert outcome.plan.layers[0].bias is kept and np.abs(outcome.plan.layers[1].bias - moved).max() > 1e-3


def test_only_the_corrections_asked_for_are_tried(graph):
    tried = lambda **options: [
        name for name, *_ in weighted.plan_weighted(graph, rows(n=90, d=12), ["int8"] * 2, **options).tried
    ]
    assert tried(method="minmax", corrections=()) == [] and tried(method="minmax", corrections=("bias",)) == ["bias"]
    assert "bias" not in tried(corrections=())


def test_layers_get_more_parts_until_the_error_is_allowed():
    """Errors 9, 4, 1.5, 0.5 in turn: three refinements; or until there is none, and then the best one is kept."""
    errors = {"a": 9.0, "b": 4.0, "c": 1.5, "d": 0.5, "e": 0.1}
    make = lambda forms: CorrectedPlan(forms[0], [("ranges", 1.0, 1.0, False)])
    finer = lambda plan: [chr(ord(plan) + 1)] if plan < "e" else None
    done = refined(make("a"), make, errors.__getitem__, finer)
    assert done.plan == "d"
    splits = [(before, after, kept) for name, before, after, kept in done.tried if name == "split"]
    assert splits == [(9.0, 4.0, True), (4.0, 1.5, True), (1.5, 0.5, True)] and len(done.tried) == 7
    errors.update(c=6.0, d=5.0, e=7.0)
    assert refined(make("a"), make, errors.__getitem__, finer).plan == "b"


def test_the_middle_of_a_range_is_the_median_or_for_entropy_the_centre():
    a = np.array([[0.0], [1.0], [2.0], [3.0], [100.0]])
    assert [v[0] for v in _bounds(a, "minmax", 99.0)] == [0, 100]
    assert [v[0] for v in _bounds(a, "percentile", 60.0)] == [0, 4]  # 2 -+ 2: the third of 0, 1, 1, 2, 98, from above
    low, high = _bounds(a, "entropy", 99.0)
    assert low[0] + high[0] == pytest.approx(100)  # around 50


# -- rounding -----------------------------------------------------------------------------------------------------


def test_importance_is_relative_and_large_layers_begin_beyond_the_budget(monkeypatch):
    rng = np.random.default_rng(2)
    data, weight = rng.normal(size=(300, 4)), rng.normal(size=(3, 4))
    target, importance = data @ weight.T + 0.3 * rng.normal(size=(300, 3)), rng.uniform(0.01, 1, (300, 3)) ** 3
    answer = lambda scale=1.0: learn_rounding(weight, FORMATS["int8"], data, target, scale * importance)
    own = answer()
    for got, want in zip(answer(1000.0), own):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    monkeypatch.setattr(rounding, "_BUDGET", 3 * 4 * 4)  # as large as allowed: still a Hessian per unit
    assert all((got == want).all() for got, want in zip(answer(), own))
    monkeypatch.setattr(rounding, "_BUDGET", 3 * 4 * 4 - 1)
    assert any((got != want).any() for got, want in zip(answer(), own))


# -- ONNX Runtime's quantizer -------------------------------------------------------------------------------------


def test_layers_without_attributes_and_biases_are_found_by_the_other_quantizer(tmp_path, capfd):
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("Gemm", ["x", "first"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("Gemm", ["r", "second", "bias"], ["y"], name="second"),
    ]
    weights = {"first": rng.normal(size=(5, 8)), "second": rng.normal(size=(8, 2)), "bias": [1.0, 2.0]}
    source = saved(tmp_path / "s.onnx", nodes, weights, (5,), (2,))
    done = quantize_int8(source, tmp_path / "q.onnx", rows(), quantizer="onnxruntime")
    assert done.graph.share == {"int8": 1.0} and len(done.graph.layers) == 2
    assert done.check["rmse"] < 0.05
    assert "pre-processing" not in "".join(capfd.readouterr())


# -- splitting ----------------------------------------------------------------------------------------------------


def test_the_risk_of_clipping_is_per_feature_only_where_a_layer_has_scales_per_feature(tmp_path):
    chain, x = read_chain(write_mlp(tmp_path / "s.onnx", widths=(5, 12, 2))), rows(n=40)
    plan = nearest_plan(chain, ["int8"] * 2, [4.0, 4.0])
    points = Calibration.split(chain, x, tolerance=np.array([0.5, 0.25]))
    a = chain.activations(x)[0][1]
    weight = plan.layers[1].weight.astype(np.float64)

    def risk(per_feature):
        changes = []
        for half in (slice(0, None, 2), slice(1, None, 2)):
            seen, other = a[half], np.delete(a, np.arange(40)[half], axis=0)
            low, high = (seen.min(0), seen.max(0)) if per_feature else (-np.abs(seen).max(), np.abs(seen).max())
            changes.append(((np.clip(other, low, high) - other) @ weight.T) ** 2)
        return 0.5 * (np.concatenate(changes).mean(0) / [0.25, 0.0625]).max()

    assert risk(True) > 1.5 * risk(False)
    assert clipping_risk(plan, points, 1) == pytest.approx(risk(False), rel=1e-3)
    scaled = equalize(plan, 1, a.min(0), a.max(0))
    assert clipping_risk(scaled, points, 1) == pytest.approx(risk(True), rel=1e-3)
    # Codes that reach further than the rows did clip less: with even weights all but the widest input have room.
    assert clipping_risk(equalize(plan, 1, a.min(0), a.max(0), EVEN_WEIGHTS), points, 1) < 0.9 * risk(True)
