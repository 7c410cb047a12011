"""Stage ``export``: the student with its scalers as ONNX, checked against the torch student on the held-out rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..data import load_dataset
from ..run import RunFolder
from ..run.consented import require_student
from . import Stage, StageProgress

__all__ = ["STAGE"]


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    return {"export_batch": config.export_batch}


def _work(run: RunFolder, config: RunConfig, progress: StageProgress) -> tuple[list[Path], dict[str, Any]]:
    from ..models import Student

    require_student(config)
    dataset = load_dataset(run)
    student = Student.load(run.file("student"), factory=config.distill.student)
    path = run.file("onnx", "student.fp32.onnx")
    graph = student.export(path, batch=config.export_batch, check=dataset.rows("test")[0])
    return [path], {
        "graph": run.relative(path),
        "bytes": graph.size_bytes,
        "rows_checked": graph.summary["check"]["rows"],
        "targets": graph.summary["check"]["targets"],  # the largest difference of each, in its own unit
    }


STAGE = Stage("export", "distill", ("data", "distill"), _inputs, _work)
