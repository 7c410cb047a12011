"""Stage ``teacher``: a network trained on the labels, or one from another run or a factory."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import api
from ..config import RunConfig
from ..config.sources import factory_of
from ..data import load_dataset
from ..errors import ModelError, RunFolderError
from ..run import RunFolder
from . import Stage, StageProgress, external_hash
from .together import announce

if TYPE_CHECKING:
    from ..data import Dataset
    from ..models import Teacher

__all__ = ["STAGE", "teacher_files", "train"]


def teacher_files(config: RunConfig) -> list[str]:
    """Paths outside the run that the teacher comes from."""
    teacher, factory = config.teacher, factory_of(config.teacher.factory_name)
    files = []
    if (teacher.path and Path(teacher.path).is_dir()) or teacher.from_run:
        files = [str(Path(teacher.path) / "teacher" / name) for name in ("model.json", "model.safetensors")]
    elif teacher.path:
        files = [teacher.path]
    if factory is not None and factory[0].endswith(".py"):
        files.append(factory[0])
    scaler = teacher.teacher_scaler
    own = factory_of(scaler)
    files += [teacher.weights] if teacher.weights else []
    files += (
        [own[0] if own else scaler] if scaler and scaler != "table" and (own is None or own[0].endswith(".py")) else []
    )
    return files


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    section = config.teacher
    if section.path and Path(section.path).resolve() == run.path.resolve():
        raise RunFolderError(
            f"the run '{run.path}' cannot take its own teacher from itself.",
            "Leave out --from-run: 'distill' uses the run's teacher. Or name another run.",
        )
    if section.brought:
        factory = factory_of(section.factory_name)
        options = section.model_dump(mode="json", include={"units", "output"})
        options["factory"] = factory and (
            f"{Path(factory[0]).name if factory[0].endswith('.py') else factory[0]}:{factory[1]}"
        )
        options["scaler"] = "table" if section.teacher_scaler == "table" else None
    else:
        options = section.model_dump(
            mode="json",
            exclude={
                "from_run", "factory", "weights", "units", "teacher_from", "teacher_scaler", "output", "trust",
            },
        )  # fmt: skip
    return {
        "options": options,
        "seed": config.seed,
        "external": [external_hash(run, "teacher", path) for path in teacher_files(config)],
    }


def _work(run: RunFolder, config: RunConfig, progress: StageProgress) -> tuple[list[Path], dict[str, Any]]:
    from ..models import save_teacher, teacher_for

    dataset = load_dataset(run)
    if config.teacher.brought:
        teacher = teacher_for(config.teacher, dataset)
        paths, summary = save_teacher(run.file("teacher"), teacher, dataset)
    elif config.teacher.teacher.partition(":")[0].strip() == "factory":
        raise ModelError(
            f"a run cannot train the teacher '{config.teacher.teacher}'.",
            "Train it in Python and name it with --factory, or use another spec.",
        )
    else:
        announce(run, config, "teacher")
        teacher = train(run, config, dataset, progress)
        paths, summary = teacher.trained.save(run.file("teacher"), dataset)
    return paths, {**summary, "external": {path: external_hash(run, "teacher", path) for path in teacher_files(config)}}


def train(
    run: RunFolder, config: RunConfig, dataset: Dataset | None = None, progress: StageProgress | None = None
) -> Teacher:
    """Train the teacher of a run, alone or with the other processes, and return it; its checkpoint alone is written."""
    return api.train_teacher(
        load_dataset(run) if dataset is None else dataset,
        config=config.teacher,
        seed=config.seed,
        progress=None if progress is None else lambda *figures: progress("teacher", *figures),
        checkpoint=run.file("checkpoint", "teacher"),
    )


STAGE = Stage("teacher", "train-teacher", ("data",), _inputs, _work)
