"""The last heat of recipe auto: the winner of the race against the base alone, both trained to their end.

The race judges students of a few thousand steps. Trained on, the base may catch up; and a student that comes nearer to
its teacher than the base may move away from the labels, since it takes over errors of the teacher that a plain student
smooths away. Both are seen on the validation rows alone, which neither of the two was trained on. Where the base is
nearer to the labels, the labels alone may be nearer still: they then join the heat. And a winner whose steps evaluate
the teacher learns more from each of a few thousand steps than one that reads stored answers; at their ends the mixture
of noises may be as near, from more points and at a fraction of the cost. It then takes the winner's place.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ...config import DistillConfig
from ...config.flags import flag_of
from ...io.progress import tick
from ...models import predict
from ...recipes.candidates import BASE_ALONE, LABELS_ALONE, MIXTURE, Candidate
from ..job import Training
from ..ranks import current
from ..result import Trained
from ..setting import Setting
from .entrant import without_students
from .folds import ENOUGH
from .units import Pair, TargetUnits

__all__ = ["Heat", "Runner", "base_of", "farther", "lost_to", "settle"]

_FEWEST = 8  # rows that say anything
_SURE = 2.0  # standard errors of a difference that may be chance
_MATTERS = 1.02  # of the other's root mean square: what is not above it counts as equal


@dataclass(frozen=True)
class Heat:
    """The winner, or the mixture in its place, against the base alone on ``rows`` validation rows.

    Attributes
    ----------
    distance, labels : Pair
        Root mean squared distances of winner and base to the teacher and to the labels; ``labels`` is None where there
        are none.
    lost : str or None
        ``labels`` or ``teacher``: from what the winner is farther than the base alone by more than chance; a winner
        that is nearer to the labels does not lose to the teacher. None: it did not lose.
    kept : str or None
        Title of the candidate that is kept in the winner's place; None: the winner is kept.
    mixture : Pair or None
        Distances to the teacher of a winner whose steps evaluate the teacher, and of the mixture of noises.
    sure : bool
        What was lost was lost by more than chance; else the base alone is surely nearer to the labels than the teacher.
    """

    rows: int
    units: TargetUnits
    distance: Pair
    labels: Pair | None
    lost: str | None
    kept: str | None = None
    mixture: Pair | None = None
    sure: bool = True

    def record(self) -> dict[str, Any]:
        """JSON-able: each pair pooled, and of each target in its unit; the winner comes first."""
        pairs = {
            "distance_to_teacher": self.distance,
            "distance_to_labels": self.labels,
            "distance_to_teacher_of_winner_and_mixture": self.mixture,
        }
        return {
            "rows": self.rows,
            "lost": self.lost,
            **{name: None if pair is None else list(pair.pooled) for name, pair in pairs.items()},
            **{f"target_{name}": None if pair is None else pair.own(self.units) for name, pair in pairs.items()},
        }

    def sentence(self, winner: str, fields: dict[str, Any]) -> str:
        """Say why the winner is not kept, and how to have it all the same."""
        other = f"{self.kept} is kept (for the other: {_flags(fields)})"
        if self.lost is None and self.mixture is not None:
            return (
                f"{winner} won the race, but trained to its end it is not surely nearer to its teacher on {self.rows} "
                f"held-out rows, {self.mixture.said(self.units)}, and it costs more: {other}"
            )
        compared = self.labels if self.lost == "labels" else self.distance
        nearer = self.lost == "labels" and self.distance.pooled[0] < self.distance.pooled[1]
        follows = "follows its teacher more closely but " if nearer else ""
        what = "the labels" if self.lost == "labels" else "its teacher"
        who = "it"
        if self.mixture is not None:
            winner, who = f"{MIXTURE.title} took the place of {winner}, which", "the mixture"
        chance = "" if self.sure else "which is nearer to them than the teacher itself, "
        return (
            f"{winner} won the race, but trained to its end {who} {follows}is farther from {what} on {self.rows} "
            f"held-out rows than the base alone, {compared.said(self.units)}, {chance}by more than chance: {other}"
        )


@dataclass(frozen=True, eq=False)
class Runner:
    """A student at its end, with what trained it; ``heat`` is the last heat that it came out of, if one was held."""

    config: DistillConfig
    training: Training
    trained: Trained
    heat: Heat | None = None


def settle(
    setting: Setting,
    asked: DistillConfig,
    winner: Runner,
    measure: str,
    *,
    until: float | None = None,
    checkpoint: str | Path | None = None,
    base: Runner | None = None,
) -> Runner:
    """Train the base alone too, and return which of the two is kept, or the labels alone where they are nearer still.

    Beside a winner whose steps evaluate the teacher the mixture of noises is trained first; it is the winner from then
    on unless it is farther from the teacher.

    A checkpoint of the base alone that has run to its end under ``base`` in the folder is taken as it is.

    No heat is held where the base alone won, where the time is up, where too few rows are held out to tell, and among
    students of images and signals, for which PyTorch would take as long again.

    Parameters
    ----------
    asked : DistillConfig
        Before the race.
    measure : str
        Of the race, ``teacher`` or ``labels``; by ``labels`` a distance to the teacher loses nothing.
    until : float, optional
        Time on the clock ``time.monotonic`` at which training should end.
    base : Runner, optional
        The base alone, where it has been trained.
    """
    late = current().agreed(until is not None and time.monotonic() > until)
    alone = winner.config == without_students(BASE_ALONE, asked).config
    if late or alone or setting.places is not None or len(setting.rows.validation) < _FEWEST:
        return winner

    def trained(candidate: Candidate, name: str) -> Runner:
        return _trained(setting, asked, candidate, name, until=until, checkpoint=checkpoint)

    runners, kept, mixture = [winner], winner, None
    if winner.config.batch != asked.batch and measure == "teacher":  # the mark of steps that evaluate the teacher
        runners.append(trained(MIXTURE, "mixture"))
        near = [_to_teacher(setting, one.trained) for one in runners]
        if not current().agreed(farther(near[1].mean(1), near[0].mean(1))):
            kept, mixture = runners[1], Pair.of(*near)
    base = base or trained(BASE_ALONE, "base")
    runners.append(base)
    heat, far = _heat(setting, kept.trained, base.trained, measure)
    heat = replace(heat, kept=None if mixture is None else MIXTURE.title, mixture=mixture)
    if heat.lost is not None:
        kept, heat = base, replace(heat, kept=BASE_ALONE.title)
    if heat.lost == "labels":
        runners.append(trained(LABELS_ALONE, "labels"))
        if current().agreed(farther(far, _to_labels(setting, runners[-1].trained).mean(1))):
            kept, heat = runners[-1], replace(heat, kept=LABELS_ALONE.title)
    kept.trained.seconds = sum(one.trained.seconds for one in runners)
    return replace(kept, heat=heat)


def base_of(setting: Setting, asked: DistillConfig, checkpoint: str | Path | None = None) -> Runner | None:
    """The base alone, trained before the race, where what it takes says how long the rest may take; else None.

    That is where so many rows are held out that they judge by themselves, and the number of steps and the time are not
    given. Images and signals are left out, as in the last heat.
    """
    given = asked.steps != "auto" or asked.budget is not None
    if given or setting.places is not None or len(setting.rows.validation) < ENOUGH:
        return None
    return _trained(setting, asked, BASE_ALONE, "base", checkpoint=checkpoint)


def _trained(
    setting: Setting,
    asked: DistillConfig,
    candidate: Candidate,
    name: str,
    *,
    until: float | None = None,
    checkpoint: str | Path | None = None,
) -> Runner:
    """Train a candidate to its end; ``name`` is its part of the folder ``checkpoint``."""
    tick(f"last heat of the race: {candidate.title}")
    config = without_students(candidate, asked).config
    training = setting.training(config)
    student = training.run(checkpoint=None if checkpoint is None else Path(checkpoint, name), until=until)
    student.checkpoint = None if checkpoint is None else Path(checkpoint)  # the folder that holds all of them
    return Runner(config, training, student)


def _heat(setting: Setting, student: Trained, base: Trained, measure: str) -> tuple[Heat, np.ndarray]:
    """The two compared, and the squared distances [n] of the base to the labels."""
    near = [_to_teacher(setting, one) for one in (student, base)]
    far = [_to_labels(setting, one) for one in (student, base)]
    # Without labels a data set holds the teacher's own answers in their place.
    labels = not np.allclose(setting.teacher_on_held, setting.held[1], atol=1e-4)
    rows = lambda pair: [squares.mean(1) for squares in pair]
    teacher = ((setting.teacher_on_held - setting.held[1]) ** 2).mean(1)
    lost = lost_to(rows(near), rows(far) if labels else None, measure, teacher)
    pair = Pair.of(*far) if labels else None
    sure = lost != "labels" or farther(*rows(far))
    heat = Heat(len(far[0]), TargetUnits.of(setting), Pair.of(*near), pair, lost, sure=sure)
    return current().agreed(heat), far[1].mean(1)  # several processes decide by the same figures


def _to_teacher(setting: Setting, student: Trained) -> np.ndarray:  # [n, o]
    return _errors(setting, student, setting.scalers.y.restore(setting.teacher_on_held))


def lost_to(
    near: Sequence[np.ndarray],
    far: Sequence[np.ndarray] | None,
    measure: str,
    teacher: np.ndarray | None = None,
) -> str | None:
    """Return from what the first of two students is farther (``labels`` before ``teacher``), or None.

    Where the second is surely nearer to the labels than the teacher is, a student that follows the teacher more closely
    moves away from them: there the first loses to the labels also where its own lag may be chance.

    Parameters
    ----------
    near, far : pair of [n]
        Squared distances to the teacher and to the labels; ``far`` is None without labels.
    measure : str
        By ``labels`` a distance to the teacher loses nothing.
    teacher : [n], optional
        Its squared distances to the labels.
    """
    if far is not None and farther(*far):
        return "labels"
    if far is not None and teacher is not None and measure == "teacher":
        lags = math.sqrt(far[0].mean()) > _MATTERS * math.sqrt(far[1].mean())
        if lags and farther(teacher, far[1]):
            return "labels"
    nearer_to_labels = far is not None and farther(far[1], far[0])  # then it left the teacher for a reason
    return "teacher" if measure == "teacher" and farther(*near) and not nearer_to_labels else None


def farther(ours: np.ndarray, theirs: np.ndarray) -> bool:  # [n] squared distances, row by row
    """Whether the first root mean square is larger, by more than chance.

    A few rows with large errors hide a difference of squares that distances without the square show on all rows. Few
    rows also understate their spread: the limit is Student's, as likely to be passed by chance as ``_SURE`` is by many.
    """
    if len(ours) < 2:
        return False
    if math.sqrt(ours.mean()) <= _MATTERS * math.sqrt(theirs.mean()):
        return False
    limit = (_SURE + (_SURE**3 + _SURE) / (4 * (len(ours) - 1))) / math.sqrt(len(ours))  # Student's, first order in 1/n
    gaps = ours - theirs, np.sqrt(ours) - np.sqrt(theirs)
    return any(gap.mean() > limit * gap.std(ddof=1) for gap in gaps)


def _to_labels(setting: Setting, student: Trained) -> np.ndarray:  # [n, o]
    return _errors(setting, student, setting.dataset.y[setting.rows.validation])


def _errors(setting: Setting, student: Trained, aim: np.ndarray) -> np.ndarray:  # aim [n, o] raw -> [n, o]
    answers = predict(student.module, student.scalers, setting.dataset.x[setting.rows.validation])
    return ((answers - aim) / setting.scalers.y.scale) ** 2


def _flags(fields: dict[str, Any]) -> str:
    """The options that name an objective."""
    typed = lambda value: ",".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
    return " ".join(f"{flag_of(name)} {typed(value)}" for name, value in fields.items())
