"""The three trainings: a teacher on the labels, a student by its recipe, and the same student by its base alone."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch

from ..config import DistillConfig, TeacherConfig
from ..data import Dataset, Scalers, Split, subset
from ..models import Teacher
from ..objectives import StepRecipe, is_differentiable
from ..sampling.synthetic import summary_of_inputs
from .fits import require_fit
from .free import synthetic_rows
from .job import Training, known_hash
from .known import description_of
from .loop import Progress
from .pair import pair_of, plain_pair
from .points import Known, Source, box_of, source_of
from .recipe import optimizer_of, recipe_of
from .result import Trained

__all__ = ["baseline", "distill", "train_teacher"]

# Fields of a configuration that the recipe of the steps does not show; stored beside it.
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
_TEACHER_LOOK = (
    10  # [steps] at least, between two looks at the validation rows: an epoch of few rows is shorter than the look
)


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
    scalers = dataset.scalers()
    train, validation = _standardized(dataset, rows, scalers)
    x, y = (torch.from_numpy(v).float() for v in train)
    return Training(
        pair=plain_pair(config.teacher, dataset.d, dataset.o, seed),
        source=Source(batch, x, y),
        recipe=StepRecipe(base="labels"),
        optimizer=optimizer_of(config),
        spec=config.teacher,
        seed=seed,
        scalers=scalers,
        rows=rows,
        held=validation,
        total=config.epochs * an_epoch,
        every=epochs_a_look * an_epoch,
        patience=math.ceil(config.patience / epochs_a_look),
        device=config.device,
        backend=backend,
    ).run(progress=progress, checkpoint=checkpoint)


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

    The student sees ``config.fraction`` of the training and validation rows, or none with ``config.no_data``: then it
    learns and is selected on synthetic inputs that the teacher answers (see :mod:`regkd_edge.training.free`). It lives
    in the space of the teacher's scalers where the teacher brings them; otherwise scalers are learnt on the training
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
        about = (
            description_of(config, teacher, names, dataset.x[rows.train])
            if config.kind is not None and config.kind.described
            else None
        )
        known = Known(train, scalers, about, names)
    pair = pair_of(config, module, dataset.d, dataset.o, seed)
    recipe = recipe_of(
        config,
        dataset.d,
        fed=config.searched and config.drawn != "direct",
        differentiable=is_differentiable(pair.teacher),
        box=box_of(config, known),
    )
    source = source_of(config, recipe, pair, known, seed)
    trained = Training(
        pair=pair,
        source=source,
        recipe=recipe,
        optimizer=optimizer_of(config),
        spec=config.student,
        seed=seed,
        scalers=known.scalers,
        rows=rows,
        held=validation,
        teacher_source=teacher.source,
        total=config.steps,
        every=config.evaluate_every,
        device=config.device,
        backend=config.backend,
        decided={
            **config.model_dump(mode="json", exclude={"recipe", "baseline", "backend", "device"}),
            "known": known_hash(known, pair.plain_teacher),
        },
    ).run(progress=progress, checkpoint=checkpoint)
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
    """The same student by its base alone: same rows, initial weights, steps, optimizer and selection. No terms, and no
    synthetic points beside rows; without data the sampler stays, it is where the inputs come from."""
    alone = {"terms": []} if config.no_data else {"terms": [], "sampler": None, "describe": None, "like": None}
    return distill(dataset, teacher, config.model_copy(update=alone), seed, progress=progress, checkpoint=checkpoint)


def _standardized(dataset: Dataset, rows: Split, scalers: Scalers) -> list[tuple[np.ndarray, np.ndarray]]:
    """``(x, y)`` of the training and of the validation rows."""
    return [
        (scalers.x.standardize(dataset.x[i]), scalers.y.standardize(dataset.y[i]))
        for i in (rows.train, rows.validation)
    ]
