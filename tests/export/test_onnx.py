"""The exported graph: raw units in and out, the same function, readable, old enough for the devices."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from regkd_edge.data import Scaler, Scalers  # noqa: E402
from regkd_edge.errors import GraphError, RunFolderError  # noqa: E402
from regkd_edge.export import check_onnx, export_onnx  # noqa: E402
from regkd_edge.models import ACTIVATIONS, build, predict  # noqa: E402

MEAN, SCALE = np.array([1.8e6, -3.0, 0.0, 20.0]), np.array([4e5, 0.1, 1.0, 7.0])
SCALERS = Scalers(Scaler(MEAN, SCALE), Scaler([300.0, -1.0], [25.0, 0.05]))


def rows(n, seed=0):
    return np.random.default_rng(seed).normal(
        MEAN, 3 * SCALE, (n, 4)
    )  # 3 deviations: into the tails of every activation


def network(activation):
    module = build(f"mlp:16,8:{activation}", 4, 2, 3)
    with torch.no_grad():
        for layer in module.layers:
            layer.weight.mul_(4)  # beyond the linear range of the activations
    return module


@pytest.mark.parametrize("batch", ["dynamic", 1, 5])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_round_trip(tmp_path, activation, batch):
    module = network(activation)
    path = export_onnx(module, SCALERS, tmp_path / "s.onnx", batch=batch)
    x = rows(23)
    differences = check_onnx(path, module, SCALERS, x)  # 0: float32 differs from the float64 reference somewhere
    assert differences.shape == (2,) and (differences > 0).all() and (differences < 1e-3 * SCALERS.y.scale).all()
    assert 100 < differences[0] / differences[1] < 2500  # each in its own unit: the scales differ by 500
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch" if batch == "dynamic" else batch, 4]
    size = 23 if batch == "dynamic" else batch
    y = session.run(["y"], {"x": x[:size].astype(np.float32)})[0]
    assert y.dtype == np.float32 and y.shape == (size, 2)
    # float32 resolves inputs of -3 +- 0.1 to 2e-6 deviations; weights of about 2 in three layers amplify that some 10
    # times
    expected = predict(module, SCALERS, x[:size])
    assert (np.abs(y - expected) < 2e-5 * np.maximum(SCALERS.y.scale, np.abs(expected - SCALERS.y.mean))).all()


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_only_plain_old_operators_and_readable_names(tmp_path, activation):
    model = onnx.load(export_onnx(network(activation), SCALERS, tmp_path / "s.onnx"))
    assert model.ir_version == 8 and [(i.domain, i.version) for i in model.opset_import] == [("", 18)]
    names = [node.name for node in model.graph.node]
    assert [n for n in names if n.endswith("gemm")] == ["layer0/gemm", "layer1/gemm", "layer2/gemm"]
    assert names[:2] == ["scale_x/sub", "scale_x/mul"] and names[-2:] == ["scale_y/mul", "scale_y/add"]
    assert all(n.split("/")[1] == activation for n in names if n.startswith("layer") and not n.endswith("gemm"))
    assert {i.name for i in model.graph.initializer} >= {"layer0/weight", "layer2/bias", "scale_x/mean"}
    assert not model.graph.initializer[0].external_data


def test_the_same_student_gives_the_same_bytes_and_carries_its_facts(tmp_path):
    module = network("silu")
    facts = {"feature_names": ["p", "Öl", "q", "r"], "target_names": ["u", "v"]}
    a, b = (export_onnx(module, SCALERS, tmp_path / name, **facts) for name in ("a.onnx", "b.onnx"))
    assert a.read_bytes() == b.read_bytes()
    props = {p.key: p.value for p in onnx.load(a).metadata_props}
    assert props["regkd.spec"] == "mlp:16,8:silu" and props["regkd.units"] == "raw"
    assert json.loads(props["regkd.feature_names"]) == facts["feature_names"]


def test_a_graph_of_another_network_is_found_out(tmp_path):
    module = network("tanh")
    path = export_onnx(module, SCALERS, tmp_path / "s.onnx")
    with torch.no_grad():
        module.layers[1].weight[0, 0] += 1e-3
    with pytest.raises(GraphError, match="differs from its network by"):
        check_onnx(path, module, SCALERS, rows(50))


def test_a_target_too_coarse_for_float32_is_named(tmp_path):
    y = Scaler([1.0, *SCALERS.y.mean[1:]], [1e-6, *SCALERS.y.scale[1:]])  # float32 steps of 1e-7 at a deviation of 1e-6
    module, scalers = network("tanh"), Scalers(SCALERS.x, y)
    path = export_onnx(module, scalers, tmp_path / "s.onnx")
    names = ["offset [V]", "other"][: len(y.mean)]
    with pytest.raises(
        GraphError, match=r"in offset \[V\], more than .* for this target, whose values are near 1"
    ) as error:
        check_onnx(path, module, scalers, rows(50), names)
    assert "offset from this target" in str(error.value)


def test_inputs_too_coarse_for_float32_are_found_out(tmp_path):
    scalers = Scalers(Scaler([1e8, 0, 0, 0], [10.0, 1, 1, 1]), SCALERS.y)  # float32 steps of 8 at a deviation of 10
    module = network("tanh")
    path = export_onnx(module, scalers, tmp_path / "s.onnx")
    x = np.random.default_rng(0).normal([1e8, 0, 0, 0], [10, 1, 1, 1], (20, 4))
    with pytest.raises(GraphError, match="float32 is too coarse for the raw inputs"):
        check_onnx(path, module, scalers, x)


def test_what_cannot_be_exported_is_refused(tmp_path):
    module = network("relu")
    with pytest.raises(GraphError, match="a Sequential cannot be exported"):
        export_onnx(nn.Sequential(), SCALERS, tmp_path / "s.onnx")
    with pytest.raises(GraphError, match="4 inputs and 2 outputs, and its scalers 3 and 2"):
        export_onnx(module, Scalers.identity(3, 2), tmp_path / "s.onnx")
    for batch in (0, True, "many", 2.0):
        with pytest.raises(GraphError, match="expected 'dynamic' or a whole number"):
            export_onnx(module, SCALERS, tmp_path / "s.onnx", batch=batch)
    with torch.no_grad():
        module.layers[0].bias[0] = float("nan")
    with pytest.raises(GraphError, match="'layer0/bias' holds a value that is not finite in float32"):
        export_onnx(module, SCALERS, tmp_path / "s.onnx")
    assert not list(tmp_path.iterdir())


def test_broken_and_foreign_files_are_refused(tmp_path):
    module = network("relu")
    path = export_onnx(module, SCALERS, tmp_path / "s.onnx")
    with pytest.raises(GraphError, match="takes 4 inputs and gives 2 outputs, expected 4 and 1"):
        check_onnx(path, module, Scalers(SCALERS.x, Scaler([0.0], [1.0])), rows(2))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(GraphError, match="does not load in ONNX Runtime"):
        check_onnx(path, module, SCALERS, rows(2))
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot write"):
        export_onnx(module, SCALERS, tmp_path / "file" / "s.onnx")
