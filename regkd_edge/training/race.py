"""The race of recipe auto: candidates are trained together, judged on rows that none of them saw, and halved.

Successive halving (Jamieson & Talwalkar 2016) over the doublings of :mod:`regkd_edge.training.ladder`: after each, the
better half goes on, and the base alone always. The measure is the distance to the teacher on held-out rows; where the
labels alone come nearer to the labels of these rows than the teacher does, it is the distance to the labels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from ..config import DistillConfig
from ..errors import RecipeError, UserError
from ..fused import Member, advance
from ..io.progress import tick
from ..recipes.candidates import BASE_ALONE, LABELS_ALONE, MIXTURE, Candidate, candidates
from .folds import folds_of
from .ladder import FIRST, branches
from .setting import Setting
from .verdict import sentence

__all__ = ["Entrant", "Race", "hold_race"]

_RUNGS = 3
_KEPT = 0.4  # of the candidates after each rung
_AHEAD = 0.95  # of another's distance: what is not below it counts as equal
_SHARE = 0.5  # of a budget that the race may take
_FIRST_OF_FIXED = 8  # with a given number of steps, the first rung is this part of it


@dataclass(eq=False)
class Entrant:
    """A candidate under training, once per fold."""

    candidate: Candidate
    config: DistillConfig
    members: list[Member]
    keep: list[Callable]
    scores: list[float] = field(default_factory=list)  # distance to the teacher after each rung, standard deviations
    label_scores: list[float] = field(default_factory=list)
    label_errors: np.ndarray | None = None  # [n] squared, of the held-out rows in the order of the folds

    @property
    def fields(self) -> dict[str, Any]:
        """Of the configuration: what ``recipe none`` needs for the same student."""
        batch = {} if self.candidate.share == 1.0 else {"batch": self.config.batch}
        return {**self.candidate.fields, **batch}

    def score(self, measure: str) -> float:
        """The last distance."""
        return (self.scores if measure == "teacher" else self.label_scores)[-1]

    def record(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "title": self.candidate.title,
            "fields": self.fields,
            "distance_to_teacher": self.scores,
            "distance_to_labels": self.label_scores,
        }


@dataclass(eq=False)
class Race:
    """How it went.

    Parameters
    ----------
    config : DistillConfig
        That of the winner, field by field; ``recipe`` is None.
    measure : str
        ``teacher`` or ``labels``: what distances are to.
    """

    config: DistillConfig
    entrants: list[Entrant]
    winner: Entrant
    measure: str
    teacher_error: float | None  # RMSE against the labels of the held-out rows
    rungs: list[int]
    folds: int
    rows: int
    seconds: float
    until: float | None

    @property
    def base(self) -> Entrant:
        return self.entrants[0]

    def score(self, entrant: Entrant) -> float:
        """The last distance of an entrant."""
        return entrant.score(self.measure)

    @property
    def gain(self) -> float:
        """Of the winner over the base alone after the last rung, relative; 0: the base alone won."""
        return 1.0 - self.score(self.winner) / max(self.score(self.base), 1e-12)

    def record(self) -> dict[str, Any]:
        """JSON-able: candidates with their scores per rung, the winner, and the sentence that explains it."""
        return {
            "winner": self.winner.candidate.title,
            "fields": self.winner.fields,
            "explanation": sentence(self),
            "measure": f"distance to the {self.measure} on held-out rows, standard deviations of the target",
            "held_out_rows": self.rows,
            "folds": self.folds,
            "rungs": self.rungs,
            "base": self.base.candidate.title,
            "gain_over_base": self.gain,
            "teacher_distance_to_labels": self.teacher_error,
            "candidates": [one.record() for one in self.entrants],
            "seconds": round(self.seconds, 3),
        }


def hold_race(setting: Setting, config: DistillConfig) -> Race:
    """Let the candidates run and return who won.

    Parameters
    ----------
    setting : Setting
        Rows, teacher and scalers of the distillation.
    config : DistillConfig
        With recipe auto: student, steps, optimizer and batch are those of every candidate.
    """
    started = time.monotonic()
    until = None if config.budget is None else started + config.budget
    folds = folds_of(setting)
    rungs = _rungs(config)
    gradient = setting.teacher.differentiable
    # Without labels a data set holds the teacher's own answers in their place.
    labels = any(not np.allclose(fold.teacher_on_held, fold.held[1], atol=1e-4) for fold in folds)
    entrants = []
    for candidate in candidates(labels=labels, gradient=gradient):
        try:
            entrants.append(_enter(candidate, config, folds))
        except RecipeError:  # a candidate that does not fit this student or teacher stays away
            if candidate is BASE_ALONE:
                raise
    running = list(entrants)
    teacher_errors = np.concatenate([((fold.teacher_on_held - fold.held[1]) ** 2).sum(1) for fold in folds])
    held_before = np.concatenate([np.isin(fold.rows.validation, setting.rows.validation) for fold in folds])
    measure = "teacher"
    for i, rung in enumerate(rungs):
        before = time.monotonic()
        tick(f"race of the recipes: {len(running)} candidates, rung", i + 1, len(rungs))
        _advance(running, rung)
        for entrant in running:
            _judge(entrant, folds)
        running = [one for one in running if one.scores and math.isfinite(one.scores[-1])]
        if not running:
            raise UserError("every candidate of the race diverged.", "Lower the learning rate (--lr).")
        measure = _measure(entrants, teacher_errors, held_before) if i == 0 else measure
        spent = time.monotonic() - before
        late = until is not None and time.monotonic() - started + 1.2 * spent > _SHARE * config.budget
        if i + 1 == len(rungs) or late:
            rungs = rungs[: i + 1]
            break
        running = _better(running, measure)
    best = _winner(running, measure)
    return Race(
        best.config,
        entrants,
        best,
        measure,
        float(np.sqrt(teacher_errors[held_before].mean())) if held_before.any() else None,
        rungs,
        len(folds),
        sum(len(fold.rows.validation) for fold in folds),
        time.monotonic() - started,
        until,
    )


def _rungs(config: DistillConfig) -> list[int]:
    """Steps of the trunk after which the candidates are judged."""
    if config.steps == "auto":
        return [FIRST * 2**i for i in range(_RUNGS)]
    first = max(1, config.steps // _FIRST_OF_FIXED)
    return sorted({min(first * 2**i, config.steps) for i in range(_RUNGS)})


def _enter(candidate: Candidate, config: DistillConfig, folds: list[Setting]) -> Entrant:
    batch = max(2, round(candidate.share * config.batch))
    own = config.model_copy(update={"recipe": None, "steps": "auto", "batch": batch, **candidate.fields})
    members, keep = [], []
    for fold in folds:
        training = fold.training(own)
        member, _ = training.member()
        members.append(member)
        keep.append(training.pair.keep)
    chosen = config.model_copy(update={"recipe": None, "batch": batch, **candidate.fields})
    return Entrant(candidate, chosen, members, keep)


def _advance(entrants: list[Entrant], rung: int) -> None:
    members = [member for one in entrants for member in one.members]
    advance(members, rung - members[0].state.step)


def _judge(entrant: Entrant, folds: list[Setting]) -> None:
    try:
        copies = branches(entrant.members)
    except UserError:  # diverged: it is out
        entrant.scores.append(math.inf)
        entrant.label_scores.append(math.inf)
        return
    near, far = [], []
    for fold, copy_, keep in zip(folds, copies, entrant.keep):
        x = torch.from_numpy(fold.held[0]).float()
        with torch.no_grad():
            s = keep(copy_.student)(x.to(copy_.device)).cpu().double().numpy()
        near.append((s - fold.teacher_on_held) ** 2)
        far.append((s - fold.held[1]) ** 2)
    entrant.scores.append(float(np.sqrt(np.concatenate(near).mean())))
    entrant.label_errors = np.concatenate(far).sum(1)
    entrant.label_scores.append(float(np.sqrt(np.concatenate(far).mean())))


def _measure(entrants: list[Entrant], teacher_errors: np.ndarray, held_before: np.ndarray) -> str:
    """``labels`` where the labels alone are nearer to the labels than the teacher, by more than two standard errors.

    Asked on the validation rows alone: on rows that the teacher was trained on, it looks better than it is.
    """
    alone = next((one for one in entrants if one.candidate is LABELS_ALONE), None)
    if alone is None or alone.label_errors is None or held_before.sum() < 8:
        return "teacher"
    gap = (teacher_errors - alone.label_errors)[held_before]
    return "labels" if gap.mean() > 2.0 * gap.std() / math.sqrt(len(gap)) else "teacher"


def _winner(running: list[Entrant], measure: str) -> Entrant:
    """The best; or the mixture of all kinds of noise, where it is as good but for the noise of such a comparison.

    On few rows the best of many looks better than it is. A mixture relies on no single kind of noise being right.
    """
    best = min(running, key=lambda one: one.score(measure))
    mixture = next((one for one in running if one.candidate is MIXTURE), None)
    tied = (
        mixture is not None
        and best.candidate is not BASE_ALONE
        and mixture.score(measure) < best.score(measure) / _AHEAD
    )
    return mixture if tied else best


def _better(running: list[Entrant], measure: str) -> list[Entrant]:
    """The better part, and the base alone.

    A candidate whose steps evaluate the teacher goes on only where it is clearly ahead of all that read stored
    answers: for what its next rung costs, they could be trained many times as long.
    """
    light = min((one.score(measure) for one in running if one.candidate.share == 1.0), default=math.inf)
    worth = [one for one in running if one.candidate.share == 1.0 or one.score(measure) < _AHEAD * light]
    kept = sorted(worth, key=lambda one: one.score(measure))[: max(2, math.ceil(_KEPT * len(running)))]
    return kept + [one for one in running if one.candidate is BASE_ALONE and one not in kept]
