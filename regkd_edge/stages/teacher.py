"""Stage ``teacher``: a network trained on the labels, or one from another run or a factory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..errors import RunFolderError
from ..run import RunFolder
from . import Progress, Stage, external_hash

__all__ = ["STAGE", "teacher_files"]


def teacher_files(config: RunConfig) -> list[str]:
    """Return the paths outside the run that the teacher comes from."""
    teacher = config.teacher
    if teacher.from_run:
        return [str(Path(teacher.from_run) / "teacher" / name) for name in ("model.json", "model.safetensors")]
    return [teacher.weights] if teacher.weights else []


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    section = config.teacher
    if section.from_run and Path(section.from_run).resolve() == run.path.resolve():
        raise RunFolderError(
            f"the run '{run.path}' cannot take its own teacher from itself.",
            "Leave out --from-run: 'distill' uses the run's teacher. Or name another run.",
        )
    if section.from_run or section.factory:
        options = section.model_dump(mode="json", include={"factory", "inputs"})
    else:
        options = section.model_dump(mode="json", exclude={"from_run", "factory", "weights", "inputs"})
    return {
        "options": options,
        "seed": config.seed,
        "external": [external_hash(run, "teacher", path) for path in teacher_files(config)],
    }


def _work(run: RunFolder, config: RunConfig, progress: Progress) -> tuple[list[Path], dict[str, Any]]:
    from ..data import load_dataset
    from ..models import save_teacher, teacher_for
    from ..training import save_trained, train_teacher

    dataset = load_dataset(run)
    if config.teacher.from_run or config.teacher.factory:
        teacher = teacher_for(config.teacher, dataset)
        paths, summary = save_teacher(run.file("teacher"), teacher, dataset)
    else:
        trained = train_teacher(
            dataset,
            config.teacher,
            config.seed,
            progress=lambda *figures: progress("teacher", *figures),
            checkpoint=run.file("checkpoint", "teacher"),
        )
        paths, summary = save_trained(run.file("teacher"), trained, dataset)
    return paths, {**summary, "external": {path: external_hash(run, "teacher", path) for path in teacher_files(config)}}


STAGE = Stage("teacher", "train-teacher", ("data",), _inputs, _work)
