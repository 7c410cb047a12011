"""The last heat of recipe auto: the winner of the race against the base alone, both trained to their end.

The race judges students of a few thousand steps. Trained on, the base may catch up; and a student that comes nearer to
its teacher than the base may move away from the labels, since it takes over errors of the teacher that a plain student
smooths away. Both are seen on the validation rows alone, which neither of the two was trained on. Where the base is
nearer to the labels, or a student is nearer to them than its own teacher, the labels alone may be nearer still: they
then join the heat. And a winner whose steps evaluate
the teacher learns more from each of a few thousand steps than one that reads stored answers; at their ends the mixture
of noises may be as near, from more points and at a fraction of the cost. It then takes the winner's place.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...config import DistillConfig
from ...io.progress import tick
from ...models import predict
from ...recipes.candidates import BASE_ALONE, LABELS_ALONE, MIXTURE, Candidate
from ..job import Training
from ..loop import Progress
from ..pace import end_for_others
from ..ranks import current
from ..result import Trained
from ..setting import Setting
from .entrant import without_students
from .folds import ENOUGH
from .heat import Heat
from .units import Pair, TargetUnits

__all__ = ["CLEARLY", "Runner", "base_of", "farther", "lost_to", "settle"]

_FEWEST = 8  # rows that say anything
_SURE = 2.0  # standard errors of a difference that may be chance
CLEARLY = 0.9  # of the teacher's error against the labels: a student below it has left the teacher behind
_MATTERS = 1.02  # of the other's root mean square: what is not above it counts as equal


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
    progress: Progress | None = None,
) -> Runner:
    """Train the base alone too, and return which of the two is kept, or the labels alone where they are nearer still.

    The labels alone are trained where the base is nearer to the labels than the winner, and where the student that
    would be kept is surely nearer to them than its teacher: it then learns the teacher's errors. In the second case
    they must be nearer than the teacher by a tenth, as where the race itself turns to the labels.

    Beside a winner whose steps evaluate the teacher the mixture of noises is trained first; it is the winner from then
    on unless it is farther from the teacher.

    A checkpoint of the base alone that has run to its end under ``base`` in the folder is taken as it is.

    No heat is held where the time is up, where too few rows are held out to tell, and among students of images and
    signals, for which PyTorch would take as long again. A base alone that won the race meets the labels alone at most.

    Parameters
    ----------
    asked : DistillConfig
        Before the race.
    measure : str
        Of the race, ``teacher`` or ``labels``; by ``labels`` a distance to the teacher loses nothing.
    until : float, optional
        Time on the clock ``time.monotonic`` at which training should end.
    base : Runner, optional
        The base alone, where it has been trained: the winner has raced with the others, and must be nearer.
    progress : callable, optional
        Of each training, as in :func:`regkd_edge.training.train.distill`.
    """
    late = current().agreed(until is not None and time.monotonic() > until)
    if late or setting.places is not None or len(setting.rows.validation) < _FEWEST:
        return winner

    def trained(candidate: Candidate, name: str) -> Runner:
        nonlocal until
        tick(f"last heat of the race: {candidate.title}")
        begun = time.monotonic()
        one = _trained(setting, asked, candidate, name, until=until, checkpoint=checkpoint, progress=progress)
        until = end_for_others(until, one.trained.seconds, begun)
        return one

    runners, kept = [winner], winner
    heat: Heat | None = None
    if winner.config != without_students(BASE_ALONE, asked).config:
        mixture = None
        if winner.config.batch != asked.batch and measure == "teacher":  # the mark of steps that evaluate the teacher
            runners.append(trained(MIXTURE, "mixture"))
            near = [_to_teacher(setting, one.trained) for one in runners]
            if not current().agreed(farther(near[1].mean(1), near[0].mean(1))):
                kept, mixture = runners[1], Pair.of(*near)
        rival = base or trained(BASE_ALONE, "base")
        runners.append(rival)
        heat = _heat(setting, kept.trained, rival.trained, measure, base is None)
        heat = replace(heat, kept=None if mixture is None else MIXTURE.title, mixture=mixture)
        if heat.lost is not None:
            kept, heat = rival, replace(heat, kept=BASE_ALONE.title)
    far = _to_labels(setting, kept.trained)
    lost = heat is not None and heat.lost == "labels"
    if lost or (measure == "teacher" and _teacher_is_farther(setting, far)):
        runners.append(trained(LABELS_ALONE, "labels"))
        alone = _to_labels(setting, runners[-1].trained)
        clearly = lost or alone.mean() < CLEARLY**2 * _of_teacher(setting).mean()
        if current().agreed(clearly and farther(far.mean(1), alone.mean(1))):
            heat = heat or Heat(len(far), TargetUnits.of(setting))
            kept, heat = runners[-1], replace(heat, kept=LABELS_ALONE.title, labels_alone=Pair.of(far, alone))
    kept.trained.seconds = sum(one.trained.seconds for one in runners)
    return replace(kept, heat=heat)


def base_of(
    setting: Setting, asked: DistillConfig, checkpoint: str | Path | None = None, progress: Progress | None = None
) -> Runner | None:
    """The base alone, trained before the race, where what it takes says how long the rest may take; else None.

    That is where so many rows are held out that they judge by themselves, and the number of steps and the time are not
    given. Images and signals are left out, as in the last heat.
    """
    given = asked.steps != "auto" or asked.budget is not None
    if given or setting.places is not None or len(setting.rows.validation) < ENOUGH:
        return None
    tick(f"{BASE_ALONE.title}, before the race")
    return _trained(setting, asked, BASE_ALONE, "base", checkpoint=checkpoint, progress=progress)


def _trained(
    setting: Setting,
    asked: DistillConfig,
    candidate: Candidate,
    name: str,
    *,
    until: float | None = None,
    checkpoint: str | Path | None = None,
    progress: Progress | None = None,
) -> Runner:
    """Train a candidate to its end; ``name`` is its part of the folder ``checkpoint``."""
    config = without_students(candidate, asked).config
    training = setting.training(config)
    folder = None if checkpoint is None else Path(checkpoint, name)
    student = training.run(checkpoint=folder, until=until, progress=progress)
    student.checkpoint = None if checkpoint is None else Path(checkpoint)  # the folder that holds all of them
    return Runner(config, training, student)


def _heat(setting: Setting, student: Trained, base: Trained, measure: str, raced: bool) -> Heat:
    """The two compared. A base that left the race early (not ``raced``) need not be surely nearer."""
    near = [_to_teacher(setting, one) for one in (student, base)]
    far = [_to_labels(setting, one) for one in (student, base)]
    labels = _has_labels(setting)
    rows = lambda pair: [squares.mean(1) for squares in pair]
    lost = lost_to(rows(near), rows(far) if labels else None, measure, _of_teacher(setting))
    pair = Pair.of(*far) if labels else None
    sure = lost != "labels" or farther(*rows(far))
    if lost is None and measure == "teacher" and not raced and near[0].mean() >= near[1].mean():
        if not (labels and farther(*rows(far)[::-1])):  # then it left the teacher for a reason
            lost, sure = "teacher", False
    heat = Heat(len(far[0]), TargetUnits.of(setting), Pair.of(*near), pair, lost, sure=sure)
    return current().agreed(heat)  # several processes decide by the same figures


def _has_labels(setting: Setting) -> bool:
    """Whether the rows have labels: without, a data set holds the teacher's own answers in their place."""
    return not np.allclose(setting.teacher_on_held, setting.held[1], atol=1e-4)


def _of_teacher(setting: Setting) -> np.ndarray:  # [n]
    """The teacher's squared distances to the labels."""
    return ((setting.teacher_on_held - setting.held[1]) ** 2).mean(1)


def _teacher_is_farther(setting: Setting, student: np.ndarray) -> bool:  # [n, o] squared distances to the labels
    """Whether the teacher is surely farther from the labels than its student is."""
    return current().agreed(_has_labels(setting) and farther(_of_teacher(setting), student.mean(1)))


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
