"""Stage ``export``: the student with its scalers as ONNX, checked against the torch student on the held-out rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..run import RunFolder
from . import Stage, StageProgress

__all__ = ["STAGE"]


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    return {"batch_size": config.batch_size}


def _work(run: RunFolder, config: RunConfig, progress: StageProgress) -> tuple[list[Path], dict[str, Any]]:
    from ..data import load_dataset
    from ..export import check_onnx, export_onnx
    from ..models import load_model

    dataset = load_dataset(run)
    student = load_model(run.file("student"), factory=config.distill.student)
    path = run.file("onnx", "student.fp32.onnx")
    export_onnx(
        student.module,
        student.scalers,
        path,
        batch=config.batch_size,
        feature_names=dataset.table.feature_names,
        target_names=dataset.table.target_names,
        spec=str(student.spec),
    )
    x, _ = dataset.rows("test")
    difference = check_onnx(path, student.module, student.scalers, x)
    return [path], {
        "graph": run.relative(path),
        "bytes": path.stat().st_size,
        "rows_checked": len(x),
        "max_difference": difference,
    }


STAGE = Stage("export", "distill", ("data", "distill"), _inputs, _work)
