"""quantize_int8 and quantize_fp16: what the written graph means, what is counted in it, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import ACTIVATIONS, rows, write_mlp

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import onnx
from onnx import TensorProto, helper, numpy_helper

from regkd_edge.errors import DataError, GraphError, UserError
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.quantization import graph_precision, quantize_fp16, quantize_int8


@pytest.fixture
def fp32(tmp_path):
    return write_mlp(tmp_path / "student.fp32.onnx")


def inputs_and_outputs(path):
    graph = onnx.load(path).graph
    return [(v.name, v.type.tensor_type.elem_type) for v in (*graph.input, *graph.output)]


# -- INT8 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["minmax", "percentile", "entropy"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_int8_graph_is_close_to_fp32_and_every_layer_is_between_pairs(tmp_path, method, activation):
    source = write_mlp(tmp_path / "fp32.onnx", activation=activation, y_mean=[400.0], y_scale=[20.0])
    summary = quantize_int8(source, tmp_path / "int8.onnx", rows(), method=method)
    assert summary.graph.share == {"int8": 1.0}
    assert [layer.pairs for layer in summary.graph.layers] == [2, 2, 2]
    assert summary.graph.pairs == 6
    y = reference_outputs(source, rows())
    # 8 bits over three layers: about 1/127 of the range each, so a few percent of the outputs' spread; entropy clips
    # more
    assert summary.check["rmse"] < (0.25 if method == "entropy" else 0.06) * y.std()


def test_int8_graph_is_what_tensorrt_takes(fp32, tmp_path):
    quantize_int8(fp32, tmp_path / "int8.onnx", rows())
    graph = onnx.load(tmp_path / "int8.onnx").graph
    tensors = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    points = [n.input[2] for n in graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert points and all(tensors[p].dtype == np.int8 and not tensors[p].any() for p in points)
    assert not {n.op_type for n in graph.node} & {"DynamicQuantizeLinear", "QLinearMatMul", "MatMulInteger"}
    assert inputs_and_outputs(tmp_path / "int8.onnx") == [("x", TensorProto.FLOAT), ("y", TensorProto.FLOAT)]


def test_weights_have_a_scale_per_column_and_data_one(fp32, tmp_path):
    quantize_int8(fp32, tmp_path / "int8.onnx", rows())
    graph = onnx.load(tmp_path / "int8.onnx").graph
    sizes = {t.name: numpy_helper.to_array(t).size for t in graph.initializer}
    scales = {n.name: sizes[n.input[1]] for n in graph.node if n.op_type == "DequantizeLinear"}
    assert scales["layers.0/weight/dequantize"] == 16 and scales["layers.1/weight/dequantize"] == 8
    assert scales["layers.0/data/dequantize"] == 1


def test_layer_names_survive_and_biases_stay_float(fp32, tmp_path):
    quantize_int8(fp32, tmp_path / "int8.onnx", rows(), method="minmax")
    assert [layer.name for layer in graph_precision(tmp_path / "int8.onnx").layers] == [
        "layers.0",
        "layers.1",
        "layers.2",
    ]
    graph = onnx.load(tmp_path / "int8.onnx").graph
    biases = [numpy_helper.to_array(t) for t in graph.initializer if t.name.endswith("/bias")]
    assert len(biases) == 3 and all(b.dtype == np.float32 for b in biases)


def test_fixed_batch_graph_is_calibrated_in_its_own_batches(tmp_path):
    source = write_mlp(tmp_path / "fp32.onnx", batch=8)
    summary = quantize_int8(source, tmp_path / "int8.onnx", rows(n=21))  # 21 is no multiple of 8
    assert summary.check["rows"] == 21
    assert onnx.load(tmp_path / "int8.onnx").graph.input[0].type.tensor_type.shape.dim[0].dim_value == 8


def test_percentile_clips_what_min_max_keeps(fp32, tmp_path):
    outlier = rows()
    outlier[0] = 1000.0
    options = {"quantizer": "onnxruntime"}  # one scale for all features; the own quantizer gives each its own
    quantize_int8(fp32, tmp_path / "minmax.onnx", outlier, method="minmax", **options)
    quantize_int8(fp32, tmp_path / "percentile.onnx", outlier, method="percentile", percentile=99.0, **options)

    def input_scale(name):
        tensors = {t.name: numpy_helper.to_array(t) for t in onnx.load(tmp_path / name).graph.initializer}
        return float(tensors["x.standard_scale"])

    assert input_scale("minmax.onnx") == pytest.approx(1000 / 127, rel=1e-2)  # symmetric: the largest value gets 127
    assert input_scale("percentile.onnx") < 0.2 * input_scale("minmax.onnx")


def test_dead_unit_and_constant_column_do_not_divide_by_zero(tmp_path):
    source = write_mlp(tmp_path / "fp32.onnx", activation="Relu")
    model = onnx.load(source)
    for tensor in model.graph.initializer:
        if tensor.name == "layers.0.weight":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros((16, 5), np.float32), tensor.name))
        if tensor.name == "layers.0.bias":
            tensor.CopyFrom(numpy_helper.from_array(-np.ones(16, np.float32), tensor.name))
    onnx.save(model, source)
    summary = quantize_int8(source, tmp_path / "int8.onnx", rows())
    assert summary.check["rmse"] < 1e-2  # the output is a constant, held by a float bias


def test_graph_without_layers_is_an_error_and_writes_nothing(tmp_path):
    node = helper.make_node("Tanh", ["x"], ["y"])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 3]) for n in "xy"]
    onnx.save(
        helper.make_model(
            helper.make_graph([node], "g", values[:1], values[1:]),
            opset_imports=[helper.make_opsetid("", 18)],
            ir_version=9,
        ),
        tmp_path / "no.onnx",
    )
    for quantize in (
        lambda: quantize_int8(tmp_path / "no.onnx", tmp_path / "out.onnx", rows(d=3)),
        lambda: quantize_fp16(tmp_path / "no.onnx", tmp_path / "out.onnx"),
    ):
        with pytest.raises(GraphError, match="layer|Gemm"):
            quantize()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["no.onnx"]


def test_nothing_quantized_is_an_error(fp32, tmp_path, monkeypatch):
    import shutil

    from regkd_edge.quantization import int8

    monkeypatch.setattr(
        int8, "_place", lambda prepared, target, *rest: shutil.copyfile(prepared, target)
    )  # a quantizer's silent no-op
    with pytest.raises(GraphError, match="no layer .* is int8.*fp32"):
        quantize_int8(fp32, tmp_path / "int8.onnx", rows(), quantizer="onnxruntime", method="minmax")
    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (rows(d=4), "4 columns, and the graph takes 5"),
        (rows(n=0), "n >= 1"),
        (np.full((3, 5), np.nan), "nan in row 0, column 0"),
        (np.zeros(5), r"shape \[5\]"),
    ],
)
def test_bad_calibration_rows(fp32, tmp_path, bad, message):
    with pytest.raises(DataError, match=message):
        quantize_int8(fp32, tmp_path / "int8.onnx", bad)


def test_bad_options_and_files(fp32, tmp_path):
    with pytest.raises(UserError, match="unknown calibration method 'median'"):
        quantize_int8(fp32, tmp_path / "o.onnx", rows(), method="median")
    with pytest.raises(UserError, match="percentile 0.99"):
        quantize_int8(fp32, tmp_path / "o.onnx", rows(), percentile=0.99)
    with pytest.raises(GraphError, match="no ONNX file"):
        quantize_int8(tmp_path / "absent.onnx", tmp_path / "o.onnx", rows())
    (tmp_path / "garbage.onnx").write_bytes(b"this is no protobuf at all")
    with pytest.raises(GraphError, match="not an ONNX graph"):
        quantize_fp16(tmp_path / "garbage.onnx", tmp_path / "o.onnx")


# -- FP16 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fp16_graph_is_close_and_its_ends_stay_float32(tmp_path, activation):
    source = write_mlp(tmp_path / "fp32.onnx", activation=activation, widths=(5, 32, 16, 2))
    summary = quantize_fp16(source, tmp_path / "fp16.onnx", check_rows=rows())
    assert summary.graph.share == {"fp16": 1.0} and summary.graph.pairs == 0
    # half precision has 11 bits: 2^-11 relative in each of three layers, summed over up to 32 products
    assert summary.check["max_abs"] < 32 * 2**-11
    assert summary.check["max_abs"] > 0  # it is FP16 that was run
    assert inputs_and_outputs(tmp_path / "fp16.onnx") == [("x", TensorProto.FLOAT), ("y", TensorProto.FLOAT)]
    assert summary.size_bytes < source.stat().st_size


def test_raw_units_beyond_fp16_do_not_overflow(tmp_path):
    mean, scale = [1.8e6, 101325.0, 3e9, 0.0, 20.0], [4e5, 900.0, 1e8, 1.0, 5.0]
    source = write_mlp(tmp_path / "fp32.onnx", mean=mean, scale=scale, y_mean=[2.5e6], y_scale=[7e5])
    x = rows(mean=mean, scale=scale)
    assert x.max() > 65504
    summary = quantize_fp16(source, tmp_path / "fp16.onnx", check_rows=x)
    y = reference_outputs(tmp_path / "fp16.onnx", x)
    assert np.isfinite(y).all() and y.max() > 65504
    assert summary.check["rmse"] < 2e-3 * 7e5


def test_scalers_are_the_only_float32_arithmetic(fp32, tmp_path):
    quantize_fp16(fp32, tmp_path / "fp16.onnx")
    model = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "fp16.onnx"), strict_mode=True)
    types = {v.name: v.type.tensor_type.elem_type for v in (*model.graph.value_info, *model.graph.output)}
    floats = {n.name for n in model.graph.node if n.op_type != "Cast" and types[n.output[0]] == TensorProto.FLOAT}
    assert floats == {"scale_in/sub", "scale_in/mul", "scale_out/mul", "scale_out/add"}
    assert sum(n.op_type == "Cast" for n in model.graph.node) == 2


def test_a_layer_that_is_the_output_and_one_read_twice(tmp_path):
    """No scaler behind the last layer, and a residual: the first layer's output is read inside and outside."""
    w = [numpy_helper.from_array(np.eye(3, dtype=np.float32) * f, n) for f, n in ((1.5, "w0"), (0.5, "w1"))]
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"], name="first"),
        helper.make_node("Add", ["a", "a"], ["twice"], name="twice"),
        helper.make_node("MatMul", ["twice", "w1"], ["y"], name="second"),
    ]
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["batch", 3]) for n in "xy"]
    onnx.save(
        helper.make_model(
            helper.make_graph(nodes, "g", values[:1], values[1:], w),
            opset_imports=[helper.make_opsetid("", 18)],
            ir_version=9,
        ),
        tmp_path / "g.onnx",
    )
    quantize_fp16(tmp_path / "g.onnx", tmp_path / "h.onnx")
    x = rows(d=3)
    np.testing.assert_allclose(
        reference_outputs(tmp_path / "h.onnx", x), 1.5 * x, rtol=2e-3, atol=1e-3
    )  # three roundings of 2^-11


def test_weight_beyond_fp16_is_refused_by_name(tmp_path):
    source = write_mlp(tmp_path / "fp32.onnx", weight_scale=1e6)
    with pytest.raises(GraphError, match=r"'layers.0.weight' of 'layers.0' holds .*65504"):
        quantize_fp16(source, tmp_path / "fp16.onnx")
    assert not (tmp_path / "fp16.onnx").exists()


def test_overflow_on_rows_is_refused(tmp_path):
    source = write_mlp(tmp_path / "fp32.onnx", activation="Relu", weight_scale=300.0)
    with pytest.raises(GraphError, match="gives (inf|-inf|nan) on a row where FP32 is finite"):
        quantize_fp16(source, tmp_path / "fp16.onnx", check_rows=rows(scale=100.0))


def test_weights_that_vanish_are_named(tmp_path):
    source = write_mlp(tmp_path / "fp32.onnx", weight_scale=1e-8)
    summary = quantize_fp16(source, tmp_path / "fp16.onnx")
    assert any("layers.0.weight" in note and "became 0" in note for note in summary.notes)


# -- counting -----------------------------------------------------------------------------------------------------


def test_multiply_adds_are_counted_by_layer(fp32):
    counted = graph_precision(fp32)
    assert [(layer.name, layer.multiply_adds) for layer in counted.layers] == [
        ("layers.0", 80),
        ("layers.1", 128),
        ("layers.2", 8),
    ]
    assert counted.label == "fp32" and counted.pairs == 0


def test_a_mixed_graph_is_labelled_by_share(fp32, tmp_path):
    quantize_int8(fp32, tmp_path / "int8.onnx", rows(), method="minmax")
    model = onnx.load(tmp_path / "int8.onnx")
    pairs = {n.output[0]: n.input[0] for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")}
    for node in model.graph.node:
        if node.name == "layers.0":  # take its pairs away by hand: 80 of 216 multiply-adds become float
            node.input[0], node.input[1] = "scale_x/mul:0", "float"
        if node.name == "layers.2":  # and its data's pair away: only the weights are rounded
            node.input[0] = pairs[pairs[node.input[0]]]
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((5, 16), np.float32), "float"))
    onnx.save(model, tmp_path / "mixed.onnx")
    counted = graph_precision(tmp_path / "mixed.onnx")
    assert counted.share == pytest.approx({"int8": 128 / 216, "fp32": 80 / 216, "int8-weights": 8 / 216})
    assert counted.label == "int8+fp32+int8-weights"


def test_convolution_counts_its_positions(tmp_path):
    w = numpy_helper.from_array(np.ones((4, 1, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    values = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 1, 8, 8]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4, 6, 6]),
    ]
    onnx.save(
        helper.make_model(
            helper.make_graph([node], "g", values[:1], values[1:], [w]),
            opset_imports=[helper.make_opsetid("", 18)],
            ir_version=9,
        ),
        tmp_path / "c.onnx",
    )
    assert graph_precision(tmp_path / "c.onnx").layers[0].multiply_adds == 4 * 9 * 36


def test_summary_is_json_without_folders(fp32, tmp_path):
    import json

    record = quantize_int8(fp32, tmp_path / "int8.onnx", rows()).to_dict()
    assert str(tmp_path) not in json.dumps(record)
    assert record["source"] == "student.fp32.onnx" and record["calibration"] == {"rows": 256, "method": "output"}
