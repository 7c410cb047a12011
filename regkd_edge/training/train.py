"""The three trainings: a teacher on labels, a student with its recipe, and the same student with its base alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from ..config import DistillConfig, TeacherConfig
from ..config.distill import DESCRIBED
from ..data import Dataset, Scalers, Split, subset
from ..models import Teacher
from ..objectives import StepRecipe, is_differentiable
from ..sampling.synthetic import summary_of_inputs
from .fits import require_fit
from .free import synthetic_rows
from .inputs import description_of
from .job import known_hash, train_pair
from .loop import Progress
from .pair import pair_of, plain_pair
from .points import Known, Source, box_of, source_of
from .recipe import recipe_of
from .result import Trained

__all__ = ["baseline", "distill", "train_teacher"]

# Fields of a configuration that the recipe of the steps lacks; stored beside it.
_STORED = {
    "base",
    "heads",
    "export_head",
    "hint_layers",
    "no_data",
    "sampler",
    "w_base",
    "w_sampler",
    "describe",
    "like",
    "fraction",
}
_TEACHER_LOOK = 10  # minimum steps between two validations: an epoch of few rows is shorter than a validation


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
        ``progress(step, total, losses, validation_rmse)`` after each validation.
    checkpoint : path, optional
        A folder for the checkpoint. After an interruption the same call resumes and gives identical bits.
    backend : ``auto`` | ``cpu`` | ``cuda`` | ``torch``
    """
    rows, batch = dataset.split, config.batch
    an_epoch = math.ceil(len(rows.train) / batch)
    epochs_a_look = max(1, math.ceil(_TEACHER_LOOK / an_epoch))
    scalers = dataset.scalers()
    train, validation = _standardized(dataset, rows, scalers)
    x, y = (torch.from_numpy(v).float() for v in train)
    return train_pair(
        plain_pair(config.teacher, dataset.d, dataset.o, seed),
        Source(batch, x, y),
        StepRecipe(base="labels"),
        config,
        config.teacher,
        seed,
        scalers,
        rows,
        validation,
        None,
        total=config.epochs * an_epoch,
        every=epochs_a_look * an_epoch,
        patience=math.ceil(config.patience / epochs_a_look),
        progress=progress,
        checkpoint=checkpoint,
        backend=backend,
        decided={},
    )


def distill(
    dataset: Dataset,
    teacher: Teacher,
    config: DistillConfig,
    seed: int,
    *,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
) -> Trained:
    """Train ``config.student`` on the teacher with base and terms.

    The student sees ``config.fraction`` of the training and validation rows, or none with ``config.no_data``: then it
    trains and is validated on synthetic inputs with the teacher's answers (see :mod:`regkd_edge.training.free`). It is
    in the space of the teacher's scalers if the teacher has them; otherwise scalers are learnt on the training
    rows that it sees.

    Raises
    ------
    RecipeError
        Terms that this teacher does not allow, or constants that do not fit the data.
    UserError
        Training diverged.
    """
    require_fit(config, teacher)
    names = dataset.table.feature_names
    if config.no_data:
        free = synthetic_rows(dataset, teacher, config, seed)
        rows, module, validation = free.seen, free.teacher, free.validation
        known = Known(free.train, free.scalers, free.description, names)
    else:
        rows = subset(dataset.split, config.fraction, seed)
        scalers = teacher.scalers or Dataset(dataset.table, rows).scalers()
        module, train, validation = teacher.standardized(scalers), *_standardized(dataset, rows, scalers)
        about = description_of(config, teacher, names, dataset.x[rows.train]) if config.drawn in DESCRIBED else None
        direct = None if teacher.mlp is not None else teacher.answers_in(scalers, dataset.x[rows.train])
        known = Known(train, scalers, about, names, direct)
    pair = pair_of(config, module, dataset.d, dataset.o, seed)
    recipe = recipe_of(
        config,
        dataset.d,
        fed=config.searched and config.drawn != "direct",
        differentiable=is_differentiable(pair.teacher),
        box=box_of(config, known),
    )
    source = source_of(config, recipe, pair, known, seed)
    trained = train_pair(
        pair,
        source,
        recipe,
        config,
        config.student,
        seed,
        known.scalers,
        rows,
        validation,
        teacher.source,
        total=config.steps,
        every=config.evaluate_every,
        progress=progress,
        checkpoint=checkpoint,
        backend=config.backend,
        decided={
            **config.model_dump(mode="json", exclude={"recipe", "baseline", "backend", "device"}),
            "known": known_hash(known, pair.plain_teacher),
        },
    )
    trained.setup = {**config.model_dump(mode="json", include=_STORED), "sampler": config.drawn}
    if config.no_data:
        scores = np.random.default_rng([seed, 3]).standard_normal((4096, dataset.d))
        trained.inputs = summary_of_inputs(free.description.inputs(scores))
    if "abm" in config.terms and recipe.ascent_rule != config.ascent_rule:
        trained.notes.append("the teacher has no gradient: abm picks the worst of random candidates")
    return trained


def baseline(
    dataset: Dataset,
    teacher: Teacher,
    config: DistillConfig,
    seed: int,
    *,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
) -> Trained:
    """Train the same student with its base alone: same rows, initial weights, steps, optimizer and selection. No terms,
    and no synthetic points beside rows. Without data the sampler stays, as the source of the inputs."""
    alone = {"terms": []} if config.no_data else {"terms": [], "sampler": None, "describe": None, "like": None}
    return distill(dataset, teacher, config.model_copy(update=alone), seed, progress=progress, checkpoint=checkpoint)


def _standardized(dataset: Dataset, rows: Split, scalers: Scalers) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return ``(x, y)`` of the training and of the validation rows."""
    return [
        (scalers.x.standardize(dataset.x[i]), scalers.y.standardize(dataset.y[i]))
        for i in (rows.train, rows.validation)
    ]
