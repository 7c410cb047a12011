"""Every family as a graph: exported, in INT8 and FP16, as an engine of ONNX Runtime, and stored."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import regkd_edge as rk
from regkd_edge.data import Scalers
from regkd_edge.errors import DataError, GraphError
from regkd_edge.export import check_onnx, export_onnx
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.models import ACTIVATIONS, Student, parse_spec
from regkd_edge.quantization import graph_precision, quantize_int8, quantize_layers

from ...graphs import family_student as student
from .test_specs import NETWORKS

TENSORS = [(text, shape) for text, shape in NETWORKS if not text.startswith("mlp")]


def rows(shape, n=150, seed=1):
    return np.random.default_rng(seed).normal(size=(n, *shape))


@pytest.mark.parametrize(("text", "shape"), TENSORS)
def test_the_graph_takes_tensors_in_raw_units(text, shape, tmp_path):
    one, x = student(text, shape), rows(shape)
    graph = one.export(tmp_path / "s.onnx", check=x)
    model = onnx.load(graph.path)
    dims = [d.dim_value or d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", *shape]
    kept = {item.key: item.value for item in model.metadata_props}
    assert json.loads(kept["regkd.input_shape"]) == list(shape) and kept["regkd.spec"] == str(parse_spec(text))
    scale = next(t for t in model.graph.initializer if t.name == "scale_x/mean")
    assert np.prod(scale.dims) < np.prod(shape)  # one number per channel
    want = one.predict(x)
    assert np.allclose(reference_outputs(graph.path, x.astype(np.float32)), want, atol=1e-4)
    assert np.allclose(reference_outputs(graph.path, x.reshape(len(x), -1).astype(np.float32)), want, atol=1e-4)
    for precision, allowed in (("int8", 0.01), ("fp16", 0.01)):
        typed = rk.quantize(one, precision, calibrate=x, check=x)
        assert precision in graph_precision(typed.path).share
        engine = rk.build(typed)
        assert (engine.d, engine.input_shape) == (int(np.prod(shape)), shape)
        off = np.sqrt(((engine.predict(x) - want) ** 2).mean(0)) / want.std(0)
        assert (off < allowed).all(), (precision, off)  # of the output's deviation
        assert np.array_equal(engine.predict(x), engine.predict(x.reshape(len(x), -1)))


@pytest.mark.parametrize(("text", "shape"), [("gru:3,3,3", (20, 1)), ("conv1d:6x3/2,5d3,gap,4:softplus", (2, 9))])
def test_answers_far_from_zero_for_their_spread_are_built_in_fp16(text, shape, tmp_path):
    """FP16 rounds a number by a share of its size, whatever the spread of the answers is."""
    path = student(text, shape, 3, 3).export(tmp_path / "s.onnx").path
    x = rows(shape, 60).astype(np.float32)
    engine = rk.build(rk.quantize(path, "fp16", calibrate=x))
    assert np.abs(engine.predict(x) - reference_outputs(path, x)).max() < 0.01


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_is_exported(activation, tmp_path):
    one = student(f"conv2d:3x3,4d3/2,flat,5:{activation}", (2, 6, 5))
    graph = one.export(tmp_path / "s.onnx")
    assert (check_onnx(graph.path, one.module, one.scalers, rows((2, 6, 5), 9).reshape(9, -1)) < 1e-4).all()


def test_scalers_that_differ_within_a_channel_are_kept(tmp_path):
    one = student("conv1d:4x3:relu", (2, 12), tied=False)
    assert one.export(tmp_path / "s.onnx", check=rows((2, 12))).summary["check"]["targets"][0]["max_abs"] < 1e-4


def test_int8_goes_in_two_parts_only_where_it_must(tmp_path):
    """Rows with labels say how exact it has to be: far labels ask for one part, near ones for two."""
    one, x = student("conv2d:6x3,8d3/2,flat,8:relu", (1, 8, 8), 1), rows((1, 8, 8))
    path, flat = one.export(tmp_path / "s.onnx").path, x.reshape(len(x), -1).astype(np.float32)
    y = one.predict(x)
    noise = np.random.default_rng(0).normal(size=y.shape) * y.std(0)
    coarse = quantize_int8(path, tmp_path / "a.onnx", flat, labelled=(flat, y + noise))
    fine = quantize_int8(path, tmp_path / "b.onnx", flat, labelled=(flat, y + 0.02 * noise))
    assert coarse.notes == [] and len(coarse.graph.layers) == 5
    assert "in two INT8 parts" in fine.notes[0] and len(fine.graph.layers) > 5
    assert fine.check["rmse"] < 0.3 * coarse.check["rmse"]
    assert set(coarse.graph.share) == set(fine.graph.share) == {"int8"}


def test_an_int8_gru_says_that_its_state_is_not(tmp_path):
    one = student("gru:6", (9, 2))
    done = quantize_int8(one.export(tmp_path / "s.onnx").path, tmp_path / "q.onnx", rows((9, 2)).astype(np.float32))
    by_name = {layer.name: layer for layer in done.graph.layers}
    assert (by_name["gru0"].precision, by_name["gru0/recurrence"].precision) == ("int8", "int8-weights")
    assert by_name["gru0/recurrence"].multiply_adds == 9 * 3 * 6 * 6


def test_a_bound_keeps_layers_of_a_convolution(tmp_path):
    """What INT8 in two parts does not reach is left in FP16."""
    from regkd_edge.quantization import Bound

    one, x = student("conv2d:6x3,8d3/2,gap:relu", (1, 8, 8), 1), rows((1, 8, 8))
    flat, path = x.reshape(len(x), -1).astype(np.float32), one.export(tmp_path / "s.onnx").path
    y = one.predict(x) + 1e-2 * one.predict(x).std() * np.random.default_rng(0).normal(size=(len(x), 1))
    done = quantize_int8(path, tmp_path / "q.onnx", flat, bound=Bound(0.05, flat, y))
    rmse = lambda p: np.sqrt(((reference_outputs(p, flat) - y) ** 2).mean())
    assert rmse(tmp_path / "q.onnx") < 1.05 * rmse(path) and any("RMSE" in note for note in done.notes)


@pytest.mark.parametrize("text", ["conv1d:4x3:relu", "gru:4:channels-first"])
def test_bf16_has_no_convolution_in_this_opset(text, tmp_path):
    one = student(text, (2, 12))
    with pytest.raises(GraphError, match="bf16"):
        quantize_layers(
            one.export(tmp_path / "s.onnx").path, tmp_path / "q.onnx", rows((2, 12)).astype(np.float32), "bf16"
        )
    assert not (tmp_path / "q.onnx").exists()


@pytest.mark.parametrize(("text", "shape"), TENSORS[::3])
def test_a_student_is_stored_with_its_shape(text, shape, tmp_path):
    one, x = student(text, shape), rows(shape, 7)
    one.save(tmp_path)
    again = Student.load(tmp_path)
    assert again.input_shape == shape and np.array_equal(again.predict(x), one.predict(x))
    assert "x".join(map(str, shape)) in repr(again) and again.cost == one.cost
    with pytest.raises(DataError, match="expected rows of shape"):
        again.predict(np.swapaxes(x, 1, 2))


def test_a_network_of_no_family_is_not_exported(tmp_path):
    from torch import nn

    with pytest.raises(GraphError, match="a Linear cannot be exported.*conv2d"):
        export_onnx(nn.Linear(3, 1), Scalers.identity(3, 1), tmp_path / "s.onnx")
