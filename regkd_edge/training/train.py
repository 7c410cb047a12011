"""The three trainings: a teacher on labels, a student with its recipe, and the same student with its base alone."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from ..config import DistillConfig, TeacherConfig
from ..config.contradictions.loaded import require_fit
from ..config.objective import AUTO, WITHOUT_LABELS
from ..data import Dataset
from ..data.stored import is_stored
from ..io.progress import tick
from ..models import Teacher, places_for, predict
from ..objectives import StepRecipe
from ..recipes import RECIPES
from ..recipes.catalogue import FROM_RANDOM, WIDE
from ..sampling.synthetic import summary_of_inputs
from .free import how_sure
from .guard import better_than_its_teacher
from .inherited import begins_random
from .job import Training
from .ladder import trunk_of
from .loop import Progress
from .objective import optimizer_of
from .outlying import outlying, resting_on_few
from .pace import end_for_others
from .pair import plain_pair
from .race.halving import Race, hold_race
from .race.last_heat import Runner, base_of, settle
from .race.summary import notes
from .ranks import current
from .result import Trained
from .setting import Setting, standardized_rows
from .shards import Shards
from .source import Source
from .unvaried import ignored

__all__ = ["baseline", "distill", "train_teacher"]

# Fields of a configuration that the recipe of the steps lacks; stored beside it.
_STORED = {
    "base",
    "heads",
    "export_head",
    "hint_layers",
    "initial",
    "no_data",
    "sampler",
    "noise",
    "sigma",
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
    compute: str = "auto",
) -> Trained:
    """Fit ``config.teacher`` to the labels of the training rows; squared error, cosine learning rate, early stopping.

    Parameters
    ----------
    seed : int
        Of the initial weights and the order of the rows.
    progress : callable, optional
        ``progress(step, total, losses, validation)`` after each validation: the step of how many, the mean losses since
        the last call, and ``target_rmse``, the RMSE of each target in its unit, with ``validation_rmse``, pooled.
    checkpoint : path, optional
        A folder for the checkpoint. After an interruption the same call resumes and gives identical bits.
    compute : ``auto`` | ``cpu`` | ``cuda`` | ``torch``
    """
    rows, batch = dataset.split, config.batch
    an_epoch = math.ceil(len(rows.train) / batch)
    epochs_a_look = max(1, math.ceil(_TEACHER_LOOK / an_epoch))
    scalers = dataset.scalers(places_for(config.teacher, dataset.d, dataset.input_shape))
    shards, seen = None, rows
    if is_stored(dataset.x):

        def make(some: np.ndarray) -> Source:
            x, y = scalers.x.standardize(dataset.x[some]), scalers.y.standardize(dataset.y[some])
            return Source(batch, torch.from_numpy(x).float(), torch.from_numpy(y).float())

        shards = Shards(rows.train, dataset.d, batch, seed, make)
        seen = replace(rows, train=shards.rows_of(0))
    x, y = (torch.from_numpy(v) for v in standardized_rows(dataset, seen.train, scalers, np.float32))
    return Training(
        pair=plain_pair(config.teacher, dataset.d, dataset.o, seed, dataset.input_shape),
        source=Source(batch, x, y),
        recipe=StepRecipe(base="labels"),
        optimizer=optimizer_of(config),
        spec=config.teacher,
        seed=seed,
        scalers=scalers,
        rows=rows,
        shards=shards,
        held=standardized_rows(dataset, rows.validation, scalers),
        total=config.epochs * an_epoch,
        every=epochs_a_look * an_epoch,
        patience=math.ceil(config.patience / epochs_a_look),
        device=config.device,
        compute=compute,
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
    """Train ``config.student`` on the teacher with base and terms.

    The student sees ``config.fraction`` of the training and validation rows, or none with ``config.no_data``: then it
    trains and is validated on synthetic inputs with the teacher's answers (see :mod:`regkd_edge.training.free`). It is
    in the space of the teacher's scalers if the teacher has them; otherwise scalers are learnt on the training
    rows that it sees. ``progress`` is that of :func:`train_teacher`. After a race it begins again with each student
    that is trained to its end: the winner, and before or after it the base alone.

    Raises
    ------
    RecipeError
        Terms that this teacher does not allow, or constants that do not fit the data.
    UserError
        Training diverged.
    """
    require_fit(config, teacher)
    if config.recipe == AUTO and config.no_data:
        config = without_rows(config, dataset.d, teacher)
    setting = Setting.of(dataset, teacher, config, seed)
    race = until = base = None
    asked = config
    if config.budget is not None:
        until = time.monotonic() + config.budget
    if asked.races:
        base = base_of(setting, asked, checkpoint, progress)
        tick("race of the recipes")
        race, found = _raced(setting, asked, checkpoint, base)
        config, until = found.config, found.until
        setting.ask_at_most(found.points)
    if base is not None and config == base.config:
        training, trained = base.training, base.trained
    else:
        training = setting.training(config)
        if asked.races:
            tick("winner of the race" if race is None else f"winner of the race: {race.winner.title}")
        beyond = None if base is None else trunk_of(base.trained.history)
        begun = time.monotonic()
        trained = training.run(progress=progress, checkpoint=checkpoint, until=until, beyond=beyond)
        until = end_for_others(until, trained.seconds, begun)
    if asked.races and not found.foregone:
        winner = Runner(config, training, trained)
        how = {"until": until, "checkpoint": checkpoint, "progress": progress}
        kept = settle(setting, asked, winner, found.measure, base=base, **how)
        config, training, trained, heat = kept.config, kept.training, kept.trained, kept.heat
        if race is not None:
            race.heat = heat
    if race is not None:
        trained.race = race.record()
        trained.seconds += race.seconds
        left_out = [race.means.note] if race.means is not None and race.means.note is not None else []
        trained.notes = [trained.race["explanation"], *notes(race, trained.history, trained.notes), *left_out]
    if setting.free is None:
        trained.notes += ignored(training.ignores, dataset.table.feature_names, dataset.x)
        if not is_stored(dataset.x):
            trained.notes += outlying(dataset.table.feature_names, dataset.x[setting.rows.train], dataset.x)
            test = dataset.split.test
            if race is not None and len(test):
                errors = predict(trained.module, trained.scalers, dataset.x[test]) - dataset.y[test]
                trained.notes += resting_on_few(dataset.table.target_names, errors)
        held = setting.rows.validation
        answers = predict(trained.module, trained.scalers, dataset.x[held])
        theirs = setting.scalers.y.restore(setting.teacher_on_held)
        names, labels = dataset.table.target_names, config.base not in WITHOUT_LABELS
        better = better_than_its_teacher(answers, theirs, dataset.y[held], names, labels=labels)
        trained.notes += [better] if better else []
    trained.setup = {**config.model_dump(mode="json", include=_STORED), "sampler": config.drawn}
    if config.no_data:
        scores = np.random.default_rng([seed, 3]).standard_normal((4096, dataset.d))
        trained.inputs = summary_of_inputs(setting.free.description.inputs(scores))
        about, names = setting.free.description, dataset.table.target_names
        trained.notes.append(how_sure(trained.module, setting.module, about, trained.scalers, seed, names))
    if config.initial == "teacher":
        trained.notes += begins_random(config.student, dataset.d, teacher)
    if "abm" in config.terms and trained.recipe["ascent_rule"] != config.ascent_rule:
        trained.notes.append("the teacher has no gradient: abm picks the worst of random points")
    return trained


@dataclass(frozen=True)
class _Found:
    """What a race found: the winner's configuration, the measure (``teacher`` or ``labels``), when training should end,
    whether no last heat is needed, and how many points around the rows a slow teacher allows."""

    config: DistillConfig
    measure: str
    until: float | None
    foregone: bool
    points: int | None


def _raced(
    setting: Setting, config: DistillConfig, checkpoint: str | Path | None, base: Runner | None
) -> tuple[Race | None, _Found]:
    """Hold the race; return it, None in a process that did not hold it, and what it found.

    Of several processes each trains its share of the candidates' steps where these are PyTorch's. Elsewhere, and within
    a time that is given, the first process holds it, and the others know its winner alone.
    """
    ranks, held = current(), []

    def winner() -> _Found:
        race = hold_race(setting, config, checkpoint, None if base is None else base.trained.steps)
        held.append(race)
        points = None if race.means is None else race.means.points
        return _Found(race.config, race.measure, race.until, race.foregone, points)

    together = setting.places is not None and config.budget is None
    found = winner() if together else ranks.from_first(winner)
    return held[0] if held else None, found


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
    alone: dict[str, object] = {"terms": [], "recipe": None}
    if not config.no_data:
        alone |= {"sampler": None, "describe": None, "like": None}
    elif config.recipe == AUTO:
        config = without_rows(config, dataset.d, teacher)
        alone |= {"sampler": "described"}
    return distill(dataset, teacher, config.model_copy(update=alone), seed, progress=progress, checkpoint=checkpoint)


def without_rows(config: DistillConfig, d: int, teacher: Teacher) -> DistillConfig:
    """Return recipe auto without data: a recipe of the catalogue for d inputs, over the fields with their defaults.

    Without rows a race has nothing to judge by. The search climbs the teacher's gradient, where it has one. A student
    that cannot begin with neurons of its teacher has a longer way to go, and takes longer steps.
    """
    name = "data-free-search" if d >= WIDE and teacher.differentiable else "data-free-values"
    fields = RECIPES[name]
    if begins_random(config.student, d, teacher):
        fields = {**fields, **FROM_RANDOM}
    standard = DistillConfig(no_data=True)
    kept = {k: v for k, v in fields.items() if getattr(config, k) == getattr(standard, k)}
    return config.model_copy(update={"terms": fields["terms"], **kept, "recipe": None})
