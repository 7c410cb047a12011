"""The race of recipe auto: candidates are trained together, judged on rows that none of them saw, and halved.

Successive halving (Jamieson & Talwalkar 2016) over the doublings of :mod:`regkd_edge.training.ladder`: after each, the
better part goes on, and the base alone always, unless it is trained already. Candidates with costly steps enter after
the first rung, where the others leave room for them (:mod:`regkd_edge.training.race.compute`). The measure is the
distance to the teacher on held-out rows; where a student of the labels comes clearly nearer to the labels of these rows
than the teacher does, it is the distance to the labels.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...config import DistillConfig
from ...errors import UserError
from ...io.progress import tick
from ...recipes.candidates import Candidate, candidates
from ..ladder import FIRST
from ..setting import Setting
from .afford import Means, seconds_per_row, within
from .choice import decided, going_on, rivals, winner_of
from .compute import allowed, left_open, spent, weigh
from .elsewhere import from_elsewhere
from .entrant import Entrant, advance_all, enter, judge_all
from .folds import folds_of
from .foregone import foregone
from .last_heat import Heat
from .measure import measure_of
from .state import RaceState
from .summary import sentence
from .units import Pair, TargetUnits, by_target

__all__ = ["Race", "hold_race"]

_RUNGS = 3
_SHARE = 0.5  # of a budget that the race may take
_NEXT = 1.2  # times as long as a rung that the next one may take: twice the steps, for the better candidates alone
_RUNGS_OF_TENSORS = (500, 1_000)  # PyTorch trains these students: fewer and shorter rungs, fewer folds
_FOLDS_OF_TENSORS = 2
_FIRST_OF_FIXED = 8  # with a given number of steps, the first rung is this part of it


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
    units: TargetUnits
    teacher_error: tuple[list[float], float] | None  # RMSE [o] and pooled against the labels of the held-out rows
    rungs: list[int]
    folds: int
    rows: int
    seconds: float
    until: float | None
    spent: float = 0.0  # in steps of the base alone
    base_steps: int | None = None  # until the base alone stopped, where it was trained beforehand
    foregone: bool = False  # the winner is sure to be kept: no last heat is needed
    heat: Heat | None = None  # of the winner against the base alone, once both are trained
    elsewhere: bool = False  # the rows are not where the teacher's were
    means: Means | None = None  # what a slow teacher allowed in the time that was given

    @property
    def kept(self) -> Entrant:
        """Whose student is kept: the winner's, unless it lost the last heat."""
        title = None if self.heat is None else self.heat.kept
        return next((one for one in self.entrants if one.title == title), self.winner)

    @property
    def base(self) -> Entrant:
        return self.entrants[0]

    def score(self, entrant: Entrant) -> float:
        """The distance by which an entrant is judged."""
        return entrant.score(self.measure)

    @property
    def ends(self) -> Pair | None:
        """Distances to the teacher of whose student is kept and of the base alone, both at their end, where many rows
        are held out and the base is trained first. None elsewhere: all folds of the race say more than few rows."""
        compared = self.heat is not None and self.heat.labels_alone is None and self.kept is not self.base
        return self.heat.distance if compared and self.base_steps is not None and self.measure == "teacher" else None

    @property
    def gain(self) -> float:
        """Of whose student is kept over the base alone, relative; at their ends, where these were compared."""
        if self.kept is self.base:
            return 0.0
        if self.ends is not None:
            return 1.0 - self.ends.pooled[0] / max(self.ends.pooled[1], 1e-12)
        return 1.0 - self.score(self.kept) / max(self.score(self.base), 1e-12)

    def record(self) -> dict[str, Any]:
        """JSON-able: candidates with their scores per rung, whose student is kept,
        and the sentence that explains it."""
        return {
            "winner": self.kept.title,
            "fields": self.kept.fields,
            "explanation": sentence(self),
            "measure": f"distance to the {self.measure} on held-out rows, standard deviations of the target",
            "held_out_rows": self.rows,
            "folds": self.folds,
            "rungs": self.rungs,
            "base": self.base.title,
            "gain_over_base": self.gain,
            "compute": {"unit": "steps of the base alone", "race": round(self.spent), "base_alone": self.base_steps},
            "foregone": self.foregone,
            "rows_from_elsewhere": self.elsewhere,
            "last_heat": None if self.heat is None else self.heat.record(),
            "teacher_distance_to_labels": None if self.teacher_error is None else self.teacher_error[1],
            "targets": list(self.units.names),
            "target_teacher_distance_to_labels": None
            if self.teacher_error is None
            else self.units.own(self.teacher_error[0]),
            "candidates": [one.record(self.units) for one in self.entrants],
            "seconds": round(self.seconds, 3),
        }


def hold_race(
    setting: Setting, config: DistillConfig, checkpoint: str | Path | None = None, base_steps: int | None = None
) -> Race:
    """Let the candidates run and return who won.

    Parameters
    ----------
    setting : Setting
        Rows, teacher and scalers of the distillation.
    config : DistillConfig
        With recipe auto: student, steps, optimizer and batch are those of every candidate.
    checkpoint : path, optional
        A folder that keeps the race after each rung. After an interruption the same call goes on from there.
    base_steps : int, optional
        That the base alone took until it stopped, where it is trained already. They limit the race after its first
        rung; and the base leaves it then, since the winner meets it at its end, unless the labels are the measure.
    """
    started = time.monotonic()
    tensors = setting.places is not None
    folds = folds_of(setting, _FOLDS_OF_TENSORS) if tensors else folds_of(setting)
    teacher_squares = np.concatenate([(fold.teacher_on_held - fold.held[1]) ** 2 for fold in folds])  # [n, o]
    teacher_errors = teacher_squares.mean(1)
    held_before = np.concatenate([np.isin(fold.rows.validation, setting.rows.validation) for fold in folds])
    # Without labels a data set holds the teacher's own answers in their place.
    labels = any(not np.allclose(fold.teacher_on_held, fold.held[1], atol=1e-4) for fold in folds)
    who = candidates(labels=labels, gradient=setting.teacher.differentiable, tensors=tensors)
    rungs = _rungs(config, tensors)
    seen = setting.dataset.x[np.concatenate([setting.rows.train, setting.rows.validation])]
    elsewhere = from_elsewhere(setting.teacher.extra, seen)
    state = RaceState(setting, config, checkpoint)
    state.load(who, config, folds)
    started -= state.seconds
    until = None if config.budget is None else started + config.budget
    if not state.entrants:
        _begin(state, setting, config, folds, who, rungs[0])
    for i, rung in enumerate(rungs):
        if i < len(state.rungs):
            continue
        if state.over:
            break
        before = time.monotonic()
        tick(f"{len(state.running)} candidates, rung", i + 1, len(rungs))
        advance_all(state.running, rung)
        running = judge_all(state.running, folds)
        if not running:
            raise UserError("every candidate of the race diverged.", "Lower the learning rate (--lr).")
        state.rungs.append(rung)
        if i == 0:
            state.measure, rows = measure_of(state.entrants, teacher_errors, held_before, elsewhere)
            if left_open(running, state.measure):
                running += _costly(state, config, folds, who, rung, base_steps)
            state.count_labels_on(rows)
        now = time.monotonic()
        late = until is not None and now - started + _NEXT * (now - before) > _SHARE * config.budget
        if base_steps is not None and state.measure == "teacher":  # it is trained already: the last heat is with it
            running = rivals(running)
        better = going_on(running, state.measure)
        state.over = (
            late
            or i + 1 == len(rungs)
            or decided(running, state.measure)
            or not allowed(base_steps, state.entrants, better, len(folds), rungs[i + 1])
        )
        state.running = [winner_of(running, state.measure, state.rungs)] if state.over else better
        # A last heat would be judged on the same rows where there are no folds and the base is not trained yet.
        if state.over and len(folds) == 1 and base_steps is None:
            two = state.running[0], state.entrants[0]
            state.foregone = foregone(*two, state.measure, state.rungs, config, labels=labels)
        state.save(now - started)
    best = state.running[0]
    of_teacher = None
    if held_before.any():
        of_teacher = by_target(teacher_squares[held_before]), float(np.sqrt(teacher_errors[held_before].mean()))
    return Race(
        config=best.config,
        entrants=state.entrants,
        winner=best,
        measure=state.measure,
        units=TargetUnits.of(setting),
        teacher_error=of_teacher,
        rungs=state.rungs,
        folds=len(folds),
        rows=sum(len(fold.rows.validation) for fold in folds),
        seconds=time.monotonic() - started,
        until=until,
        spent=spent(state.entrants, len(folds)),
        base_steps=base_steps,
        foregone=state.foregone,
        elsewhere=elsewhere,
        means=state.means,
    )


def _begin(
    state: RaceState,
    setting: Setting,
    config: DistillConfig,
    folds: list[Setting],
    who: list[Candidate],
    rung: int,
) -> None:
    """Let those candidates enter that a budget allows; ``rung`` is the number of steps of the first."""
    if config.budget is not None:
        per_row = seconds_per_row(setting, config.budget)
        means = within(config.budget, who, per_row, folds=len(folds), steps=rung, batch=config.batch)
        for fold in folds:
            fold.ask_at_most(means.points)
        state.means, who = means, means.who
    found = [enter(candidate, config, folds) for candidate in who if candidate.share == 1.0]
    state.entrants = [one for one in found if one is not None]
    state.running = list(state.entrants)
    weigh(state.entrants)


def _costly(
    state: RaceState,
    config: DistillConfig,
    folds: list[Setting],
    who: list[Candidate],
    rung: int,
    base_steps: int | None,
) -> list[Entrant]:
    """Let those with costly steps enter, and take as many as the others; return those that did not diverge."""
    affordable = who if state.means is None else state.means.who
    found = [enter(candidate, config, folds) for candidate in affordable if candidate.share != 1.0]
    costly = [one for one in found if one is not None]
    weigh([*state.entrants[:1], *costly])
    if not allowed(base_steps, state.entrants, costly, len(folds), rung):
        return []
    state.entrants += costly
    advance_all(costly, rung)
    return judge_all(costly, folds)


def _rungs(config: DistillConfig, tensors: bool) -> list[int]:
    """Steps of the trunk after which the candidates are judged."""
    if config.steps == "auto" and tensors:
        return list(_RUNGS_OF_TENSORS)
    if config.steps == "auto":
        return [FIRST // 2 * 2**i for i in range(_RUNGS)]
    first = max(1, config.steps // _FIRST_OF_FIXED)
    return sorted({min(first * 2**i, config.steps) for i in range(_RUNGS)})
