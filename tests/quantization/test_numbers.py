"""The parts of the quantizer by numbers: rounding, ranges, bounds, splits of rows, convolutions,
and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import rows, write_mlp

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper

from regkd_edge.config import QuantizeConfig
from regkd_edge.errors import GraphError
from regkd_edge.graph.chain import read_chain
from regkd_edge.graph.formats import FORMATS
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.graph.weighted import read_weighted
from regkd_edge.quantization import layers, mixed, rounding, weighted_posttraining
from regkd_edge.quantization.calibration import Calibration
from regkd_edge.quantization.corrections import search_ranges
from regkd_edge.quantization.dispatch import quantize_graph
from regkd_edge.quantization.evenness import on_values
from regkd_edge.quantization.plan import nearest_plan
from regkd_edge.quantization.ranges import range_of
from regkd_edge.quantization.rounding import learn_rounding
from regkd_edge.quantization.weighted_plan import _along, nearest_weighted, weight_steps


@pytest.fixture
def student(tmp_path):
    return write_mlp(tmp_path / "student.fp32.onnx", widths=(5, 24, 16, 1), y_mean=[50.0], y_scale=[8.0])


# -- rounding -----------------------------------------------------------------------------------------------------


def layer(n=400, seed=0):
    """A layer of 4 inputs, of which the last is always 0, and 3 outputs: weights, data, targets of other weights."""
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(n, 4)) * [1.0, 2.0, 0.5, 0.0] + [0.0, 3.0, 0.0, 0.0]
    weight = rng.normal(size=(3, 4)) + 0.3
    wanted = weight + 0.1 * rng.normal(size=(3, 4))
    return weight, data, data @ wanted.T + [1.0, -2.0, 5.0], wanted


def test_learnt_weights_fit_the_target_and_keep_what_the_data_do_not_decide():
    weight, data, target, wanted = layer()
    codes, scale, bias = learn_rounding(weight, FORMATS["int8"], data, target, np.ones((400, 3)))
    stored = codes * scale[:, None]
    assert (
        np.abs(stored - wanted)[:, :3] < 2 * scale[:, None]
    ).all()  # the codes of the fitted weights, or their neighbours
    assert (np.abs(stored - weight)[:, 3] < 0.51 * scale).all()  # no row has this input: the weight stays
    assert (np.abs(codes) <= 127).all() and (codes == np.rint(codes)).all()
    error = data @ stored.T + bias - target
    assert np.abs(error.mean(axis=0)).max() < 1e-4  # the bias takes up the mean
    nearest = np.rint(wanted / scale[:, None]) * scale[:, None]
    rounded = (data - data.mean(0)) @ (nearest - wanted).T
    assert ((error**2).mean(axis=0) <= (rounded**2).mean(axis=0) * 1.05).all()  # no worse than rounding to nearest


def test_weights_are_refitted_unless_told_otherwise():
    weight, data, target, _ = layer()
    error = {}
    for name, options in {"default": {}, "refit": {"refit": True}, "given": {"refit": False}}.items():
        codes, scale, bias = learn_rounding(weight, FORMATS["int8"], data, target, np.ones((400, 3)), **options)
        error[name] = float(np.mean((data @ (codes * scale[:, None]).T + bias - target) ** 2))
    assert error["default"] == error["refit"] < 0.05 * error["given"]


def test_large_layers_share_one_hessian_and_give_the_same_where_all_rows_count_alike(monkeypatch):
    weight, data, target, _ = layer()
    apart = learn_rounding(weight, FORMATS["int8"], data, target, np.ones((400, 3)))
    monkeypatch.setattr(rounding, "_BUDGET", 1)
    shared = learn_rounding(weight, FORMATS["int8"], data, target, np.ones((400, 3)))
    assert (apart[0] == shared[0]).all()
    np.testing.assert_allclose(apart[1], shared[1], rtol=1e-6)
    np.testing.assert_allclose(apart[2], shared[2], rtol=1e-5)


# -- ranges -------------------------------------------------------------------------------------------------------


def least_divergence(size, bins=2048, levels=128):
    """The search of Migacz (2017) in plain loops: 16 bins at a time, without the zeros, empty bins left empty."""
    counts, edges = np.histogram(size, bins=bins, range=(0.0, size.max()))
    counts = [float(c) for c in counts]
    counts[0] = counts[1]
    best = (np.inf, None)
    for stop in range(levels, bins + 1, 16):
        p = counts[:stop]
        p[-1] += sum(counts[stop:])
        groups = [[i for i in range(stop) if i * levels // stop == g] for g in range(levels)]
        q = [0.0] * stop
        for group in groups:
            used = [i for i in group if counts[i] > 0]
            for i in used:
                q[i] = sum(counts[j] for j in group) / len(used)
        total_p, total_q = sum(p), sum(q)
        terms = [a / total_p * np.log(a / total_p / max(b / total_q, 1e-12)) for a, b in zip(p, q) if a > 0]
        best = min(best, (sum(terms), edges[stop]), key=lambda pair: pair[0])
    return float(best[1])


@pytest.mark.parametrize("seed", [0, 1])
def test_entropy_is_the_search_of_its_paper(seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.laplace(size=600), np.zeros(300), [9.0, -14.0]])  # most bins are empty
    assert range_of(values, "entropy") == pytest.approx(least_divergence(np.abs(values)))


def test_features_of_few_values_are_found_by_the_first_layer(student):
    x = np.random.default_rng(0).integers(0, 4, (60, 5)).astype(np.float32)
    ends = np.zeros(5), np.full(5, 3.3)
    moved = lambda forms: on_values(nearest_plan(read_chain(student), forms, [1.0] * 3), x)(*ends)
    assert (moved(["fp16", "int8", "int8"])[1] == ends[1]).all()
    low, high = moved(["int8", "fp16", "fp16"])
    step = (high - low) / 254
    codes = (np.arange(4)[:, None] - (low + high) / 2) / step
    assert (high != ends[1]).all() and np.abs(codes - np.rint(codes)).max() < 1e-9


def test_numbers_in_two_parts_are_not_clipped_by_the_search(student):
    chain, x = read_chain(student), rows()
    points = Calibration.split(chain, x)
    wide = [4 * float(np.abs(a).max()) for a in chain.activations(x)[0]]
    plan = nearest_plan(chain, ["int8", "int8-split-data", "int8"], wide)
    found = search_ranges(plan, points)
    assert found.layers[1].data_scale == plan.layers[1].data_scale
    assert found.layers[2].data_scale < plan.layers[2].data_scale  # four times too wide
    assert points.error(found, held=False) < points.error(plan, held=False)


def test_the_largest_percentile_is_100_and_means_no_clipping():
    from regkd_edge.errors import UserError
    from regkd_edge.quantization.ranges import check_method

    check_method("percentile", 100)
    assert range_of(np.arange(1000.0), "percentile", 100) == 999
    for outside in (50, 100.1):
        with pytest.raises(UserError, match=r"outside \(50, 100\]"):
            check_method("percentile", outside)


def test_an_output_that_never_moves_is_compared_in_its_own_unit(tmp_path):
    from regkd_edge.quantization.summary import _differences

    want = np.column_stack([np.full(4, 7.0), [0.0, 2.0, 0.0, 2.0]])
    found = _differences(want, want + [0.5, 0.25], ["dead", "alive"])
    assert [(t["rmse"], t["max_abs"], t["share_of_deviation"]) for t in found["targets"]] == [
        (0.5, 0.5, 0.5),
        (0.25,) * 3,
    ]
    assert found["rmse"] == pytest.approx(np.sqrt((0.5**2 + 0.25**2) / 2)) and found["max_abs"] == 0.5


# -- rows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count,fitted,kept", [(1, 1, 1), (2, 2, 2), (3, 2, 1), (4, 3, 1), (9, 6, 3)])
def test_a_third_of_the_rows_is_held_and_fewer_than_three_serve_twice(student, count, fitted, kept):
    points = Calibration.split(read_chain(student), rows(n=count), points=0)
    assert (len(points.fit), len(points.held)) == (fitted, kept)


# -- bounds -------------------------------------------------------------------------------------------------------


class Answers:
    """A plan that answers by a rule: FP32 is exact for the first target and off by 0.5 in the second."""

    chain = staticmethod(lambda x: np.column_stack([x[:, 0] + 1.0, x[:, 1] + 0.5]))

    def __call__(self, x):
        return self.chain(x) + [2.0, 0.25]


def test_a_rise_and_a_change_are_counted_in_units_of_the_fp32_error():
    x = np.random.default_rng(0).normal(size=(1000, 2)) * [10.0, 0.1]
    rise, change, error = mixed._against_exact(Answers(), x, x)
    np.testing.assert_allclose(rise, [3.0 / 1.0 - 1, 0.75 / 0.5 - 1], rtol=1e-6)
    np.testing.assert_allclose(change, [2.0, 0.5], rtol=1e-6)
    assert (error < 1e-6).all()  # all rows err alike


def test_switching_layers_changes_those_and_no_others(student):
    plan = nearest_plan(read_chain(student), ["int8"] * 3, [1.0, 2.0, 3.0])
    switched = mixed._switched(plan, (0, 2), "fp16")
    assert [one.form.name for one in switched.layers] == ["fp16", "int8", "fp16"]
    assert [one.data_scale for one in switched.layers] == [one.data_scale for one in plan.layers]


# -- other graphs -------------------------------------------------------------------------------------------------


@pytest.fixture
def convolution(tmp_path):
    """x [batch, 2, 6] -> Conv with a large bias -> Relu -> Flatten -> Gemm with a large bias -> y [batch, 2]."""
    rng = np.random.default_rng(0)
    tensor = lambda name, values: numpy_helper.from_array(np.asarray(values, np.float32), name)
    weights = [
        tensor("kernel", rng.normal(size=(3, 2, 3))), tensor("shift", [4.0, -1.0, 2.0]),
        tensor("dense", rng.normal(size=(12, 2))), tensor("bias", [30.0, -70.0]),
    ]  # fmt: skip
    nodes = [
        helper.make_node("Conv", ["x", "kernel", "shift"], ["c"], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Flatten", ["r"], ["f"], name="flat"),
        helper.make_node("Gemm", ["f", "dense", "bias"], ["y"], name="dense"),  # no alpha, no beta: 1
    ]
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ["b", 2, 6]), ("y", ["b", 2]))]
    model = helper.make_model(
        helper.make_graph(nodes, "g", ports[:1], ports[1:], weights),
        opset_imports=[helper.make_opsetid("", 18)], ir_version=9,
    )  # fmt: skip
    helper.set_model_props(model, {"regkd.target_names": '["a", "b"]', "note": "kept"})
    onnx.save(model, tmp_path / "c.onnx")
    return tmp_path / "c.onnx"


@pytest.mark.parametrize("precision,most", [("int8", 0.05), ("int8-weights", 0.05), ("fp16", 0.02)])
def test_convolutions_and_biases_survive_every_precision(convolution, tmp_path, precision, most):
    x = rows(n=200, d=12)
    done = quantize_graph(convolution, tmp_path / "q.onnx", precision, x, QuantizeConfig(), check_rows=x)
    assert done.precision == precision and done.graph.share == {precision: 1.0}
    shaped = x.reshape(-1, 2, 6)
    difference = reference_outputs(tmp_path / "q.onnx", shaped) - reference_outputs(convolution, shaped)
    assert np.sqrt(np.mean(difference**2)) < most
    kept = {item.key: item.value for item in onnx.load(tmp_path / "q.onnx").metadata_props}
    assert kept["note"] == "kept" and done.check["targets"][0]["name"] == "a"


def test_a_precision_that_onnx_has_no_convolution_for_is_refused(convolution, tmp_path):
    with pytest.raises(GraphError, match="ONNX has no bf16 convolution.*fp16 or int8"):
        quantize_graph(convolution, tmp_path / "q.onnx", "bf16", rows(n=50, d=12), QuantizeConfig())
    assert not (tmp_path / "q.onnx").exists()


def test_bias_correction_takes_up_the_mean_error_of_every_layer(convolution):
    graph, x = read_weighted(convolution), rows(n=600, d=12)
    points = weighted_posttraining._Points.of(graph, x, None)
    coarse = nearest_weighted(graph, ["int8"] * 2, [6.0, 40.0])  # ranges far too wide: steps far too coarse
    outcome = weighted_posttraining.CorrectedPlan(coarse)
    weighted_posttraining._correct_biases(outcome, points)
    (_, before, after, used), corrected = outcome.tried[0], outcome.plan
    assert used and after < before
    assert np.abs((corrected(points.fit) - points.fit_y).mean(axis=0)).max() < 1e-4
    inner = [weighted_posttraining.run_model(m, points.fit, ("c",))[1] for m in (graph.model, corrected.model())]
    assert np.abs((inner[0] - inner[1]).mean(axis=(0, 2))).max() < 1e-4  # per channel


def test_a_range_far_too_wide_is_narrowed_where_held_rows_gain(convolution):
    graph, x = read_weighted(convolution), rows(n=600, d=12)
    points = weighted_posttraining._Points.of(graph, x, None)
    outcome = weighted_posttraining.CorrectedPlan(nearest_weighted(graph, ["int8"] * 2, [20.0, 80.0]))
    scales = [one.data_scale for one in outcome.plan.layers]
    before = points.worst(outcome.plan, held=True)
    weighted_posttraining._search_ranges(outcome, points)
    assert all(new < old for new, old in zip((one.data_scale for one in outcome.plan.layers), scales))
    assert points.worst(outcome.plan, held=True) < 0.8 * before


def test_scales_lie_along_their_axis():
    assert _along(np.arange(3), 4, 1).shape == (1, 3, 1, 1) and _along(np.arange(3), 2, 0).shape == (3, 1)
    weight = np.array([[[1.0, -2.0]], [[0.25, 0.5]]], np.float32)  # [2, 1, 2]
    assert (weight_steps(weight, 0, 127.0) <= np.array([2.0, 0.5]) / 127 + 1e-9).all()
    assert (weight_steps(weight, 0, 127.0) > np.array([1.0, 0.25]) / 127).all()


# -- refusals -----------------------------------------------------------------------------------------------------


def test_a_graph_that_is_refused_leaves_no_file(student, tmp_path, monkeypatch):
    def refuse(*arguments, **named):
        raise GraphError("no.", "Remedy.")

    monkeypatch.setattr(layers, "summarize", refuse)
    with pytest.raises(GraphError):
        layers.quantize_layers(student, tmp_path / "q.onnx", rows(), "int8")
    assert not list(tmp_path.glob("q.onnx*"))
