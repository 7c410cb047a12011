"""Stage ``distill``: the student by its recipe, and by its base alone for comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..run import RunFolder
from . import Progress, Stage

__all__ = ["STAGE"]


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    return {"distill": config.distill.model_dump(mode="json"), "seed": config.seed}


def _work(run: RunFolder, config: RunConfig, progress: Progress) -> tuple[list[Path], dict[str, Any]]:
    from ..data import load_dataset
    from ..distill import baseline, distill, save_trained
    from ..models import load_teacher

    dataset = load_dataset(run)
    teacher = load_teacher(config.teacher, dataset, run.file("teacher"))
    paths: list[Path] = []
    summary: dict[str, Any] = {}
    students = [("student", distill)]
    if config.distill.baseline and config.distill.terms:
        students.insert(0, ("baseline", baseline))
    for name, train in students:
        trained = train(
            dataset,
            teacher,
            config.distill,
            config.seed,
            progress=lambda *figures, name=name: progress(name, *figures),
            checkpoint=run.file("checkpoint", name),
        )
        written, summary[name] = save_trained(run.file(name), trained, dataset)
        paths += written
    return paths, summary


STAGE = Stage("distill", "distill", ("data", "teacher"), _inputs, _work)
