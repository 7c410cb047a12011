"""One small run folder with real engines, measured once for all tests of the report."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from graphs import rows, write_mlp


def make_run(path, targets=("power",), features=tuple("abcde")):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from regkd_edge.api import bench
    from regkd_edge.config import RunConfig
    from regkd_edge.data import Table, save_dataset, save_predictions, split
    from regkd_edge.engines import get_backend
    from regkd_edge.graph.unoptimized import reference_outputs
    from regkd_edge.io.files import write_json
    from regkd_edge.quantization import quantize_int8
    from regkd_edge.run import RunFolder

    o = len(targets)
    run = RunFolder.create(path, RunConfig())
    run.file("onnx").mkdir()
    graph = write_mlp(run.file("onnx", "student.fp32.onnx"), widths=(5, 16, o), y_mean=[450.0] * o, y_scale=[15.0] * o)
    x = rows(n=400).astype(np.float64)
    student = reference_outputs(graph, x.astype(np.float32))
    rng = np.random.default_rng(0)
    y = student + rng.normal(0, 2, student.shape)
    parts = split(len(x), 0.15, 0.25, 0)
    save_dataset(run, Table(x, y, list(features), list(targets), str(path / "power.csv"), []), parts)
    for name, values, count in (
        ("teacher", y + rng.normal(0, 1, y.shape), 9000),
        ("baseline", student + rng.normal(0, 2, y.shape), 113),
        ("student", student, 113),
    ):
        run.file(name).mkdir()
        save_predictions(run.file(name, "predictions.npz"), values)
        write_json(run.file(name, "model.json"), {"format": 1, "spec": "mlp:16:tanh", "parameters": count})
        run.file(name, "model.safetensors").write_bytes(b"\0" * 4 * count)
    quantize_int8(graph, run.file("onnx", "student.int8.onnx"), x[parts.train].astype(np.float32))
    folders = [run.file("engines", f"onnxruntime.{p}") for p in ("fp32", "int8")]
    for folder, precision in zip(folders, ("fp32", "int8")):
        get_backend("onnxruntime").build(run.file("onnx", f"student.{precision}.onnx"), folder)
    test = parts.test
    measured = bench(
        folders,
        x[test],
        y[test],
        teacher=y[test],
        reference=student[test],
        target_names=list(targets),
        batches=[1, 16],
        samples=1000,
        warmup=1,
        sweep=False,
    )
    measured.save(run.file("bench"))
    return run


@pytest.fixture(scope="session")
def measured_run(tmp_path_factory):
    """Read only; copy it with ``run_copy`` to change it."""
    return make_run(tmp_path_factory.mktemp("report") / "pump")


@pytest.fixture
def run_copy(measured_run, tmp_path):
    from regkd_edge.run import RunFolder

    return RunFolder(shutil.copytree(measured_run.path, tmp_path / "pump"))
