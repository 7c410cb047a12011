"""Numbers in two parts, and where an error comes from: by hand-made networks whose answers are plain sums."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from graphs import rows, write_mlp

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from regkd_edge.config import CORRECTIONS
from regkd_edge.errors import DataError, GraphError
from regkd_edge.graph.chain import read_chain
from regkd_edge.graph.formats import FORMATS
from regkd_edge.quantization import quantize_int8, splitting
from regkd_edge.quantization.calibration import Calibration
from regkd_edge.quantization.equalize import equalize
from regkd_edge.quantization.evenness import Evenness
from regkd_edge.quantization.plan import nearest_plan
from regkd_edge.quantization.sensitivity import data_rounded, sensitivity, weights_rounded
from regkd_edge.quantization.splitting import _error, _more_parts, _widened, clipping_risk, finer_forms
from regkd_edge.quantization.summary import checked_rows, summarize, target_names


@pytest.fixture
def chain(tmp_path):
    return read_chain(write_mlp(tmp_path / "s.onnx", widths=(4, 10, 2), y_mean=[9.0, 1.0], y_scale=[50.0, 0.2]))


@pytest.fixture
def plan(chain):
    return nearest_plan(chain, ["int8", "int8"], [4.0, 1.0])


def layers(*forms):
    return [SimpleNamespace(form=FORMATS[form]) for form in forms]


# -- which numbers get two parts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "harm,forms",
    [
        ({(0, 0): 5.0, (0, 1): 0.3, (1, 0): 0.1, (1, 1): 0.0}, ["int8-split-data", "int8"]),
        ({(0, 0): 5.0, (0, 1): 0.6, (1, 0): 0.1, (1, 1): 0.0}, ["int8-split", "int8"]),
        ({(0, 0): 0.2, (0, 1): 0.1, (1, 0): 0.4, (1, 1): 9.0}, ["int8", "int8-split"]),
        ({(0, 0): 0.3, (0, 1): 0.2, (1, 0): 0.0, (1, 1): 9.0}, ["int8", "int8-split-weights"]),
        ({(0, 0): 0.1, (1, 1): 0.05}, ["int8-split-data", "int8"]),  # it is asked because the error is too large
        ({}, None),
    ],
)
def test_the_most_harmful_roundings_are_refined_until_half_of_the_squared_tolerance_is_left(harm, forms):
    assert finer_forms(layers("int8", "int8"), harm) == forms


def test_parts_that_are_there_stay_and_other_formats_are_not_split():
    found = finer_forms(layers("int8-split-data", "fp16", "int8"), {(0, 1): 3.0, (2, 0): 0.1})
    assert found == ["int8-split", "fp16", "int8"]


def answers(plan, x, **changed):
    """What a tanh network of two layers answers with rounded data or weights, in float64."""
    first, second = plan.chain.layers
    a = x.astype(np.float64)
    for index, layer in enumerate((first, second)):
        w = layer.weight.astype(np.float64)
        if changed.get(f"data{index}"):
            step = plan.layers[index].data_scale
            a = np.clip(np.rint(a / step), -128, 127) * step
        if changed.get(f"weights{index}"):
            steps = np.abs(w).max(axis=1, keepdims=True) / 127
            w = np.rint(w / steps) * steps
        a = a @ w.T + layer.bias
        a = np.tanh(a) if index == 0 else a * [50.0, 0.2] + [9.0, 1.0]
    return a


ONE = {"data0": True}, {"weights0": True}, {"data1": True}, {"weights1": True}


def test_each_rounding_alone_is_what_it_does_to_the_worst_output_in_tolerances(plan):
    x, tolerance = rows(n=90, d=4), np.array([0.1, 0.01])
    points = Calibration.split(plan.chain, x, points=0, tolerance=tolerance)
    want = answers(plan, points.held)
    squares = [np.mean((answers(plan, points.held, **one) - want) ** 2, axis=0) / tolerance**2 for one in ONE]
    risks = [clipping_risk(plan, points, index) for index in (0, 1)]
    harm = dict(zip([(0, 0), (0, 1), (1, 0), (1, 1)], [float(s.max()) for s in squares]))
    for index in (0, 1):
        harm[index, 0] += risks[index]
    # Data in two parts take the harm of their layer's weights with them, which are then made even.
    layer_harm = [harm[i, 0] + harm[i, 1] for i in (0, 1)]
    assert all(harm[i, 0] > 0.1 * harm[i, 1] for i in (0, 1)) and min(layer_harm) > 0.5
    assert _more_parts(plan, points) == ["int8-split-data"] * 2
    whole = answers(plan, points.held, **{k: True for one in ONE for k in one}) - want
    worst = np.sqrt(np.mean(whole**2, axis=0)) / tolerance
    assert _error(plan, points) == pytest.approx(np.sqrt(worst.max() ** 2 + sum(risks)), rel=1e-3)


@pytest.mark.parametrize(("of_data", "part"), [(0.3, "int8-split-weights"), (0.5, "int8-split-data")])
def test_the_second_part_is_of_the_weights_where_the_data_do_less_than_a_tenth_of_their_harm(
    plan, monkeypatch, of_data, part
):
    harm = {0: (of_data, 4.0), 1: (0.1, 0.1)}
    monkeypatch.setattr(splitting, "clipping_risk", lambda *_: 0.0)
    monkeypatch.setattr(splitting, "data_rounded", lambda plan, index: 0)
    monkeypatch.setattr(splitting, "weights_rounded", lambda plan, index: 1)
    monkeypatch.setattr(splitting, "_alone", lambda plan, points, index, kind: harm[index][kind])
    assert _more_parts(plan, None) == [part, "int8"]
    assert _more_parts(plan.with_layer(0, form=FORMATS[part]), None)[0] == "int8-split"


def test_wider_steps_may_cost_a_tenth_of_the_squared_tolerance_up_to_8_times_what_they_were(chain):
    split = nearest_plan(chain, ["int8-split", "int8"], [8.0, 1.0])
    x = rows(n=90, d=4)
    for allowed in (1e-9, 1e-4, 1e-3, 1e6):
        tolerance = np.array([50.0, 0.2]) * allowed
        points = Calibration.split(chain, x, points=0, tolerance=tolerance)
        step = split.layers[0].data_scale
        rounded = points.held.astype(np.float64)
        high = np.clip(np.rint(rounded / step), -128, 127) * step
        rounded = high + np.clip(np.rint((rounded - high) / (step / 254)), -128, 127) * (step / 254)
        change = answers(split, rounded) - answers(split, points.held)
        harm = (np.mean(change**2, axis=0) / tolerance**2).max()
        wider = min(max(np.sqrt(0.1 / harm), 1.0), 8.0)
        done = _widened(split, points)
        assert done.layers[0].data_scale / step == pytest.approx(wider, rel=0.03)  # harm is near float32's own rounding
        assert done.layers[1].data_scale == split.layers[1].data_scale
    assert wider == 8.0


def test_few_rows_and_layers_that_clip_nothing_are_no_risk(chain):
    plan = nearest_plan(chain, ["int8-split-data", "int8-weights"], [8.0, 1.0])
    points = Calibration.split(chain, rows(n=50, d=4))
    assert clipping_risk(plan, points, 0) == 0.0 and clipping_risk(plan, points, 1) == 0.0
    plan = nearest_plan(chain, ["int8", "int8"], [8.0, 1.0])
    assert clipping_risk(plan, Calibration.split(chain, rows(n=3, d=4)), 0) == 0.0
    assert clipping_risk(plan, Calibration.split(chain, rows(n=4, d=4)), 0) > 0.0
    assert clipping_risk(plan, points, 0) > 0.0


# -- where the error is ---------------------------------------------------------------------------------------------


def test_the_error_of_each_layer_is_in_percent_of_the_outputs_deviation(plan):
    x = rows(n=200, d=4)
    want = answers(plan, x)
    percent = lambda **changed: 100 * np.sqrt(np.mean(((answers(plan, x, **changed) - want) / want.std(axis=0)) ** 2))
    found = sensitivity(plan, x, ["life [cycles]", "strain"])
    assert found["rows"] == 200 and found["targets"] == ["life [cycles]", "strain"]
    moved = lambda **changed: np.sqrt(np.mean((answers(plan, x, **changed) - want) ** 2, axis=0))
    assert found["all_targets"] == pytest.approx(list(moved(data0=1, weights0=1, data1=1, weights1=1)), rel=0.02)
    assert found["all"] == pytest.approx(percent(data0=1, weights0=1, data1=1, weights1=1), rel=0.02)
    assert found["parts"] == {
        "input": pytest.approx(percent(data0=1), rel=0.02),
        "weights": pytest.approx(percent(weights0=1, weights1=1), rel=0.02),
        "activations": pytest.approx(percent(data1=1), rel=0.02),
    }
    for layer in found["layers"]:
        i = int(layer["name"].rpartition(".")[2])
        assert layer["data"] == pytest.approx(percent(**{f"data{i}": 1}), rel=0.02)
        assert layer["weights"] == pytest.approx(percent(**{f"weights{i}": 1}), rel=0.02)
        assert layer["change"] == pytest.approx(percent(**{f"data{i}": 1, f"weights{i}": 1}), rel=0.02)
        assert layer["targets"] == pytest.approx(list(moved(**{f"data{i}": 1, f"weights{i}": 1})), rel=0.02)
    changes = [layer["change"] for layer in found["layers"]]
    assert changes == sorted(changes, reverse=True) and {layer["precision"] for layer in found["layers"]} == {"int8"}


def test_an_exact_layer_in_equalized_units_is_the_exported_one(chain):
    x = rows(n=60, d=4)
    plan = nearest_plan(chain, ["int8", "fp16"], [4.0, 1.0])
    plan = equalize(plan, 0, np.array([-2.0, -1, 0, -4]), np.array([3.0, 1, 5, 4]))
    data = replace(plan, layers=(data_rounded(plan, 0), data_rounded(plan, 1)))
    a = chain.scaled(x)
    low, high = np.array([-2.0, -1, 0, -4]), np.array([3.0, 1, 5, 4])
    middle, half = (high + low) / 2, (high - low) / 2
    codes = np.clip(np.rint((a - middle) / half * 127), -128, 127)
    expected = answers(plan, codes / 127 * half + middle)
    assert np.quantile(np.abs(data(x) - expected), 0.95) < 1e-3  # a tie may fall to either side
    assert weights_rounded(plan, 1) is plan.layers[1]  # fp16 has no codes


# -- summary --------------------------------------------------------------------------------------------------------


def test_rows_of_any_rank_become_rows_of_numbers_and_what_is_wrong_is_named():
    assert checked_rows(np.ones((4, 2, 3)), 6, "rows").shape == (4, 6)
    assert checked_rows([[1, 2]], 2, "rows").dtype == np.float32
    for bad, words in (
        (np.ones(3), r"rows have shape \[3\], expected \[n, 3\]"),
        (np.ones((0, 3)), r"rows have shape \[0, 3\], expected \[n, 3\] with n >= 1"),
        (np.ones((2, 4)), "rows have 4 columns, and the graph takes 3"),
        (np.array([[1, 2, 3], [4, np.inf, 6.0]]), "rows hold inf in row 1, column 1"),
    ):
        with pytest.raises(DataError, match=words):
            checked_rows(bad, 3, "rows")


def test_a_summary_compares_on_the_rows_it_is_given_and_without_any_not_at_all(tmp_path):
    source = write_mlp(tmp_path / "s.onnx", widths=(4, 10, 2), y_scale=[50.0, 0.2])
    done = quantize_int8(source, tmp_path / "q.onnx", rows(d=4), check_rows=rows(n=33, d=4, seed=7))
    assert done.check["rows"] == 33 and done.calibration == {"rows": 256, "method": "output"}
    again = summarize("int8", source, tmp_path / "q.onnx", None, notes=["said"])
    assert again.check is None and again.notes == ["said"] and again.sha256 == done.sha256
    with pytest.raises(GraphError, match="no layer of 'q.onnx' is fp16: its multiply-adds are int8"):
        summarize("fp16", source, tmp_path / "q.onnx", None, notes=[])
    assert summarize("fp16", source, tmp_path / "q.onnx", None, notes=[], expected=None).precision == "fp16"
    by = quantize_int8(source, tmp_path / "p.onnx", rows(d=4), method="percentile", percentile=99)
    assert by.calibration == {"rows": 256, "method": "percentile", "percentile": 99}


@pytest.mark.parametrize(
    "stored,names",
    [('["a", "b"]', ["a", "b"]), ('["a"]', None), ('["a", 3]', None), ("{", None), ('{"a": 1, "b": 2}', None)],
)
def test_names_of_targets_are_taken_only_if_they_fit(tmp_path, stored, names):
    import onnx

    model = onnx.load(write_mlp(tmp_path / "s.onnx", widths=(4, 3, 2)))
    onnx.helper.set_model_props(model, {"other": "x", "regkd.target_names": stored})
    onnx.save(model, tmp_path / "s.onnx")
    assert target_names(tmp_path / "s.onnx", 2) == (names or ["target 0", "target 1"])


# -- neurons that sleep ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("index", [0, 1])
def test_an_input_that_hardly_varied_in_calibration_has_room_to_answer(tmp_path, index):
    """An eighth of the widest at least: it may answer to other rows, and was cut off at what it had shown."""
    chain = read_chain(write_mlp(tmp_path / "s.onnx", widths=(4, 10, 2), activation="Relu"))
    first, *rest = chain.layers
    quiet = np.where(np.arange(10) == 3, 1e-4, 1.0).astype(np.float32)  # the fourth neuron
    first = replace(first, weight=first.weight * quiet[:, None], bias=first.bias * quiet)
    chain = replace(chain, layers=(first, *rest))
    x = rows(n=200, d=4) * np.array([1, 1, 1e-4, 1], dtype=np.float32)
    points = Calibration.split(chain, x)
    evenness = Evenness(chain, x, points, "output", 99.99, CORRECTIONS)
    plan = evenness.choice(index, "int8-split").applied(evenness.nearest(["int8-split"] * 2), index)
    layer = plan.layers[index]
    room = layer.data_scale * layer.form.largest / (1.0 if layer.rate is None else layer.rate)
    met = np.abs(chain.activations(x)[0][index] - (0.0 if layer.shift is None else layer.shift)).max(axis=0)
    assert met.min() < 1e-3 * met.max() and (room >= met).all()
    assert (room >= 0.99 / 8 * met.max()).all()
