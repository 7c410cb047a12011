"""A run folder is made by the functions of the Python API, and by nothing else."""

from __future__ import annotations

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from regkd_edge import api
from regkd_edge.config import RunConfig
from regkd_edge.run import STAGES, RunFolder
from regkd_edge.stages import perform

CONFIG = {
    "data": {"data": "diabetes"},
    "teacher": {"teacher": "mlp:8:tanh", "epochs": 3},
    "distill": {"student": "mlp:4:tanh", "recipe": "kang2024", "steps": 40, "evaluate_every": 20},
    "quantize": {"precision": ["fp16", "int8"], "corrections": "none"},
    "bench": {"batches": [1], "samples": 10, "warmup": 0, "sweep": False},
}


def test_every_stage_calls_the_api(tmp_path, monkeypatch):
    calls: list[tuple[str, object]] = []

    def seen(name):
        real = getattr(api, name)

        def call(*given, **options):
            calls.append((name, options.get("base_alone", given[1] if name == "quantize" else None)))
            return real(*given, **options)

        monkeypatch.setattr(api, name, call)

    for name in ("train_teacher", "distill", "quantize", "build", "bench"):
        seen(name)
    run, config = RunFolder.create(tmp_path / "run", RunConfig()), RunConfig.from_dict(CONFIG)
    run.write_config(config)
    with run.lock():
        for stage in STAGES:
            perform(run, config, stage, lambda *figures: None)
    assert [name for name, _ in calls] == [
        "train_teacher", "distill", "distill", "quantize", "quantize", "build", "build", "build",
        "bench",
    ]  # fmt: skip
    assert [about for _, about in calls[1:5]] == [True, False, "fp16", "int8"]
    assert (tmp_path / "run" / "report.html").is_file()


def test_the_student_of_a_run_is_that_of_the_api(tmp_path):
    """Same rows, same configuration, same bits."""
    from regkd_edge.data import load_dataset
    from regkd_edge.models import Student

    config = RunConfig.from_dict(CONFIG)
    run = RunFolder.create(tmp_path / "run", config)
    with run.lock():
        for stage in STAGES[:3]:
            perform(run, config, stage, lambda *figures: None)
    data = load_dataset(run)
    teacher = api.train_teacher(data, config=config.teacher, seed=config.seed)
    student = api.distill(teacher, data, config=config.distill, seed=config.seed)
    stored = Student.load(run.file("student"))
    assert (stored.predict(data.x) == student.predict(data.x)).all()
    assert student.trained.history and stored.trained is None
