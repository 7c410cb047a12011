"""What every student of one distillation shares: the rows it may see, the scalers, the teacher in their space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from torch import nn

from ..config import DistillConfig
from ..config.contradictions.loaded import require_tensors
from ..config.objective import WITHOUT_LABELS
from ..data import Dataset, Places, Scalers, Split, subset
from ..data.columns import Columns
from ..data.named import read_inputs
from ..data.stored import blocks_of, is_stored
from ..models import Teacher, places_for
from ..models.mlp import is_plain
from ..objectives import Schedule, is_differentiable
from ..objectives.networks import Network, jacobian_products
from .free import Synthetic, synthetic_rows
from .inherited import can_inherit, inherit
from .job import Training, known_hash
from .known import description_of
from .objective import optimizer_of, recipe_of
from .pair import pair_of
from .pool import POINTS, Pool, teacher_answers
from .shards import Shards
from .source import Known, Source, box_of, source_of

__all__ = ["Setting", "standardized_rows"]

_GRADIENTS = 512  # rows over which the scale of the teacher's gradient is taken


@dataclass(eq=False)
class Setting:
    """Made by :meth:`of`; :meth:`training` makes one student's training out of it.

    Parameters
    ----------
    rows : Split
        The rows that are seen; none without data.
    module : nn.Module
        The teacher in the space of ``scalers``.
    train, held : (x [n, d], y [n, o])
        Standardised rows to learn from and to select by.
    free : Synthetic or None
        Without data, what stands in place of rows.
    """

    dataset: Dataset
    teacher: Teacher
    seed: int
    rows: Split
    scalers: Scalers
    module: nn.Module
    train: tuple[np.ndarray, np.ndarray]
    held: tuple[np.ndarray, np.ndarray]
    free: Synthetic | None = None
    points: int = POINTS  # around the rows, of each kind of noise
    places: Places | None = None  # of rows that are images or signals to this student
    stream: np.ndarray | None = None  # all rows to learn from, where they stay in their file and ``rows`` is a sample
    answered: np.ndarray | None = (
        None  # [N, o] answers to rows of the table so far, not a number where it was not asked
    )

    @classmethod
    def of(cls, dataset: Dataset, teacher: Teacher, config: DistillConfig, seed: int) -> Setting:
        """Take the rows that ``config`` lets the student see, or describe inputs where it sees none."""
        if config.no_data:
            free = synthetic_rows(dataset, teacher, config, seed)
            parts = (free.train, free.validation, free)
            places = places_for(config.student, dataset.d, dataset.input_shape)
            return cls(dataset, teacher, seed, free.seen, free.scalers, free.teacher, *parts, places=places)
        rows = subset(dataset.split, config.fraction, seed)
        places = places_for(config.student, dataset.d, dataset.input_shape)
        scalers = teacher.scalers or replace(dataset, split=rows).scalers(places)
        stream = None
        if is_stored(dataset.x):
            stream = rows.train
            first = Shards(stream, dataset.d, config.batch, seed, make=lambda some: Source(config.batch)).rows_of(0)
            rows = replace(rows, train=first)
        parts = [standardized_rows(dataset, seen, scalers) for seen in (rows.train, rows.validation)]
        drawn = POINTS if config.steps == "auto" else min(POINTS, config.steps * config.batch)
        module = teacher.standardized(scalers)
        once = teacher.mlp is None and dataset.answers is None and not is_stored(dataset.x)
        answered = np.full(dataset.y.shape, np.nan) if once else None
        facts = {"points": drawn, "places": places, "stream": stream, "answered": answered}
        return cls(dataset, teacher, seed, rows, scalers, module, *parts, **facts)

    def with_points(self, points: int) -> Setting:
        """The same with fewer points around the rows; what the teacher has answered is not asked again."""
        made = replace(self, points=min(self.points, points), stream=None)
        for name in ("answers", "teacher_on_held"):
            made.__dict__[name] = getattr(self, name)  # where a cached property keeps its value
        return made

    def with_rows(self, train: np.ndarray, held: np.ndarray, points: int) -> Setting:
        """The same with other row numbers to learn from and to be judged on."""
        rows = Split(train, held, self.rows.test)
        a, b = (standardized_rows(self.dataset, seen, self.scalers) for seen in (train, held))
        return replace(self, rows=rows, train=a, held=b, points=min(self.points, points), stream=None)

    def ask_at_most(self, points: int | None) -> None:
        """Limit the points around the rows, of each kind of noise, before the first are drawn; None: as they are."""
        self.points = self.points if points is None else min(self.points, points)

    @cached_property
    def pool(self) -> Pool:
        """Neighbours of the rows to learn from."""
        return self._pool(self.dataset.x[self.rows.train], self.dataset.columns)

    @cached_property
    def teacher_on_held(self) -> np.ndarray:  # [n, o] standardised
        """What the teacher answers to the rows to be judged on."""
        return self.asked(self.rows.validation)

    @cached_property
    def answers(self) -> np.ndarray:  # [n, o] standardized
        """What the teacher answers to the rows to learn from."""
        if self.free is not None:
            return self.free.train[1]
        return self.asked(self.rows.train)

    def asked(self, rows: np.ndarray) -> np.ndarray:  # [n, o] standardized
        """What the teacher answers to rows of the table; answers that are known already are not requested again."""
        if self.dataset.answers is not None and self.teacher.mlp is None:
            return self.scalers.y.standardize(self.dataset.answers[rows])
        if self.answered is None:
            return teacher_answers(self.teacher, self.scalers, self.dataset.x[rows])
        new = rows[np.isnan(self.answered[rows]).any(1)]
        if len(new):
            self.answered[new] = teacher_answers(self.teacher, self.scalers, self.dataset.x[new])
        return self.answered[rows]

    @cached_property
    def _gradient_size(self) -> float:
        return self._mean_square_gradient(self.module)

    def _mean_square_gradient(self, teacher: Network) -> float:
        """Of a teacher over the rows: summed over the inputs, the mean over the outputs."""
        x = torch.from_numpy(self.train[0][:_GRADIENTS]).float()
        products = jacobian_products(teacher, x, None, graph=False)[1]
        return products.square().sum((1, 2)).mean().item() / self.dataset.o

    def _pool(self, raw: np.ndarray, columns: Columns) -> Pool:
        return Pool(raw, columns.observed(raw), self.teacher, self.scalers, self.seed, self.points, self.places)

    def known(self, config: DistillConfig) -> Known:
        """What the sampler of ``config`` can draw from."""
        names, kind = self.dataset.table.feature_names, config.kind
        about, pool = None, None
        if self.free is not None:
            about = self.free.description
        elif kind is not None and kind.described:
            about = description_of(config, self.teacher, names, self.dataset.x[self.rows.train])
        if kind is not None and kind.pooled:
            pool = self.pool
            if self.free is not None:
                raw = read_inputs(config.like, names)
                pool = self._pool(raw, Columns.detect(raw, names))
        return Known(self.train, self.scalers, about, names, self.answers, pool, self.places)

    def _standardized(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.scalers.x.standardize(self.dataset.x[rows]), self.scalers.y.standardize(self.dataset.y[rows])

    def training(self, config: DistillConfig) -> Training:
        """One student's training by ``config``, which names its objective field by field.

        Raises
        ------
        RecipeError
            Constants that do not fit the data.
        """
        require_tensors(config, self.places)
        known = self.known(config)
        pair = pair_of(config, self.module, self.dataset.d, self.dataset.o, self.seed, self.dataset.input_shape)
        student = pair.student
        if config.initial == "teacher" and is_plain(student):
            if can_inherit(student.widths, student.activation, self.module):
                inherit(student, self.module, torch.from_numpy(self.train[0][:POINTS]).float())
        recipe = recipe_of(
            config,
            self.dataset.d,
            places=self.places,
            fed=config.searched and config.drawn != "direct" and not config.kind.pooled,
            differentiable=is_differentiable(pair.teacher),
            box=box_of(config, known),
        )
        if config.gm_scale == "teacher" and recipe.w_gm.active:
            own = pair.teacher is self.module
            size = max(self._gradient_size if own else self._mean_square_gradient(pair.teacher), 1e-12)
            recipe = replace(recipe, w_gm=Schedule(recipe.w_gm.start / size, recipe.w_gm.end / size, recipe.w_gm.hold))
        source = source_of(config, recipe, pair, known, self.seed)
        shards = None
        if self.stream is not None and source.feed is None and source.x is not None:

            def make(rows: np.ndarray) -> Source:
                train = self._standardized(rows)
                return source_of(config, recipe, pair, replace(known, train=train, answers=self.asked(rows)), self.seed)

            shards = Shards(self.stream, self.dataset.d, config.batch, self.seed, make)
        return Training(
            pair=pair,
            source=source,
            recipe=recipe,
            optimizer=optimizer_of(config),
            spec=config.student,
            seed=self.seed,
            scalers=self.scalers,
            rows=self.rows if shards is None else replace(self.rows, train=shards.rows),
            shards=shards,
            held=self.held,
            answers=self.teacher_on_held if self.free is None and config.base in WITHOUT_LABELS else None,
            beside=None if known.pool is None else partial(known.pool.held, config.noise, tuple(config.sigma)),
            teacher_source=self.teacher.source,
            total=None if config.steps == "auto" else config.steps,
            every=config.evaluate_every,
            device=config.device,
            compute=config.compute,
            mixed=config.mixed_precision,
            decided=config.model_dump(
                mode="json", exclude={"recipe", "baseline", "compute", "device", "accept_teacher"}
            ),
            known=partial(known_hash, known, pair.plain_teacher),
        )


def standardized_rows(
    dataset: Dataset,
    rows: np.ndarray,  # [n] row numbers
    scalers: Scalers,
    kind: type[np.floating] = np.float64,
) -> tuple[np.ndarray, np.ndarray]:  # [n, d], [n, o]
    """Inputs and targets of rows, standardised in float64 some megabytes at a time, and kept as ``kind``."""
    x, y = np.empty((len(rows), dataset.d), kind), np.empty((len(rows), dataset.o), kind)
    for begin, block in blocks_of(dataset.x, rows):
        part = slice(begin, begin + len(block))
        x[part] = scalers.x.standardize(block)
        y[part] = scalers.y.standardize(dataset.y[rows[part]])
    return x, y
