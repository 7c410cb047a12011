"""A candidate in the race of recipe auto: trained once per fold, judged on the rows that the fold holds out."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from ...config import DistillConfig
from ...config.objective import WITHOUT_LABELS
from ...errors import RecipeError, UserError
from ...fused import Member, TrainState, advance
from ...recipes.candidates import BASE_ALONE, Candidate
from ..ladder import branches
from ..ranks import current
from ..setting import Setting
from .units import TargetUnits, by_target, stored

__all__ = ["Entrant", "advance_all", "enter", "judge_all", "without_students"]

_OWN_ROWS = 512  # of those that it was trained on, judged beside the others


@dataclass(eq=False)
class Entrant:
    """A candidate with its figures after each rung.

    Parameters
    ----------
    config : DistillConfig
        That trains the student the candidate stands for.
    members, keep : list
        One per fold; empty for one that is out.
    cost : float
        Of a step, relative to one of the base alone.
    steps : list of int
        That its students had taken at each rung, before their learning rate fell.
    scores, label_scores : list of float
        Root mean squared distances to the teacher and to the labels on held-out rows, standard deviations, after each.
    target_scores, target_label_scores : list of [o]
        The same of each target.
    on_own_rows : float
        Distance to the teacher on rows that they were trained on, after the first.
    errors, label_errors : [n] or None
        Squared distances of the last rung, row by row, in the order of the folds.
    label_rows : bool [n] or None
        Those of these rows on which distances to the labels count; None: all. On rows that the teacher was trained on,
        a student that follows it looks nearer to the labels than it is.
    """

    candidate: Candidate
    config: DistillConfig
    members: list[Member] = field(default_factory=list)
    keep: list[Callable] = field(default_factory=list)
    cost: float = 1.0
    steps: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    label_scores: list[float] = field(default_factory=list)
    target_scores: list[list[float]] = field(default_factory=list)
    target_label_scores: list[list[float]] = field(default_factory=list)
    on_own_rows: float = math.inf
    errors: np.ndarray | None = None
    label_errors: np.ndarray | None = None
    label_squares: np.ndarray | None = None  # [n, o], of which ``label_errors`` is the mean over the targets
    label_rows: np.ndarray | None = None

    @property
    def title(self) -> str:
        return self.candidate.title

    @property
    def fields(self) -> dict[str, Any]:
        """Of the configuration: what ``recipe none`` needs for the same student."""
        batch = {} if self.candidate.share == 1.0 else {"batch": self.config.batch}
        return {**self.candidate.fields, **batch}

    def score(self, measure: str) -> float:
        """The last distance, pooled; to the labels, of a student that learns from them, that of its best rung.

        Few labels are soon known by heart. Trained to its end, such a student stops where held-out labels are nearest.
        """
        return (self.scores if measure == "teacher" else self.label_scores)[self._rung(measure)]

    def distances(self, measure: str) -> tuple[list[float], float]:
        """The same, of each target [o] and pooled."""
        own = self.target_scores if measure == "teacher" else self.target_label_scores
        return own[self._rung(measure)], self.score(measure)

    def _rung(self, measure: str) -> int:
        if measure == "teacher" or self.candidate.fields.get("base") in WITHOUT_LABELS:
            return -1
        return int(np.argmin(self.label_scores))

    def _on_counted(self, squares: np.ndarray) -> np.ndarray:
        """The rows on which labels count; of one that diverged, all."""
        if self.label_rows is None or len(squares) != len(self.label_rows):
            return squares
        return squares[self.label_rows]

    def count_labels_on(self, rows: np.ndarray) -> None:
        """Count distances to the labels on these rows alone, from the last rung on."""
        self.label_rows = rows
        if self.label_squares is not None and self.label_scores:
            counted = self._on_counted(self.label_squares)
            self.label_scores[-1], self.target_label_scores[-1] = float(np.sqrt(counted.mean())), by_target(counted)

    def ahead_of(self, other: Entrant, measure: str) -> float:
        """By how many standard errors it is nearer on the held-out rows; the two are compared row by row."""
        ours, theirs = (e.errors if measure == "teacher" else e.label_errors for e in (self, other))
        if ours is None or theirs is None or len(ours) < 2:
            return 0.0
        if measure == "labels":
            ours, theirs = self._on_counted(ours), other._on_counted(theirs)
        gap = theirs - ours
        return float(gap.mean() / max(gap.std() / math.sqrt(len(gap)), 1e-300))

    def judge(self, copies: Sequence[Member], folds: Sequence[Setting]) -> bool:
        """Note how far its students, one per fold, are from teacher and labels; no students, or False: it diverged."""
        none = np.full((0 if copies else 1, folds[0].held[1].shape[1]), math.inf)
        near, far, own = [none], [none], [none]
        for fold, copy_, keep in zip(folds, copies, self.keep):
            student = keep(copy_.averaged())
            s = _answers(student, fold.held[0], copy_)
            near.append((s - fold.teacher_on_held) ** 2)
            far.append((s - fold.held[1]) ** 2)
            if not self.scores:  # what the first rung decides
                s = _answers(student, fold.train[0][:_OWN_ROWS], copy_)
                own.append((s - fold.answers[:_OWN_ROWS]) ** 2)
        judged = tuple(np.concatenate(squares) for squares in (near, far, own))
        # Several processes decide by the same figures, to the last bit.
        near, far, trained_on = current().agreed(judged)  # [n, o]
        self.errors, self.label_errors, self.label_squares = near.mean(1), far.mean(1), far
        self.steps.append(self.members[0].state.step)
        self.target_scores.append(by_target(near))
        self.target_label_scores.append(by_target(self._on_counted(far)))
        self.scores.append(float(np.sqrt(self.errors.mean())))
        self.label_scores.append(float(np.sqrt(self._on_counted(far).mean())))
        if len(trained_on):
            self.on_own_rows = float(np.sqrt(trained_on.mean()))
        return math.isfinite(self.scores[-1])

    def record(self, units: TargetUnits) -> dict[str, Any]:
        """JSON-able: per rung, pooled and of each target in its unit; None where it diverged."""
        return {
            "title": self.title,
            "fields": self.fields,
            "steps": self.steps,
            "distance_to_teacher": stored(self.scores),
            "distance_to_labels": stored(self.label_scores),
            "target_distance_to_teacher": [stored(units.own(rung)) for rung in self.target_scores],
            "target_distance_to_labels": [stored(units.own(rung)) for rung in self.target_label_scores],
        }

    def tensors(self) -> dict[str, torch.Tensor]:
        """Copies of everything that the next rung changes."""
        found = {}
        for i, member in enumerate(self.members):
            found |= {f"{i}.student.{key}": t.detach().clone() for key, t in member.student.state_dict().items()}
            found |= {f"{i}.state.{key}": t.detach().clone() for key, t in member.state.state_dict().items()}
        return found

    def load(self, tensors: dict[str, torch.Tensor]) -> None:
        """Go on from :meth:`tensors`."""
        part = lambda name: {k.removeprefix(name): t for k, t in tensors.items() if k.startswith(name)}
        for i, member in enumerate(self.members):
            member.student.load_state_dict(part(f"{i}.student."))
            state = TrainState.load(part(f"{i}.state."))
            member.state.step = state.step
            member.state.slots = {name: [t.to(member.device) for t in v] for name, v in state.slots.items()}


def enter(candidate: Candidate, config: DistillConfig, folds: Sequence[Setting]) -> Entrant | None:
    """Make the students of a candidate; None for one that does not fit this student or teacher.

    Raises
    ------
    RecipeError
        The base alone does not fit.
    """
    entrant = without_students(candidate, config)
    own = entrant.config.model_copy(update={"steps": "auto"})
    try:
        for fold in folds:
            training = fold.training(own)
            entrant.members.append(training.member()[0])
            entrant.keep.append(training.pair.keep)
    except RecipeError:
        if candidate is BASE_ALONE:
            raise
        return None
    return entrant


def without_students(candidate: Candidate, config: DistillConfig) -> Entrant:
    """The entrant that stands for a candidate, with nothing to train."""
    batch = max(2, round(candidate.share * config.batch))
    fields = {"recipe": None, "batch": batch, **candidate.fields}
    return Entrant(candidate, config.model_copy(update=fields))


def advance_all(entrants: Sequence[Entrant], rung: int) -> None:
    """Train all students up to ``rung`` steps; those with the same way together."""
    together = defaultdict(list)
    for one in entrants:
        together[rung - one.members[0].state.step] += one.members
    for steps, members in together.items():
        advance(members, steps)


def judge_all(entrants: Sequence[Entrant], folds: Sequence[Setting]) -> list[Entrant]:
    """Judge copies of all students after their learning rate has fallen to 0; return those that did not diverge."""
    together = defaultdict(list)
    for one in entrants:
        together[one.members[0].state.step].append(one)
    found: dict[int, list[Member]] = {}
    for alike in together.values():
        try:
            copies = branches([member for one in alike for member in one.members])
            parts = [copies[i : i + len(folds)] for i in range(0, len(copies), len(folds))]
        except UserError:  # one of them diverged: which?
            parts = [_branches_of(one) for one in alike]
        found |= {id(one): own for one, own in zip(alike, parts)}
    return [one for one in entrants if one.judge(found[id(one)], folds)]


def _branches_of(entrant: Entrant) -> list[Member]:
    try:
        return branches(entrant.members)
    except UserError:
        return []


def _answers(student: nn.Module, x: np.ndarray, member: Member) -> np.ndarray:  # [n, d] -> [n, o]
    with torch.no_grad():
        return student(torch.from_numpy(x).float().to(member.device)).cpu().double().numpy()
