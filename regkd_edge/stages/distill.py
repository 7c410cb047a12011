"""Stage ``distill``: the student with its recipe, and one with the base alone for comparison."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import api
from ..config import RunConfig
from ..config.contradictions.loaded import asks_more_than_answers, require_fit
from ..config.objective import AUTO
from ..data import Dataset, load_dataset, load_predictions
from ..run import RunFolder
from ..run.consented import require_student
from . import Parts, Stage, StageProgress, external_hash, stale_reason
from .together import announce

if TYPE_CHECKING:
    from ..models import Student, Teacher

__all__ = ["STAGE", "refuse_bad_teacher", "refuse_unfit_teacher", "train_part"]


def described_files(config: RunConfig) -> list[str]:
    """Return the files outside the run that describe the inputs."""
    given = (config.distill.describe, config.distill.like)
    return [path for path in given if path is not None and path != "standard"]


def _parts(run: RunFolder, config: RunConfig) -> list[str]:
    return ["baseline", "student"] if _beside(config) and config.distill.base_learns else ["student"]


def _beside(config: RunConfig) -> bool:
    """Whether the base alone is trained for comparison: the recipe has more than that."""
    section = config.distill
    return bool(
        section.baseline
        and (section.recipe == AUTO or section.terms or (section.sampler is not None and not section.no_data))
    )


def _inputs(run: RunFolder, config: RunConfig, part: str) -> dict[str, Any] | None:
    if part not in ("baseline", "student"):
        return None
    return {
        "distill": config.distill.model_dump(mode="json", exclude={"describe", "like", "baseline"}),
        "standard": config.distill.describe == "standard",
        "described": [external_hash(run, "distill", path) for path in described_files(config)],
        "seed": config.seed,
        "upstream": [run.outputs_hash("data"), run.outputs_hash("teacher")],
    }


def _work(
    run: RunFolder, config: RunConfig, progress: StageProgress, parts: list[str]
) -> Iterator[tuple[str, list[Path], dict[str, Any]]]:
    teacher, dataset = _read(run, config)
    for name in parts:
        progress(name, 0, 0, {}, None)  # a race comes before the first step
        announce(run, config, name)
        if name == "student":
            _hand_on(run, config)
        student = _trained(run, config, name, teacher, dataset, progress)
        if name == "baseline" and "student" in parts and _heat_may_need_it(config):
            student.trained.checkpoint = None  # stays until the student is saved
        paths, summary = student.trained.save(run.file(name), dataset)
        yield name, paths, summary


def _heat_may_need_it(config: RunConfig) -> bool:
    """Whether the race of the student may train the same base alone to its end;
    in a given time it may not get there."""
    return config.distill.races and config.distill.budget is None


def _hand_on(run: RunFolder, config: RunConfig) -> None:
    """Put the checkpoint of the finished baseline where the last heat of the race looks for its base alone.

    The training there takes it only where everything that decides it is the same (its fingerprint).
    """
    own, name = run.file("checkpoint", "baseline"), "state.safetensors"
    if (own / name).is_file() and _heat_may_need_it(config):
        theirs = run.file("checkpoint", "student", "base")
        theirs.mkdir(parents=True, exist_ok=True)
        os.replace(own / name, theirs / name)
    shutil.rmtree(own, ignore_errors=True)


def _read(run: RunFolder, config: RunConfig) -> tuple[Teacher, Dataset]:
    """The teacher and the rows, with its answers as far as they are stored."""
    from ..models import teacher_for

    require_student(config)
    dataset = load_dataset(run)
    teacher = teacher_for(config.teacher, dataset, run.file("teacher"))
    require_fit(config.distill, teacher)  # before the baseline, which has fewer parts that could be refused
    known = run.file("teacher", "predictions.npz")
    if known.is_file() and not config.distill.no_data:
        dataset = replace(dataset, answers=load_predictions(known, dataset.y.shape))
    return teacher, dataset


def _trained(
    run: RunFolder,
    config: RunConfig,
    part: str,
    teacher: Teacher,
    dataset: Dataset,
    progress: StageProgress | None,
) -> Student:
    return api.distill(
        teacher,
        dataset,
        config=config.distill,
        base_alone=part == "baseline",
        seed=config.seed,
        progress=None if progress is None else lambda *figures: progress(part, *figures),
        checkpoint=run.file("checkpoint", part),
    )


def train_part(run: RunFolder, config: RunConfig, part: str) -> None:
    """Train ``student`` or ``baseline`` with the first of several processes, and leave the result to it."""
    _trained(run, config, part, *_read(run, config), None)


def _summary(run: RunFolder, config: RunConfig, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {name: dict(one) for name, one in parts.items()}
    if _beside(config) and not config.distill.base_learns and "student" in summary:
        summary["student"]["notes"] = [
            *summary["student"]["notes"],
            "no baseline was trained: with w_base 0 the base alone has nothing to learn",
        ]
    return {**summary, "external": {path: external_hash(run, "distill", path) for path in described_files(config)}}


def refuse_unfit_teacher(run: RunFolder, config: RunConfig, *, data: bool) -> None:
    """Stop before the run takes a teacher in that lacks what the recipe needs, such as gradients.

    Parameters
    ----------
    data : bool
        Whether the data are in the run already. Without them a teacher says what it knows of itself; whether
        gradients pass through a module is known once it has answered rows.

    Raises
    ------
    RecipeError
        What needs which part of the teacher, and what to use in its place.
    """
    if not config.teacher.brought or not asks_more_than_answers(config.distill):
        return
    if stale_reason(run, config, "teacher") is None:  # it is in the run; the stage itself refuses
        return
    from ..models import open_teacher, teacher_for

    if data:
        require_fit(config.distill, teacher_for(config.teacher, load_dataset(run)))
    elif not (teacher := open_teacher(config.teacher)).differentiable:
        require_fit(config.distill, teacher)


def refuse_bad_teacher(run: RunFolder, config: RunConfig) -> None:
    """Stop before a student is trained on a teacher that is not worth following.

    Raises
    ------
    ModelError
        It is worse than the mean of the targets, or than a linear model, on held-out rows.
    """
    if config.distill.no_data:
        return
    from ..models import teacher_for

    require_student(config)
    dataset = load_dataset(run)
    teacher = teacher_for(config.teacher, dataset, run.file("teacher"))
    check = api.judge_teacher(teacher, dataset)
    if check is not None:
        check.require(teacher.source)


STAGE = Stage("distill", "distill", ("data", "teacher"), parts=Parts(_parts, _inputs, _work, _summary))
