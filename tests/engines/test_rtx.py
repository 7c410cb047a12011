"""NVIDIA's real parser, type checker and builder on the CPU, and our lint beside it.

Right graphs compile for GPUs that are not here, wrong ones are refused.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from graphs import ACTIVATIONS, rows, write_mlp
from wrong_graphs import WRONG, write_wrong

from regkd_edge.engines import get_backend, load_runner, read_manifest
from regkd_edge.engines.lint import TRIED, lint
from regkd_edge.engines.precheck import check_graphs
from regkd_edge.errors import GraphError, NotAvailable, UserError

# Names that an export of torch may bring beside those that ONNX has one operator for.
STUDENTS = (*ACTIVATIONS, "Sigmoid", "Gelu")
ACTIVATION_NAMES = ("identity", "relu", "leaky_relu", "elu", "silu", "gelu", "gelu_tanh", "tanh", "softplus")


def precisions(folder, activation):
    """The student in every precision -> file."""
    from regkd_edge.quantization import quantize_fp16, quantize_int8, quantize_layers

    paths = {
        name: folder / f"{activation}.{name}.onnx" for name in ("fp32", "fp16", "bf16", "int8", "int8-weights", "fp8")
    }
    if activation == "Gelu":  # an operator since opset 20
        import onnx

        model = onnx.load(write_mlp(paths["fp32"], widths=(20, 64, 64, 2)))
        for node in model.graph.node:
            node.op_type = "Gelu" if node.op_type == "Tanh" else node.op_type
        model.opset_import[0].version = 20
        onnx.save(model, paths["fp32"])
    else:
        write_mlp(paths["fp32"], widths=(20, 64, 64, 2), activation=activation)
    quantize_fp16(paths["fp32"], paths["fp16"])
    quantize_int8(paths["fp32"], paths["int8"], rows(64, 20))
    for name in ("bf16", "int8-weights", "fp8"):
        quantize_layers(paths["fp32"], paths[name], rows(64, 20), name, corrections=())
    return paths


@pytest.mark.parametrize("activation", STUDENTS)
def test_students_of_every_activation_compile_in_every_precision(rtx, tmp_path, activation):
    for name, path in precisions(tmp_path, activation).items():
        manifest = get_backend("tensorrt-rtx").build(path, tmp_path / name, {"max_batch": 64})
        assert manifest.precision.startswith(name), (name, manifest.precision)
        assert manifest.options["architectures"] == (["89", "120"] if name == "fp8" else ["80", "86", "89", "120"])
        assert (manifest.batch, manifest.max_batch) == (None, 64) and manifest.size_bytes > 10_000
        assert read_manifest(tmp_path / name) == manifest
        assert [finding for finding in lint(path, "desktop-fp8") if finding.level == "error"] == []


FAMILIES = [
    *((f"conv2d:6x3,8d3/2,flat,5:{activation}", (2, 9, 7)) for activation in ACTIVATION_NAMES),
    ("conv2d:4x5/4,gap:relu:channels-last", (9, 7, 3)),
    ("conv1d:6x5/3,8d7/2,gap,12:tanh", (2, 50)),
    ("gru:7", (20, 3)),
    ("gru:5,7:channels-first", (3, 20)),
]


@pytest.mark.parametrize(("spec", "shape"), FAMILIES, ids=[spec for spec, _ in FAMILIES])
def test_convolutions_and_grus_compile_in_fp32_fp16_and_int8(rtx, tmp_path, spec, shape):
    from regkd_edge.data import Scalers
    from regkd_edge.export import export_onnx
    from regkd_edge.models import build
    from regkd_edge.quantization import quantize_fp16, quantize_int8

    d = int(np.prod(shape))
    fp32 = export_onnx(build(spec, d, 2, 0, shape=shape), Scalers.identity(d, 2), tmp_path / "fp32.onnx")
    x = np.random.default_rng(0).normal(size=(60, d)).astype(np.float32)
    quantize_fp16(fp32, tmp_path / "fp16.onnx")
    quantize_int8(fp32, tmp_path / "int8.onnx", x, corrections=("bias",))
    quantize_int8(fp32, tmp_path / "split.onnx", x)
    for name in ("fp32", "fp16", "int8", "split"):
        path = tmp_path / f"{name}.onnx"
        manifest = get_backend("tensorrt-rtx").build(path, tmp_path / name, {"max_batch": 16})
        assert manifest.inputs[0]["shape"] == ["batch", *shape] and manifest.size_bytes > 10_000
        assert [finding for finding in lint(path, "jetson-orin") if finding.level == "error"] == []


# in the students above
ELSEWHERE = {"Cast", "Conv", "DequantizeLinear", "GRU", "Gemm", "GlobalAveragePool", "MatMul", "QuantizeLinear"}
ATTRIBUTES = {"Clip": {}, "Flatten": {"axis": 1}, "Transpose": {"perm": [0, 1]}}
OPERANDS = {
    "Pow": np.float32(2),
    "Reshape": np.array([-1, 20]),
    "Unsqueeze": np.array([1]),
    "Squeeze": np.array([1]),
    **{name: np.full(20, 0.5, np.float32) for name in ("Add", "Div", "Max", "Min", "Mul", "Sub")},
}


@pytest.mark.parametrize("operator", sorted(TRIED - ELSEWHERE))
def test_every_operator_that_the_lint_lets_pass_is_built(rtx, tmp_path, operator):
    """Behind the scaler of a student: |x| for those that want positive numbers, a fixed batch for those that move
    it.
    """
    import onnx
    from onnx import helper, numpy_helper

    model = onnx.load(write_mlp(tmp_path / "student.onnx", widths=(20, 8, 1), batch=4))
    first = next(node for node in model.graph.node if node.op_type == "Gemm")
    data = [first.input[0]]
    nodes = [helper.make_node("Mul", data * 2, ["positive"], name="positive")]  # a square
    inputs = ["positive"]
    if operator == "Squeeze":
        model.graph.initializer.append(numpy_helper.from_array(np.array([1]), "one"))
        nodes.append(helper.make_node("Unsqueeze", ["positive", "one"], ["wide"], name="wide"))
        inputs = ["wide"]
    if operator in OPERANDS:
        model.graph.initializer.append(numpy_helper.from_array(OPERANDS[operator], "operand"))
        inputs.append("operand")
    if operator == "Constant":
        value = numpy_helper.from_array(np.ones(20, np.float32))
        nodes.append(helper.make_node("Constant", [], ["ones"], name="ones", value=value))
        nodes.append(helper.make_node("Add", ["positive", "ones"], ["tried"], name="tried"))
    else:
        nodes.append(helper.make_node(operator, inputs, ["tried"], name="tried", **ATTRIBUTES.get(operator, {})))
    if operator == "Unsqueeze":
        nodes.append(helper.make_node("Flatten", ["tried"], ["flat"], name="flat", axis=1))
    first.input[0] = nodes[-1].output[0]
    place = list(model.graph.node).index(first)
    for offset, node in enumerate(nodes):
        model.graph.node.insert(place + offset, node)
    model.opset_import[0].version = 20
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, tmp_path / "tried.onnx")
    assert lint(tmp_path / "tried.onnx", "desktop") == []
    assert get_backend("tensorrt-rtx").build(tmp_path / "tried.onnx", tmp_path / "engine").size_bytes > 0


def test_a_plan_is_the_same_bytes_each_time(rtx, tmp_path):
    path = write_mlp(tmp_path / "a.onnx", widths=(20, 32, 1))
    plans = [get_backend("tensorrt-rtx").build(path, tmp_path / name).engine_sha256 for name in "ab"]
    assert plans[0] == plans[1]


@pytest.mark.parametrize(("profile", "kept"), [("none", [1, 1, 1]), ("8", [8, 8, 8]), ("1,2,16", [1, 2, 16])])
def test_the_profile_is_what_was_asked_for_and_else_a_static_batch_of_one(rtx, tmp_path, profile, kept):
    from regkd_edge.config import RunConfig

    config = RunConfig.from_dict({"build": {"profile": profile}, "bench": {"batches": [4, 1, 64]}})
    manifest = get_backend("tensorrt-rtx").build(
        write_mlp(tmp_path / "a.onnx"), tmp_path / "engine", config.build.options("tensorrt-rtx")
    )
    assert [manifest.options[f"{name}_batch"] for name in ("min", "opt", "max")] == kept
    assert manifest.batch == {"none": 1, "8": 8}.get(profile)
    with pytest.raises(UserError, match="in this order"):
        config.updated({"build.profile": "4,1,64"})


def test_without_options_a_dynamic_graph_gets_a_static_batch_of_one(rtx, tmp_path):
    manifest = get_backend("tensorrt-rtx").build(write_mlp(tmp_path / "a.onnx"), tmp_path / "engine")
    assert (manifest.batch, manifest.max_batch) == (1, 1)


def test_a_fixed_batch_is_kept(rtx, tmp_path):
    manifest = get_backend("tensorrt-rtx").build(write_mlp(tmp_path / "a.onnx", batch=4), tmp_path / "engine")
    assert (manifest.batch, manifest.max_batch, manifest.inputs[0]["shape"]) == (4, 4, [4, 5])


# Two rules are ours: the runner wants a fixed number of features, and an opset beyond the documented ones is read on by
# the parser, which may misunderstand it.
@pytest.mark.parametrize("kind", [kind for kind in WRONG if kind not in ("dynamic_features", "future_opset")])
def test_what_the_lint_refuses_nvidia_refuses_too(rtx, tmp_path, kind):
    path = write_wrong(kind, tmp_path / "wrong.onnx", tmp_path)
    with pytest.raises(GraphError) as error:
        get_backend("tensorrt-rtx").build(path, tmp_path / "engine")
    assert "tensorrt-rtx" in str(error.value) or "TensorRT" in str(error.value)
    assert not (tmp_path / "engine" / "manifest.json").exists()


def test_fp8_for_a_gpu_without_it_is_refused_by_nvidia_too(rtx, tmp_path):
    from regkd_edge.quantization import quantize_layers

    source = write_mlp(tmp_path / "source.onnx", widths=(20, 32, 1))
    quantize_layers(source, tmp_path / "fp8.onnx", rows(64, 20), "fp8", corrections=())
    with pytest.raises(GraphError, match="sm_86"):
        get_backend("tensorrt-rtx").build(tmp_path / "fp8.onnx", tmp_path / "engine", {"architectures": ["86"]})


def test_architectures_that_it_lacks_are_refused_by_name(rtx, tmp_path):
    path = write_mlp(tmp_path / "a.onnx")
    with pytest.raises(UserError, match="no architecture '87'.*a Jetson builds its own"):
        get_backend("tensorrt-rtx").build(path, tmp_path / "engine", {"architectures": ["87"]})
    with pytest.raises(UserError, match="no architecture is given"):
        get_backend("tensorrt-rtx").build(path, tmp_path / "engine", {"architectures": []})


def test_loading_looks_for_a_gpu_before_it_touches_a_runtime(rtx, tmp_path, monkeypatch):
    from regkd_edge.engines import gpu

    get_backend("tensorrt-rtx").build(write_mlp(tmp_path / "a.onnx"), tmp_path / "engine")
    monkeypatch.setattr(gpu, "_LIBRARY", "libcuda-that-is-not-there.so.1")
    assert "no NVIDIA driver" in get_backend("tensorrt-rtx").cannot_run()
    with pytest.raises(NotAvailable, match="no NVIDIA driver"):
        load_runner(tmp_path / "engine")


def test_check_asks_nvidia_where_it_can(rtx, tmp_path):
    good = write_mlp(tmp_path / "good.onnx", widths=(20, 32, 1))
    found = check_graphs({"fp32": good}, "jetson-orin")
    assert not found.refused and found.rows[0]["level"] == "fits"
    assert any(
        "tensorrt-rtx" in note and "sm_86" in note and "does not prove that kernels exist" in note
        for note in found.notes
    )


def test_check_says_when_nvidia_was_not_asked(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)  # what an absent package does
    good = write_mlp(tmp_path / "good.onnx", widths=(20, 32, 1))
    wrong = write_wrong("uint8", tmp_path / "wrong.onnx", tmp_path)
    found = check_graphs({"good": good, "wrong": wrong}, "desktop")
    assert any("was not used: the package tensorrt-rtx is not installed" in note for note in found.notes)
    assert found.refused and {row["graph"] for row in found.rows if row["level"] == "error"} == {"wrong"}
    json.dumps(found.rows)
    with pytest.raises(NotAvailable, match=r"tensorrt-rtx is not installed.*regkd-edge\[rtx\]"):
        get_backend("tensorrt-rtx").build(good, tmp_path / "engine")
