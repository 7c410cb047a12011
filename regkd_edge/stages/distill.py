"""Stage ``distill``: the student with its recipe, and one with the base alone for comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..config.objective import AUTO
from ..run import RunFolder
from . import Progress, Stage, external_hash

__all__ = ["STAGE", "refuse_bad_teacher"]


def described_files(config: RunConfig) -> list[str]:
    """Return the files outside the run that describe the inputs."""
    given = (config.distill.describe, config.distill.like)
    return [path for path in given if path is not None and path != "standard"]


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    files = [external_hash(run, "distill", path) for path in described_files(config)]
    section = config.distill.model_dump(mode="json", exclude={"describe", "like"})
    return {
        "distill": section,
        "standard": config.distill.describe == "standard",
        "described": files,
        "seed": config.seed,
    }


def _work(run: RunFolder, config: RunConfig, progress: Progress) -> tuple[list[Path], dict[str, Any]]:
    from ..data import load_dataset
    from ..models import teacher_for
    from ..training import baseline, check_against_rows, distill, require_fit, save_trained

    dataset = load_dataset(run)
    teacher = teacher_for(config.teacher, dataset, run.file("teacher"))
    require_fit(config.distill, teacher)  # before the baseline, which has fewer parts that could be refused
    check = None if config.distill.no_data else check_against_rows(dataset, teacher)
    paths: list[Path] = []
    summary: dict[str, Any] = {}
    students = [("student", distill)]
    beside = config.distill.sampler is not None and not config.distill.no_data
    wanted = config.distill.baseline and (config.distill.recipe == AUTO or config.distill.terms or beside)
    if wanted and config.distill.base_learns:
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
    if wanted and not config.distill.base_learns:
        summary["student"]["notes"] = [
            *summary["student"]["notes"],
            "no baseline was trained: with w_base 0 the base alone has nothing to learn",
        ]
    if check is not None and check.problem is not None:
        summary["student"]["notes"].insert(
            0, f"WARNING: the teacher {check.problem}: a student that follows it learns its errors"
        )
    return paths, {
        **summary,
        "external": {path: external_hash(run, "distill", path) for path in described_files(config)},
    }


def refuse_bad_teacher(run: RunFolder, config: RunConfig) -> None:
    """Stop before a student is trained on a teacher that is not worth following.

    Raises
    ------
    ModelError
        It is worse than the mean of the targets, or than a linear model, on held-out rows.
    """
    if config.distill.no_data:
        return
    from ..data import load_dataset
    from ..models import teacher_for
    from ..training import check_against_rows, require_teacher

    dataset = load_dataset(run)
    teacher = teacher_for(config.teacher, dataset, run.file("teacher"))
    require_teacher(check_against_rows(dataset, teacher), teacher.source)


STAGE = Stage("distill", "distill", ("data", "teacher"), _inputs, _work)
