"""Quantizing a chain of layers: what is written is what was planned, corrections help, bounds are kept, devices are
asked.
"""

from __future__ import annotations

import numpy as np
import pytest
from graphs import rows, write_mlp

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from regkd_edge.config import CORRECTIONS
from regkd_edge.config.precisions import lacking, precisions_of
from regkd_edge.errors import UserError
from regkd_edge.graph.chain import read_chain
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.quantization import Bound, graph_precision, quantize_int8, quantize_layers
from regkd_edge.quantization.calibration import Calibration
from regkd_edge.quantization.posttraining import plan_layers
from regkd_edge.quantization.ranges import on_codes
from regkd_edge.quantization.sensitivity import sensitivity
from regkd_edge.quantization.writer import write_plan

INT8 = ["int8"] * 3
PLAIN = tuple(name for name in CORRECTIONS if name != "split")  # INT8 numbers in one part


def rms(difference) -> float:
    return float(np.sqrt(np.mean(np.square(difference))))


def heavy_tailed(n=1500, seed=3):
    """Five features in raw units; the last is a counter whose largest values lie 30 deviations out."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 5))
    x[:, 4] = rng.lognormal(0.0, 1.6, n)
    x[:, 4] = (x[:, 4] - x[:, 4].mean()) / x[:, 4].std()
    return x.astype(np.float32)


@pytest.fixture
def student(tmp_path):
    return write_mlp(tmp_path / "student.fp32.onnx", widths=(5, 24, 16, 1), y_mean=[50.0], y_scale=[8.0])


# -- reading ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Elu", "LeakyRelu", "Softplus"])
def test_a_chain_computes_what_its_graph_computes(tmp_path, activation):
    source = write_mlp(
        tmp_path / "s.onnx", activation=activation, mean=[3.0] * 5, scale=[2.0] * 5, y_mean=[9.0], y_scale=[4.0]
    )
    chain = read_chain(source)
    np.testing.assert_allclose(
        chain(rows()), reference_outputs(source, rows()), rtol=1e-5, atol=1e-5
    )  # float32, another order of sums


@pytest.mark.parametrize("activation", ["silu", "gelu", "gelu_tanh"])
def test_activations_that_export_writes_as_several_nodes_are_read(tmp_path, activation):
    pytest.importorskip("torch")
    from regkd_edge.data import Scalers
    from regkd_edge.export import export_onnx
    from regkd_edge.models import build

    network = build(f"mlp:12,8:{activation}", 4, 2, seed=0)
    source = export_onnx(network, Scalers.identity(4, 2), tmp_path / "s.onnx")
    chain = read_chain(source)
    assert len(chain.layers) == 3
    x = rows(d=4)
    np.testing.assert_allclose(
        chain(x), reference_outputs(source, x), rtol=1e-5, atol=2e-6
    )  # 1.5e-7 of erf's polynomial, summed


def test_what_is_no_chain_has_its_layers_rewritten_where_they_are(tmp_path):
    from onnx import TensorProto, helper, numpy_helper

    w = numpy_helper.from_array(np.eye(3, dtype=np.float32) * 0.7, "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], name="first"),
        helper.make_node("Softmax", ["a"], ["s"], name="softmax"),
        helper.make_node("MatMul", ["s", "w"], ["y"], name="second"),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 3]) for n in "xy"]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:], [w])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "g.onnx")
    assert "Softmax" in read_chain(tmp_path / "g.onnx")
    summary = quantize_int8(tmp_path / "g.onnx", tmp_path / "q.onnx", rows(d=3))
    assert summary.graph.share == {"int8": 1.0} and summary.check["rmse"] < 0.01
    kept = [node.op_type for node in onnx.load(tmp_path / "q.onnx").graph.node]
    assert kept.count("Softmax") == 1 and summary.precision == "int8"
    placed = quantize_int8(tmp_path / "g.onnx", tmp_path / "o.onnx", rows(d=3), quantizer="onnxruntime")
    assert placed.graph.share == {"int8": 1.0}


# -- writing ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "forms", [INT8, ["fp16", "int8", "fp32"], ["int8-weights"] * 3, ["fp8"] * 3, ["bf16", "int8", "bf16"]]
)
@pytest.mark.parametrize("activation", ["Relu", "Tanh"])
def test_the_written_graph_means_what_was_planned(tmp_path, activation, forms):
    source = write_mlp(
        tmp_path / "s.onnx", activation=activation, widths=(5, 24, 16, 2), mean=[3.0] * 5, scale=[2.0] * 5
    )
    x = rows(mean=3.0, scale=2.0)
    plan = plan_layers(read_chain(source), x, forms, corrections=PLAIN).plan
    onnx.save(write_plan(plan), tmp_path / "q.onnx")
    difference = np.abs(plan(x) - reference_outputs(tmp_path / "q.onnx", x))
    # Sums in another order may tip a value at a rounding tie over: one code in a few rows, float32 error in all others.
    assert np.quantile(difference, 0.95) < 1e-4 and difference.max() < 0.2
    counted = graph_precision(tmp_path / "q.onnx")
    assert [layer.precision for layer in counted.layers] == forms
    assert [layer.pairs for layer in counted.layers] == [
        {"int8": 2, "fp8": 2, "int8-weights": 1}.get(form, 0) for form in forms
    ]


def test_weights_are_stored_as_codes(student, tmp_path):
    quantize_int8(student, tmp_path / "q.onnx", rows(), corrections=PLAIN)
    stored = {t.name: t.data_type for t in onnx.load(tmp_path / "q.onnx").graph.initializer if len(t.dims) == 2}
    assert len(stored) == 3 and set(stored.values()) == {onnx.TensorProto.INT8}


# -- accuracy -----------------------------------------------------------------------------------------------------


def test_a_heavy_tailed_feature_no_longer_sets_the_step_of_all(student, tmp_path):
    """Why equalization is there: one counter with a long tail, and min-max calibration as everyone does it."""
    chain, x, held = read_chain(student), heavy_tailed(6000), heavy_tailed(seed=4)
    plain = plan_layers(chain, x, INT8, method="minmax", corrections=()).plan
    equalized = plan_layers(chain, x, INT8, method="minmax", corrections=("equalize",)).plan
    whole = plan_layers(chain, x, INT8, corrections=PLAIN).plan
    spread = chain(held).std()
    assert rms(plain(held) - chain(held)) > 0.05 * spread  # the culprit is there ...
    parts = [sensitivity(plan, held, ["y"])["parts"]["input"] for plan in (plain, equalized)]
    assert parts[1] < 0.5 * parts[0]  # ... and this removes it
    assert rms(whole(held) - chain(held)) < 0.5 * rms(plain(held) - chain(held))


def test_a_feature_of_few_values_loses_nothing_by_rounding(student):
    """Counts, switches, dimensions in whole steps: their values fall on codes, and stay there beside continuous
    features.
    """
    chain, rng = read_chain(student), np.random.default_rng(6)
    whole = np.column_stack(
        [
            rng.integers(0, 7, 800),
            rng.integers(0, 2, 800),
            0.3 * rng.integers(-2, 9, 800),
            rng.integers(3, 90, 800),
            np.full(800, 2.0),
        ]
    )
    plan = plan_layers(chain, whole.astype(np.float32), INT8, corrections=PLAIN).plan
    a = chain.scaled(whole.astype(np.float32))
    first = plan.layers[0]
    np.testing.assert_allclose(
        first.data(a) / first.rate + first.shift, a, atol=1e-4
    )  # float32; a step is 0.01 and more
    mixed = np.column_stack([whole[:, :2], rng.standard_normal((800, 3))]).astype(np.float32)
    plan, a = plan_layers(chain, mixed, INT8, corrections=PLAIN).plan, chain.scaled(mixed)
    first = plan.layers[0]
    error = np.abs(first.data(a) / first.rate + first.shift - a).max(axis=0)
    assert error[:2].max() < 1e-4 and error[2:].min() > 1e-3


def test_a_range_that_no_grid_fits_stays(tmp_path):
    values = np.sort(np.random.default_rng(0).standard_normal(200))
    assert on_codes(values, values[0], values[-1]) == (values[0], values[-1])
    low, high = on_codes(np.array([0.0, 1.0, 4.0]), 0.0, 4.0)
    codes = (np.array([0.0, 1.0, 4.0]) - (low + high) / 2) / ((high - low) / 2) * 127
    np.testing.assert_allclose(codes, np.rint(codes), atol=1e-9)
    assert low <= 0.0 and high >= 4.0


def test_what_is_filled_in_stays_what_an_input_can_be(student):
    rng = np.random.default_rng(1)
    few = np.column_stack(
        [rng.integers(0, 4, 60), rng.standard_normal(60), 7.0 * np.ones(60), rng.random((60, 2))]
    ).astype(np.float32)
    points = Calibration.split(read_chain(student), few)
    assert len(points.rows) == 2047 or len(points.rows) == 2048
    assert (points.rows >= few.min(axis=0) - 1e-6).all() and (points.rows <= few.max(axis=0) + 1e-6).all()
    assert set(np.unique(points.rows[:, 0])) == {0.0, 1.0, 2.0, 3.0} and (points.rows[:, 2] == 7.0).all()
    combined = {(a, round(b, 4)) for a, b in points.fit[:, :2].tolist()}
    assert len(combined) > 600  # not the rows again and again
    many = rows(n=4000)
    assert len(Calibration.split(read_chain(student), many).rows) == 4000


@pytest.mark.parametrize(("activation", "ratio"), [("Tanh", 0.96), ("Softplus", 0.96), ("Relu", 1.1)])
def test_corrections_do_no_harm_where_there_is_no_culprit(tmp_path, activation, ratio):
    """Gaussian inputs and random weights: only the rounding is left to win (10 to 20 %). With ReLU the rounding of the
    hidden activations is nearly all of the error, and ranges learnt on 900 rows cut the tails of new ones a little."""
    chain = read_chain(write_mlp(tmp_path / "s.onnx", activation=activation, widths=(5, 32, 32, 1)))
    plain = plan_layers(chain, rows(n=900), INT8, method="minmax", corrections=()).plan
    whole = plan_layers(chain, rows(n=900), INT8, corrections=PLAIN).plan
    held = rows(n=600, seed=9)
    assert rms(whole(held) - chain(held)) < ratio * rms(plain(held) - chain(held))


def test_a_correction_is_kept_only_where_it_helped(student):
    outcome = plan_layers(read_chain(student), heavy_tailed(), INT8, corrections=PLAIN)
    assert outcome.tried and all(
        after < before if kept else after >= before or name == "center" for name, before, after, kept in outcome.tried
    )
    assert set(outcome.kept) <= {"equalize", "cross-layer", "center", "rounding", "bias", "affine", "ranges"}


def test_a_few_rows_are_enough_to_run(student, tmp_path):
    for n in (1, 2, 5):
        summary = quantize_int8(student, tmp_path / "q.onnx", rows(n=n))
        assert summary.graph.share == {"int8": 1.0}


def test_dead_units_and_constant_features_stay_finite(tmp_path):
    source = write_mlp(tmp_path / "s.onnx", activation="Relu", weight_scale=0.0)
    x = rows()
    x[:, 1] = 7.0
    quantize_int8(source, tmp_path / "q.onnx", x)
    assert np.isfinite(reference_outputs(tmp_path / "q.onnx", x)).all()


# -- where the error is ------------------------------------------------------------------------------------------


def test_the_report_names_the_layer_that_was_harmed(student):
    chain = read_chain(student)
    plan = plan_layers(chain, rows(), INT8, corrections=PLAIN).plan
    harmed = plan.with_layer(1, data_scale=20 * plan.layers[1].data_scale)
    found = sensitivity(harmed, rows(), ["y"])
    assert found["layers"][0]["name"] == "layers.1"
    assert found["layers"][0]["data"] > 3 * found["layers"][0]["weights"]
    assert found["parts"]["activations"] > 3 * max(found["parts"]["input"], found["parts"]["weights"])


# -- what is refused ----------------------------------------------------------------------------------------------


def test_a_precision_that_the_device_lacks_is_refused():
    assert "'orin' has no fp8" in lacking("fp8", "orin")
    assert lacking("fp8", "thor") is None and lacking("fp8", None) is None
    assert "bf16" not in precisions_of("sm_75") and "fp8" in precisions_of("sm_89")
    with pytest.raises(UserError, match="unknown device 'toaster'"):
        precisions_of("toaster")


def test_bad_options(student, tmp_path):
    with pytest.raises(UserError, match="unknown correction 'magic'"):
        quantize_layers(student, tmp_path / "q.onnx", rows(), corrections=("magic",))
    with pytest.raises(UserError, match="does not fit 3 layers"):
        quantize_layers(student, tmp_path / "q.onnx", rows(), ["int8", "fp16"])
    with pytest.raises(UserError, match="expected more than 0"):
        Bound(0.0, rows(), np.zeros((256, 1)))
    assert not (tmp_path / "q.onnx").exists()
