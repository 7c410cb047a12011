"""The three trainings: a teacher on the labels, a student by its recipe, and the same student by its base alone."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import numpy as np
import torch
from torch import nn

from .. import __version__
from ..config import DistillConfig, TeacherConfig
from ..data import Dataset, Scalers, Split, subset
from ..fused import Member, choose
from ..models import Teacher, build, parse_spec
from ..objectives import StepRecipe
from ..run import digest
from .checkpoint import Checkpoint
from .free import synthetic_rows
from .loop import Progress, Validation, run
from .recipe import optimizer_of, recipe_of
from .result import Trained

__all__ = ["baseline", "distill", "train_teacher"]

_TEACHER_LOOK = 10  # [steps] at least, between two looks at the validation rows: an epoch of few rows is shorter than the look


def train_teacher(
    dataset: Dataset,
    config: TeacherConfig,
    seed: int,
    *,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
    backend: str = "auto",
) -> Trained:
    """Fit ``config.teacher`` to the labels of the training rows; squared error, cosine learning rate, early stopping.

    Parameters
    ----------
    seed : int
        Of the initial weights and the order of the rows.
    progress : callable, optional
        ``progress(step, total, losses, validation_rmse)`` after each look at the validation rows.
    checkpoint : path, optional
        A folder for the resumable state. After an interruption the same call continues and gives the same bits.
    backend : ``auto`` | ``cpu`` | ``cuda`` | ``torch``
    """
    rows, batch = dataset.split, config.batch
    an_epoch = math.ceil(len(rows.train) / batch)
    epochs_a_look = max(1, math.ceil(_TEACHER_LOOK / an_epoch))
    return _train(
        dataset, rows, dataset.scalers(), None, None, StepRecipe(base="labels"), config, config.teacher, seed,
        total=config.epochs * an_epoch, every=epochs_a_look * an_epoch, patience=math.ceil(config.patience / epochs_a_look),
        progress=progress, checkpoint=checkpoint, backend=backend,
    )  # fmt: skip


def distill(
    dataset: Dataset,
    teacher: Teacher,
    config: DistillConfig,
    seed: int,
    *,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
) -> Trained:
    """Train ``config.student`` towards the teacher by base and terms.

    The student sees ``config.fraction`` of the training and validation rows, or none at all with ``config.no_data``: then
    it learns and is selected on synthetic inputs that the teacher answers (see :mod:`regkd_edge.distill.free`). It lives in the space of the teacher's
    scalers where the teacher brings them; otherwise scalers are learnt on the training rows that it sees.

    Raises
    ------
    RecipeError
        Terms that this teacher does not allow, or constants that do not fit the data.
    UserError
        Training diverged.
    """
    if config.no_data:
        synthetic = synthetic_rows(dataset, teacher, config, seed)
        return _train(
            dataset, synthetic.seen, synthetic.scalers, synthetic.teacher, teacher.source,
            recipe_of(config, dataset.d), config, config.student, seed, total=config.steps, every=config.evaluate_every,
            patience=None, progress=progress, checkpoint=checkpoint, backend=config.backend,
            pools=(synthetic.train, synthetic.validation),
        )  # fmt: skip
    rows = subset(dataset.split, config.fraction, seed)
    scalers = teacher.scalers or Dataset(dataset.table, rows).scalers()
    return _train(
        dataset, rows, scalers, teacher.standardized(scalers), teacher.source, recipe_of(config, dataset.d), config, config.student, seed,
        total=config.steps, every=config.evaluate_every, patience=None,
        progress=progress, checkpoint=checkpoint, backend=config.backend,
    )  # fmt: skip


def baseline(
    dataset: Dataset,
    teacher: Teacher,
    config: DistillConfig,
    seed: int,
    *,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
) -> Trained:
    """The same student by its base alone: same rows, initial weights, steps, optimizer and selection."""
    return distill(dataset, teacher, config.model_copy(update={"terms": []}), seed, progress=progress, checkpoint=checkpoint)


def _train(
    dataset: Dataset, rows: Split, scalers: Scalers, teacher: nn.Module | None, source: str | None, recipe: StepRecipe,
    config: TeacherConfig | DistillConfig, spec: str, seed: int, *,
    total: int, every: int, patience: int | None, progress: Progress | None, checkpoint: str | Path | None, backend: str,
    pools: tuple[tuple[np.ndarray, np.ndarray], ...] | None = None,
) -> Trained:  # fmt: skip
    device = torch.device("cuda" if backend == "cuda" and torch.cuda.is_available() else "cpu")
    parts = dict(zip(("train", "validation"), pools or ()))
    for name, index in () if pools else (("train", rows.train), ("validation", rows.validation)):
        parts[name] = scalers.x.standardize(dataset.x[index]), scalers.y.standardize(dataset.y[index])
    x, y = (torch.from_numpy(v).float().to(device) for v in parts["train"])
    validation = Validation(
        torch.from_numpy(parts["validation"][0]).float().to(device),
        torch.from_numpy(parts["validation"][1]).to(device),
        float(scalers.y.scale[0]) if dataset.o == 1 else 1.0,
    )
    student = build(spec, dataset.d, dataset.o, seed).to(device)
    teacher = teacher.to(device) if teacher is not None else None
    member = Member(student, teacher, x, y, recipe, optimizer_of(config), total, config.batch, seed)
    choice = choose(student, teacher, recipe, batch=config.batch, x=x, y=y, backend=backend)
    fingerprint = digest(
        {
            "version": __version__,
            "spec": str(parse_spec(spec)),
            "recipe": recipe.to_dict(),
            "optimizer": repr(member.optimizer),
            "run": [total, config.batch, every, patience, seed],
            "backend": choice.backend,
            "data": _arrays_hash(*parts["train"], *parts["validation"]),
            "teacher": [source, _module_hash(teacher)],
        }
    )
    outcome = run(
        member, validation, choice, every=every, patience=patience, progress=progress, checkpoint=Checkpoint(checkpoint, fingerprint)
    )  # fmt: skip
    return Trained(
        module=student.cpu().eval(),
        spec=parse_spec(spec),
        scalers=scalers,
        best_step=outcome.best_step,
        steps=member.state.step,
        best_validation=outcome.best_rmse,
        history=outcome.history,
        choice=choice,
        seconds=outcome.seconds,
        rows=rows,
        recipe=recipe.to_dict(),
        fingerprint=fingerprint,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        teacher_source=source,
    )


def _arrays_hash(*arrays: np.ndarray) -> str:
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def _module_hash(module: nn.Module | None) -> str:
    sha = hashlib.sha256()
    for key, tensor in (module.state_dict() if module is not None else {}).items():
        sha.update(f"{key}{tuple(tensor.shape)}".encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return sha.hexdigest()
