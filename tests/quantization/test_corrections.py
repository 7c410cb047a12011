"""The corrections of a plan: each by what it must leave behind, and when it is tried and kept."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from graphs import rows, write_mlp

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from regkd_edge.config import CORRECTIONS
from regkd_edge.graph.chain import read_chain
from regkd_edge.graph.formats import FORMATS
from regkd_edge.io.progress import listening
from regkd_edge.quantization import quantize_int8
from regkd_edge.quantization.calibration import Calibration
from regkd_edge.quantization.corrections import correct_biases, correct_output, round_all, round_layer, search_ranges
from regkd_edge.quantization.plan import nearest_plan
from regkd_edge.quantization.posttraining import plan_layers
from regkd_edge.quantization.rounding import learn_rounding
from regkd_edge.quantization.sensitivity import exact_plan

INT8 = ["int8"] * 3
PLAIN = tuple(name for name in CORRECTIONS if name != "split")


def chain_of(folder, activation="Tanh"):
    return read_chain(
        write_mlp(
            folder / "s.onnx", widths=(5, 16, 12, 2), activation=activation, y_mean=[50.0, 0.0], y_scale=[8.0, 0.1]
        )
    )


@pytest.fixture
def chain(tmp_path):
    return chain_of(tmp_path)


@pytest.fixture
def points(chain):
    return Calibration.split(chain, rows(n=300), points=0)


def ends_of(plan):
    layer = plan.layers[0]
    middle = np.zeros(5) if layer.shift is None else layer.shift.astype(np.float64)
    return middle - 1.0 / layer.rate, middle + 1.0 / layer.rate


def coarse(chain):
    """A plan whose steps are far too wide."""
    return nearest_plan(chain, INT8, [12.0, 6.0, 8.0])


# -- ranges ---------------------------------------------------------------------------------------------------------


class Fake:
    """A plan of layers that are all input, and whose answer is the range of one of them."""

    def __init__(self, *scales, form="int8"):
        self.layers = [SimpleNamespace(data_scale=s, form=FORMATS[form], scaled_data=form == "int8") for s in scales]

    def inputs(self, rows):
        return list(range(len(self.layers)))

    def with_layer(self, index, *, data_scale):
        other = Fake(*(one.data_scale for one in self.layers))
        other.layers[index].data_scale = data_scale
        return other

    def resume(self, a, index):
        return [one.data_scale for one in self.layers]


class Table:
    """Points that know the error of a plan by a rule, and note what they were asked."""

    fit = fit_y = None

    def __init__(self, rule):
        self.rule, self.asked = rule, []

    def error(self, plan, held):
        assert held is False
        return self.rule(plan.resume(None, 0))

    def judge(self, answers, y):
        self.asked.append(answers)
        return self.rule(answers)


def test_the_ranges_of_a_layer_are_tried_down_to_a_quarter_and_those_of_the_scaler_near_its_own():
    table = Table(lambda scales: 1.0)
    search_ranges(Fake(1.0, 2.0), table)
    np.testing.assert_allclose([s[0] for s in table.asked[:3]], [1.1, 0.9, 0.8], rtol=1e-6)
    np.testing.assert_allclose([s[1] / 2 for s in table.asked[3:]], [0.9**k for k in range(1, 14)], rtol=1e-6)
    assert all(s[1] == 2.0 for s in table.asked[:3]) and len(table.asked) == 16


def test_the_range_with_the_least_error_is_taken_if_it_gains_3_percent():
    best = lambda at: Table(lambda scales: 1.0 + abs(np.log(scales[1] / at)))
    assert search_ranges(Fake(1.0, 2.0), best(2 * 0.9**6)).layers[1].data_scale == pytest.approx(2 * 0.9**6, rel=1e-6)
    for error, kept in ((0.975, 2.0), (0.965, 2 * 0.9**4)):
        table = Table(lambda scales, e=error: e if abs(scales[1] - 2 * 0.9**4) < 1e-6 else 1.0)
        assert search_ranges(Fake(1.0, 2.0), table).layers[1].data_scale == pytest.approx(kept, rel=1e-6)
    both = search_ranges(Fake(1.0, 2.0), Table(lambda scales: abs(scales[0] - 0.8) + abs(scales[1] - 1.0) + 0.1))
    assert [one.data_scale for one in both.layers] == pytest.approx([0.8, 2 * 0.9**7], rel=1e-6)
    assert search_ranges(Fake(1.0, 2.0, form="fp16"), Table(lambda scales: scales[1])).layers[1].data_scale == 2.0


# -- biases and gains -----------------------------------------------------------------------------------------------


def test_bias_correction_leaves_no_mean_error_in_any_layer(chain, points):
    plan = coarse(chain)
    done = correct_biases(plan, points)
    want = chain.activations(points.fit)[1]
    for index, layer in enumerate(done.layers):
        z = layer.product(done.inputs(points.fit)[index])
        assert np.abs((z - want[index]).mean(axis=0)).max() < 1e-5
        before = plan.layers[index].product(plan.inputs(points.fit)[index])
        assert np.abs((before - want[index]).mean(axis=0)).max() > 1e-3


def test_the_outputs_gain_and_offset_are_those_of_least_squares(chain, points):
    plan = coarse(chain)
    done = correct_output(plan, points)
    got, want = plan(points.fit).astype(np.float64), points.fit_y.astype(np.float64)
    corrected = done(points.fit)
    for j in range(2):
        gain, offset = np.polyfit(got[:, j], want[:, j], 1)
        assert 0.5 < gain < 2 and abs(gain - 1) > 1e-3
        np.testing.assert_allclose(
            corrected[:, j], gain * got[:, j] + offset, rtol=1e-4, atol=2e-4 * np.ptp(want[:, j])
        )


@pytest.mark.parametrize("gain,kept", [(1.9, True), (2.1, False), (0.52, True), (0.48, False)])
def test_a_gain_beyond_a_factor_of_two_is_chance_and_not_applied(chain, points, gain, kept):
    """Last weights that were divided by the gain: least squares would multiply them by it again."""
    plan = exact_plan(nearest_plan(chain, ["fp32"] * 3, [1.0] * 3))
    last = plan.layers[-1]
    shrunk = plan.with_layer(2, weight=last.weight / np.float32(gain))
    done = correct_output(shrunk, points)
    np.testing.assert_allclose(done.layers[-1].weight, last.weight if kept else shrunk.layers[-1].weight, rtol=1e-3)
    assert np.abs((done(points.fit) - points.fit_y).mean(axis=0)).max() < 1e-2  # the offset is, in either case


def test_an_output_that_something_follows_is_left_alone(tmp_path):
    from onnx import helper, load, save

    model = load(write_mlp(tmp_path / "s.onnx", widths=(5, 8, 1)))
    model.graph.node[-1].output[0] = "before"
    model.graph.node.append(helper.make_node("Relu", ["before"], ["y"], name="positive"))
    save(model, tmp_path / "s.onnx")
    chain = read_chain(tmp_path / "s.onnx")
    plan = nearest_plan(chain, ["int8"] * 2, [9.0, 9.0])
    assert correct_output(plan, Calibration.split(chain, rows(n=60), points=0)) is plan


def test_rounding_is_learnt_for_int8_in_one_part_alone_and_fits_what_fp32_gives(chain, points):
    forms = ["int8", "int8-split-weights", "fp16"]
    done = round_all(nearest_plan(chain, forms, [12.0, 6.0, 8.0]), points, refit=True)
    assert [layer.codes is not None for layer in done.layers] == [True, False, False]
    plan = nearest_plan(chain, INT8, [3.0, 1.0, 1.0])
    learnt = round_all(plan, points, refit=True)
    assert points.error(learnt, held=False) < 0.9 * points.error(plan, held=False)
    want = chain.activations(points.fit)[1]
    for index, layer in enumerate(learnt.layers):  # layer by layer, on what the rounded layers before it give
        error = [
            np.mean((one.product(learnt.inputs(points.fit)[index]) - want[index]) ** 2)
            for one in (layer, plan.layers[index])
        ]
        assert error[0] < error[1]
        assert (np.abs(layer.codes) <= 127).all() and np.abs(layer.codes).max() > 80


def test_a_row_counts_by_the_square_of_what_an_error_there_does_to_the_outputs(chain, points):
    """Of the second layer: z -> tanh -> third weights -> 8 and 0.1 per unit, in tolerances of the outputs."""
    plan = nearest_plan(chain, INT8, [3.0, 1.0, 1.0])
    z = chain.activations(points.fit)[1][1].astype(np.float64)
    slope = chain.layers[2].weight * (np.array([8.0, 0.1]) / points.tolerance)[:, None]  # [2, 12]
    importance = (1 - np.tanh(z) ** 2) ** 2 * (slope**2).sum(axis=0)
    data = plan.layers[1].data(plan.inputs(points.fit)[1])
    want = learn_rounding(plan.layers[1].weight, FORMATS["int8"], data, z, importance)
    layer = round_layer(plan, 1, points).layers[1]
    for got, value in zip((layer.codes, layer.weight_scale, layer.bias), want):
        np.testing.assert_allclose(got, value, rtol=1e-3, atol=1e-3)


# -- one after another ----------------------------------------------------------------------------------------------

FIRST = ["equalize", "equalize"]
LAST = ["ranges", "rounding", "rounding", "ranges", "bias", "affine"]


@pytest.mark.parametrize("activation,middle", [("Tanh", ["center"] * 2), ("Relu", ["cross-layer", "center"] * 2)])
def test_corrections_are_tried_in_their_order_with_and_without_clipping(tmp_path, activation, middle):
    chain, x = chain_of(tmp_path, activation), rows(n=200)
    with_search = FIRST + middle + LAST
    without = FIRST[:1] + middle + LAST[1:3] + LAST[4:]
    names = [name for name, *_ in plan_layers(chain, x, INT8, corrections=PLAIN).tried]
    assert names in (with_search, without)  # of both ways the better one is shown
    for method in ("minmax", "percentile", "entropy"):
        assert [name for name, *_ in plan_layers(chain, x, INT8, method=method, corrections=PLAIN).tried] == without
    some = plan_layers(chain, x, INT8, method="minmax", corrections=("bias", "equalize"))
    assert [name for name, *_ in some.tried] == ["equalize", "bias"]
    weights = plan_layers(chain, x, ["int8-weights", "int8", "int8-weights"], method="minmax",
        corrections=("equalize", "center", "cross-layer"))  # fmt: skip
    assert [name for name, *_ in weights.tried] == middle[: len(middle) // 2]  # only where data are rounded


@pytest.mark.parametrize("activation", ["Tanh", "Relu"])
def test_a_correction_is_kept_where_held_points_gain_and_one_that_costs_an_operator_where_they_gain_a_tenth(
    tmp_path, activation
):
    chain, x = chain_of(tmp_path, activation), rows(n=200) * [1, 1, 1, 4, 0.2]
    outcome = plan_layers(chain, x.astype(np.float32), INT8, corrections=PLAIN)
    for name, before, after, kept in outcome.tried:
        assert kept == (after**2 < (0.9 if name == "center" else 1.0) * before**2)
    points = Calibration.split(chain, x.astype(np.float32))
    assert outcome.kept == list(dict.fromkeys(name for name, *_, kept in outcome.tried if kept))
    last = [after if kept else before for name, before, after, kept in outcome.tried if name in LAST][-1]
    assert points.error(outcome.plan, held=True) ** 0.5 == pytest.approx(last, rel=1e-6)
    chained = [(before, after if kept else before) for name, before, after, kept in outcome.tried if name in LAST]
    for (_, reached), (start, _) in zip(chained, chained[1:]):
        assert start == pytest.approx(reached, rel=1e-6)
    assert outcome.record()[-1] == dict(zip(("name", "before", "after", "kept"), outcome.tried[-1]))


def test_data_in_two_parts_get_twice_the_range_that_was_met_about_its_middle(chain):
    x = rows(n=200) + np.array([3, 0, 0, 0, 0], np.float32)
    plan = plan_layers(chain, x, ["int8-split"] * 3, method="minmax", corrections=()).plan
    for layer, a in zip(plan.layers, chain.activations(x)[0]):
        assert layer.data_scale * 127 == pytest.approx(2 * np.abs(a).max(), rel=1e-5)
    plan = plan_layers(chain, x, ["int8-split"] * 3, method="minmax", corrections=("equalize",)).plan
    a = chain.scaled(x)
    middle, half = (a.max(axis=0) + a.min(axis=0)) / 2, a.max(axis=0) - a.min(axis=0)
    np.testing.assert_allclose(ends_of(plan), [middle - half, middle + half], rtol=1e-4, atol=1e-4)
    assert plan.layers[1].rate is None and plan.layers[1].shift is None


def test_what_is_done_of_each_attempt_is_told(tmp_path):
    seen = []
    with listening(lambda *told: seen.append(told)):
        quantize_int8(write_mlp(tmp_path / "s.onnx", widths=(4, 10, 2)), tmp_path / "q.onnx", rows(n=60, d=4))
    attempts = {}
    for what, done, total in seen:
        attempts.setdefault(what, []).append((done, total))
    assert {"attempt 1, correction", "attempt 2, correction"} <= set(attempts)
    for counts in attempts.values():
        assert [done for done, _ in counts] == list(range(1, counts[0][1] + 1))
