"""The lint: what TensorRT on a target would refuse is told without it, and what the quantizers write is left alone."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import ACTIVATIONS, rows, write_mlp
from wrong_graphs import SAID, WRONG, write_wrong

from regkd_edge.config.platforms import PLATFORMS, formats_of, get_platform
from regkd_edge.engines.lint import lint
from regkd_edge.errors import GraphError, UserError

pytest.importorskip("onnx")


def errors(path, target="jetson-orin", tensorrt=None):
    return [finding for finding in lint(path, target, tensorrt) if finding.level == "error"]


@pytest.mark.parametrize("target", PLATFORMS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_what_the_quantizers_write_fits_every_target(tmp_path, activation, target):
    from regkd_edge.quantization import quantize_fp16, quantize_int8

    source = write_mlp(tmp_path / "fp32.onnx", widths=(20, 32, 2), activation=activation)
    quantize_fp16(source, tmp_path / "fp16.onnx")
    quantize_int8(source, tmp_path / "int8.onnx", rows(64, 20))
    for name in ("fp32", "fp16", "int8"):
        assert lint(tmp_path / f"{name}.onnx", target) == []


@pytest.mark.parametrize("kind", WRONG)
def test_each_wrong_graph_is_refused_for_what_is_wrong(tmp_path, kind):
    found = errors(write_wrong(kind, tmp_path / "wrong.onnx", tmp_path))
    assert any(SAID[kind] in finding.what for finding in found), found
    assert all(finding.remedy for finding in found)


@pytest.mark.parametrize(
    ("kind", "node"),
    [
        ("dynamic_quantize", "dynamic"),
        ("integer_product", "one.product"),
        ("foreign_operator", "layers.0"),
        ("mixed_types", "scale_out/add"),
    ],
)
def test_the_node_is_named(tmp_path, kind, node):
    assert node in {finding.node for finding in errors(write_wrong(kind, tmp_path / "wrong.onnx", tmp_path))}


def test_a_finding_is_an_error_or_a_warning_and_errors_come_first(tmp_path):
    import onnx

    model = onnx.load(write_wrong("uint8", tmp_path / "wrong.onnx", tmp_path))
    next(node for node in model.graph.node if node.op_type == "Tanh").op_type = "Sin"
    onnx.save(model, tmp_path / "odd.onnx")
    levels = [finding.level for finding in lint(tmp_path / "odd.onnx", "desktop")]
    assert levels == sorted(levels) and levels[-1] == "warning"
    assert "Sin has not been tested" in lint(tmp_path / "odd.onnx", "desktop")[-1].what


def fp8(path):
    from regkd_edge.quantization import quantize_layers

    source = write_mlp(path.with_name("source.onnx"), widths=(20, 32, 1))
    quantize_layers(source, path, rows(64, 20), "fp8", corrections=())
    return path


def test_fp8_is_refused_where_the_gpu_has_none(tmp_path):
    graph = fp8(tmp_path / "fp8.onnx")
    [found] = errors(graph, "jetson-orin")
    assert "jetson-orin (sm_87) has no fp8" in found.what
    assert "desktop (sm_86) has no fp8" in errors(graph, "desktop")[0].what
    assert errors(graph, "jetson-thor") == errors(graph, "desktop-fp8") == []


def test_opsets_are_those_of_the_version_on_the_device(tmp_path):
    import onnx

    model = onnx.load(write_mlp(tmp_path / "a.onnx"))
    model.opset_import[0].version = 23
    onnx.save(model, tmp_path / "b.onnx")
    assert (
        "opset 23, and TensorRT 10.3 supports 9 to 20" in errors(tmp_path / "b.onnx")[0].what
    )  # the oldest JetPack by default
    assert errors(tmp_path / "b.onnx", tensorrt="10.16") == []
    assert errors(tmp_path / "b.onnx", "jetson-thor", "11.4") == []


def test_a_file_that_is_no_graph_is_an_error_of_its_own(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"no graph")
    with pytest.raises(GraphError):
        lint(tmp_path / "a.onnx", "desktop")


def test_integer_and_half_inputs_are_refused(tmp_path):
    import onnx

    for value, kind in ((10, "float16"), (7, "int64"), (11, "double")):
        model = onnx.load(write_mlp(tmp_path / "a.onnx"))
        model.graph.input[0].type.tensor_type.elem_type = value
        onnx.save(model, tmp_path / "b.onnx")
        assert any(f"input 'x' is {kind}" in finding.what for finding in errors(tmp_path / "b.onnx"))


def test_targets_are_known_by_name():
    for name in PLATFORMS:
        assert get_platform(name).version() >= (10, 3)
    with pytest.raises(UserError, match="unknown platform 'jetson-nano'.*jetson-orin"):
        get_platform("jetson-nano")
    with pytest.raises(UserError, match=r"8\.6 is not supported"):
        get_platform("desktop").version("8.6")


def test_formats_grow_with_the_architecture():
    assert "fp8" not in formats_of(87) and "fp8" in formats_of(89) and "bf16" not in formats_of(75)
    sizes = [len(formats_of(sm)) for sm in (75, 80, 86, 87, 89, 90, 110, 120)]
    assert sizes == sorted(sizes)
    assert np.all(["int8" in formats_of(sm) for sm in (75, 87, 120)])
