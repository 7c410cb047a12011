"""A change removes only what it made wrong, says what, and keeps the rest."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from regkd_edge.config import RunConfig
from regkd_edge.run import STAGES, RunFolder
from regkd_edge.stages import perform, stale_reason


def quiet(*figures):
    """A progress callback that shows nothing."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 3))
    np.savetxt(folder / "t.csv", np.column_stack([x, x.sum(1)]), delimiter=",", header="a,b,c,y", comments="")
    config = RunConfig.from_dict(
        {
            "data": {"data": str(folder / "t.csv"), "target": ["y"]},
            "teacher": {"teacher": "mlp:6:relu", "epochs": 2},
            "distill": {
                "student": "mlp:8:relu",
                "steps": 20,
                "evaluate_every": 10,
                "compute": "torch",
                "accept_teacher": True,
            },
            "quantize": {"precision": ["fp16", "int8"]},
            "build": {"backend": ["onnxruntime", "native"], "c_header": "pump"},
            "bench": {"samples": 20, "warmup": 2, "batches": [1], "sweep": False},
        }
    )
    run = RunFolder.create(folder / "run", config)
    for stage in STAGES:
        perform(run, config, stage, quiet)
    return run, config


@pytest.fixture
def whole(finished, tmp_path):
    import shutil

    run, config = finished
    shutil.copytree(run.path, tmp_path / "run")
    return RunFolder(tmp_path / "run"), config


def files(run):
    """Every file with what identifies its content."""
    return {
        path.relative_to(run.path).as_posix(): path.read_bytes()
        for path in run.path.rglob("*")
        if path.is_file() and path.name not in (".lock", "state.json")
    }


def test_asking_for_one_precision_keeps_the_others_their_engines_the_header_and_the_report(whole):
    run, config = whole
    before = files(run)
    changed = config.updated({"quantize.precision": ["int8"]})
    done = perform(run, changed, "quantize", quiet)
    assert (done.ran, done.kept, done.removed) == (False, ["fp16"], [])
    assert files(run) == before
    assert all(stale_reason(run, changed, stage) is None for stage in STAGES)


def test_another_precision_adds_a_graph_and_its_engines_and_redoes_nothing_else(whole):
    run, config = whole
    before = files(run)
    changed = config.updated({"quantize.precision": ["fp8"]})
    done = perform(run, changed, "quantize", quiet)
    assert done.ran and done.kept == ["fp16", "int8"] and done.removed == []
    perform(run, changed, "build", quiet)
    after = files(run)
    assert {name: content for name, content in after.items() if name in before} == before
    assert any(name.startswith("onnx/student.") and name not in before for name in after)
    assert not perform(run, changed, "build", quiet).ran


def test_another_method_makes_the_int8_graph_again_and_removes_what_was_made_of_it_alone(whole):
    run, config = whole
    before = files(run)
    changed = config.updated({"quantize.method": "entropy"})
    done = perform(run, changed, "quantize", quiet)
    after = files(run)
    same = run.known_outputs("quantize")["onnx/student.int8.onnx"]
    assert done.ran and same
    gone = before.keys() - after.keys()
    if before["onnx/student.int8.onnx"] == after["onnx/student.int8.onnx"]:
        assert gone == set()
    else:
        assert {"report.html", "report.json", "bench/onnxruntime.int8.json"} <= gone
        assert all("int8" in name or name.startswith("report") for name in gone)
        assert {"engines/onnxruntime.int8", "report.html"} <= set(done.removed)
    for name in ("onnx/student.fp16.onnx", "engines/native.fp32/pump.h", "bench/onnxruntime.fp16.json"):
        assert after[name] == before[name]


def test_a_part_that_is_not_requested_and_no_longer_right_is_removed_and_named(whole):
    run, config = whole
    changed = config.updated({"quantize.precision": ["fp16"], "quantize.method": "entropy"})
    done = perform(run, changed, "quantize", quiet)
    assert "onnx/student.int8.onnx" in done.removed and not run.file("onnx", "student.int8.onnx").exists()
    assert run.file("onnx", "student.fp16.onnx").exists() and run.file("engines", "onnxruntime.fp16").is_dir()


def test_a_changed_file_is_made_again_and_nothing_else(whole):
    run, config = whole
    kept = run.file("engines", "onnxruntime.fp32", "manifest.json").stat().st_mtime_ns
    path = run.file("engines", "native.fp32", "engine.rkdn")
    path.write_bytes(b"tampered")
    assert "native.fp32" in stale_reason(run, config, "build")
    assert perform(run, config, "build", quiet).ran
    assert path.read_bytes() != b"tampered"
    assert run.file("engines", "onnxruntime.fp32", "manifest.json").stat().st_mtime_ns == kept


def test_a_baseline_that_was_finished_before_an_interruption_is_not_trained_again(whole, monkeypatch):
    import regkd_edge.training as training

    run, config = whole
    changed = config.updated({"distill.w_gm": 0.3})

    def stop(*args, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, "distill", stop)
        with pytest.raises(KeyboardInterrupt):
            perform(run, changed, "distill", quiet)
    assert run.record("distill") is None
    written = run.file("baseline", "model.safetensors").stat().st_mtime_ns
    monkeypatch.setattr(training, "baseline", stop)
    assert perform(run, changed, "distill", quiet).ran
    assert run.file("baseline", "model.safetensors").stat().st_mtime_ns == written
    assert set(run.record("distill")["parts"]) == {"baseline", "student"}
