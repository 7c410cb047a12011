"""The training loop: chunks of steps, a validation after each, the best state kept, resumable.

Everything that trains goes through :func:`run`, so that a teacher, a student and its baseline are selected by one rule:
the lowest RMSE on the validation rows (their labels, or the teacher's answers without data), validated every
``every`` steps.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor

from ..fused import Member, TrainState
from ..objectives import LOSS_COLUMNS
from ..sampling import Feed, advance_fed
from .checkpoint import Checkpoint
from .divergence import Diverged, check_losses, check_validation
from .ranks import current
from .shards import Shards, advance_rows

__all__ = [
    "SAVE_AFTER",
    "LoopState",
    "Progress",
    "Validation",
    "keep_before",
    "resume",
    "run",
    "save",
    "snapshot_of",
]

#: ``progress(step, total, losses, validation)``; the losses are means
# over the steps since the last call, the #: validation
#: is that of :meth:`Validation.figures`.
Progress = Callable[[int, int, "dict[str, float]", "dict[str, Any]"], None]

_AS_MANY = 100  # held-out rows that say as much as the neighbours do
_UNKNOWN = ("best_rmse", "best_score", "best_progress", "best_distance")  # infinite before the first look
SAVE_AFTER = 3.0  # [s] between two checkpoints: what a killed process can lose


@dataclass(frozen=True, eq=False)
class Validation:
    """Rows that select the best state, and the factor from the standardised RMSE to the displayed unit."""

    x: Tensor  # [n, d] standardised
    y: Tensor  # [n, o] standardised, float64
    unit_scale: float  # one target: its standard deviation, so that the RMSE is in raw units; several: 1
    keep: Callable[[torch.nn.Module], torch.nn.Module] = lambda student: student  # what is kept of the trained network
    answers: Tensor | None = None  # [n, o] the teacher's, where a student that follows it alone is selected by them
    beside: tuple[Tensor, Tensor] | None = None  # points around the rows, and the teacher's answers, standardised
    deviations: tuple[float, ...] = ()  # [o] of the targets, in their units

    def figures(self, module: torch.nn.Module) -> dict[str, Any]:
        """Return ``validation_rmse``, over rows and outputs, each in its standard deviations (with one target in its
        unit); and ``target_rmse``, a list of the RMSE of each output in its own unit."""
        return self._figures(self._answers(module, self.x) - self.y)

    def judged(self, module: torch.nn.Module) -> Judged:
        """Return what a climb is selected and ended by."""
        answers = self._answers(module, self.x)  # asked once
        figures = self._figures(answers - self.y)
        distance = _rms(answers - (self.y if self.answers is None else self.answers))
        if self.beside is None:
            return Judged(figures, distance, distance, distance)
        x, aim = self.beside
        progress = _rms(self._answers(module, x) - aim)
        share = len(self.x) / (len(self.x) + _AS_MANY)
        return Judged(figures, distance**share * progress ** (1.0 - share), progress, distance)

    def _figures(self, error: Tensor) -> dict[str, Any]:  # [n, o]
        own = error.square().mean(0).sqrt().tolist()
        return {
            "validation_rmse": self.unit_scale * _rms(error),
            "target_rmse": [scale * value for scale, value in zip(self.deviations or [1.0] * len(own), own)],
        }

    def _answers(self, module: torch.nn.Module, x: Tensor) -> Tensor:  # [n, d] -> [n, o] float64
        with torch.no_grad():
            return self.keep(module).to(x.device)(x).double()


@dataclass(frozen=True)
class Judged:
    """How far a student is from what it follows.

    Attributes
    ----------
    figures : dict
        Those of :meth:`Validation.figures`.
    score : float
        What a climb is selected by: a mean, in logarithms, of the distance on rows and on neighbours. A relative gain
        counts alike on both; the rows have a share of n / (n + ``_AS_MANY``): few rows say little.
    progress : float
        What says whether more steps help: the distance on neighbours where there are any, else on the rows.
    distance : float
        On the held-out rows.
    """

    figures: dict[str, Any]
    score: float
    progress: float
    distance: float


def _rms(error: Tensor) -> float:
    return error.square().mean().sqrt().item()


@dataclass(eq=False)
class LoopState:
    """Progress of the loop; the student holds the best weights when it is done."""

    best_step: int = 0
    best_rmse: float = math.inf
    history: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    of_rung: float = 0.0  # [s] of these, since the last branch of a climb
    done: bool = False
    steps: int = 0  # taken in all
    best_score: float = math.inf
    best_progress: float = math.inf
    best_distance: float = math.inf
    idle: int = 0  # doublings of the steps in a row that brought too little
    gain: float | None = None  # relative, of the last doubling of the steps
    best: dict[str, Tensor] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """JSON-able, without ``best``; None stands for infinity, of what is not known yet."""
        own = {one.name: getattr(self, one.name) for one in fields(self) if one.name != "best"}
        return own | {name: None for name in _UNKNOWN if not math.isfinite(own[name])}


def run(
    member: Member,
    validation: Validation,
    *,
    feed: Feed | None = None,
    shards: Shards | None = None,
    every: int,
    patience: int | None = None,
    progress: Progress | None = None,
    checkpoint: Checkpoint | None = None,
) -> LoopState:
    """Train ``member.student`` in place and leave the best state in it.

    Parameters
    ----------
    member : Member
        Student, teacher, rows, recipe, optimizer, steps and seed; its ``decision`` names what computes the steps.
    feed : Feed, optional
        Source of the member's rows, round by round; its state is part of the checkpoint.
    shards : Shards, optional
        Source of the member's rows where these stay in their file.
    every : int
        Steps between two validations.
    patience : int, optional
        Validations without a new best before stopping; None trains to the end.
    checkpoint : Checkpoint, optional
        Saves the state every few seconds and on an interruption. The same call then resumes with identical bits.

    Raises
    ------
    Diverged
        A loss is not finite or has exploded; the message names step, loss and remedy, and the last state before it is
        kept in the checkpoint.
    """
    outcome = resume(member, feed, checkpoint)
    student, saved = member.student, time.monotonic()
    snapshot = snapshot_of(member, feed, outcome, checkpoint)
    try:
        while not outcome.done:
            started = time.monotonic()
            n = min(every, member.total - member.state.step)
            done = advance_fed([member], [feed], n)[0] if feed is not None else advance_rows(member, n, shards)
            losses = done.losses
            check_losses(losses, member, outcome.history[0]["total"] if outcome.history else None)
            means = dict(zip(LOSS_COLUMNS, losses.double().mean(0).tolist()))
            counted = member.averaged()
            figures = validation.figures(counted)
            rmse = figures["validation_rmse"] = current().agreed(figures["validation_rmse"])
            check_validation(rmse, outcome.best_rmse, validation.unit_scale, member)
            step = member.state.step
            outcome.history.append({"step": step, **means, **figures})
            if rmse < outcome.best_rmse:
                outcome.best_rmse, outcome.best_step = rmse, step
                outcome.best = {key: t.detach().clone() for key, t in counted.state_dict().items()}
            waited = sum(entry["step"] > outcome.best_step for entry in outcome.history)
            outcome.done = step >= member.total or (patience is not None and waited >= patience)
            outcome.steps, outcome.seconds = step, outcome.seconds + time.monotonic() - started
            snapshot = snapshot_of(member, feed, outcome, checkpoint)
            if time.monotonic() - saved > SAVE_AFTER or (outcome.done and checkpoint is not None):
                save(checkpoint, snapshot)
                saved = time.monotonic()
            if progress is not None:
                progress(step, member.total, means, figures)
    except KeyboardInterrupt:
        save(checkpoint, snapshot)  # the last whole chunk; the one that was interrupted is done again
        raise
    except Diverged as error:
        raise keep_before(error, checkpoint, snapshot) from None
    student.load_state_dict(outcome.best)
    return outcome


def snapshot_of(
    member: Member, feed: Feed | None, outcome: LoopState, checkpoint: Checkpoint | None
) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return copies of everything that the next chunk changes; called between chunks, where the state is whole."""
    if checkpoint is None or checkpoint.path is None or not outcome.steps:
        return None
    tensors = {f"student.{key}": t.detach().clone() for key, t in member.student.state_dict().items()}
    tensors |= {f"best.{key}": t for key, t in outcome.best.items()}
    tensors |= {f"state.{key}": t.detach().clone() for key, t in member.state.state_dict().items()}
    tensors |= {f"feed.{key}": t.detach().clone() for key, t in (feed.state_dict() if feed is not None else {}).items()}
    return tensors, {**outcome.facts(), "history": list(outcome.history)}


def save(checkpoint: Checkpoint | None, snapshot: tuple[dict[str, Tensor], dict[str, Any]] | None) -> None:
    if checkpoint is not None and snapshot is not None:
        checkpoint.save(*snapshot)


def keep_before(
    error: Diverged, checkpoint: Checkpoint | None, snapshot: tuple[dict[str, Tensor], dict[str, Any]] | None
) -> Diverged:
    """Save the last state before a divergence, and return the error that says where it is."""
    if checkpoint is None or checkpoint.path is None or snapshot is None:
        return error
    save(checkpoint, snapshot)
    return error.kept_in(checkpoint.path, snapshot[1]["steps"])


def resume(member: Member, feed: Feed | None, checkpoint: Checkpoint | None) -> LoopState:
    stored = checkpoint.load() if checkpoint is not None else None
    if stored is None:
        return LoopState()
    tensors, facts = stored
    part = lambda name: {key.removeprefix(name): t for key, t in tensors.items() if key.startswith(name)}
    member.student.load_state_dict(part("student."))
    state = TrainState.load(part("state."))
    member.state.step = state.step
    # A stored state is read on the CPU; the averages belong on the parameters' device.
    member.state.slots = {name: [t.to(member.device) for t in tensors] for name, tensors in state.slots.items()}
    if feed is not None:
        feed.load_state_dict(part("feed."))
    unknown = [name for name in _UNKNOWN if facts[name] is None]
    facts |= dict.fromkeys(unknown, math.inf)
    return LoopState(**facts, best=part("best."))
