"""What a race says in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ...io.words import in_percent
from ..ladder import STILL
from .units import Pair

if TYPE_CHECKING:
    from .halving import Race

__all__ = ["notes", "sentence"]

_HELPS = 0.05  # less than so much nearer than the base alone: nothing helps
_ALIKE = 0.8  # of the distance on held-out rows: on training points it is as large
_BELOW = 0.3  # of the teacher's own error
_NEARER = 0.99  # of the base's distance to the labels: what is not below it gains nothing


def sentence(race: Race) -> str:
    """Return one sentence: who won, and how the base alone did."""
    won, base = race.winner.candidate.title, race.base
    if race.kept is not race.winner:
        return race.heat.sentence(won, race.winner.fields)
    if race.measure == "labels":
        where = ", which come from elsewhere than its own" if race.elsewhere else ""
        why = f"the teacher does not hold on these rows{where} (a student of the labels is nearer to them): {won} won"
    else:
        why = f"{won} won"
    nearest = min((one for one in race.entrants if len(one.scores) == len(race.rungs)), key=race.score)
    if nearest is not race.winner:
        why += f" ({nearest.title} is nearer, by too little to be sure; a mixture relies on no single kind of noise)"
    if race.winner is base:
        return f"{why}; no term brought the student nearer to the {race.measure} on held-out rows"
    if not math.isfinite(race.score(base)):
        return f"{why}; the base alone diverged"
    if race.ends is not None:
        farther, figures = 1.0 / max(1.0 - race.gain, 1e-12) - 1.0, Pair(*_turned(race.ends)).said(race.units)
        return (
            f"{why}; trained to its end too, the base alone is {_apart(farther)} the teacher on "
            f"{race.heat.rows} held-out rows: {figures}"
        )
    farther = race.score(base) / max(race.score(race.winner), 1e-12) - 1.0
    (theirs, worst), (ours, best) = (one.distances(race.measure) for one in (base, race.winner))
    figures = Pair((worst, best), (theirs, ours)).said(race.units)
    return f"{why}; the base alone is {_apart(farther)} the {race.measure} on held-out rows: {figures}"


def _apart(farther: float) -> str:
    return f"{in_percent(farther)} farther from" if farther >= 0 else f"{in_percent(-farther)} nearer to"


def _turned(pair: Pair) -> tuple[tuple[float, float], tuple[list[float], list[float]]]:
    return pair.pooled[::-1], pair.targets[::-1]


def notes(race: Race, history: list[dict[str, float]], own: Sequence[str] = ()) -> list[str]:
    """Return what the user should know beside it: where terms cannot help, and why; then the training's ``own`` notes.

    Where a nearer student gains nothing, none of them advises to train on.

    Parameters
    ----------
    history : list of dict
        Of the winner's training: its last entry has the mean square of the base.
    """
    said: list[str] = []
    by_labels = race.heat is not None and (race.heat.lost is not None or race.heat.labels_alone is not None)
    if race.measure != "teacher" or by_labels:
        return [*own]
    reached, error = race.score(race.kept), race.teacher_error
    apart = race.units.said(*race.kept.distances(race.measure))
    if race.gain < _HELPS and race.kept is not race.base:
        said.append(
            f"the terms bring little here: the student is {in_percent(max(race.gain, 0.0))} nearer to its teacher "
            "than with the base alone"
        )
    on_training = history[-1]["base"] ** 0.5
    if race.gain < _HELPS and race.config.base == "mimic" and on_training > _ALIKE * reached:
        said.append(
            f"the student is limited by its size: on its training points its distance from its teacher is "
            f"{on_training / max(reached, 1e-12):.0%} of that on held-out rows, {apart}; a wider one comes nearer"
        )
    labels = None if race.heat is None else race.heat.labels
    if error is not None and labels is not None and labels.pooled[0] > _NEARER * labels.pooled[1]:
        nearer = labels.pooled[0] < labels.pooled[1]
        gains = f"less than {1 - _NEARER:.0%} nearer than" if nearer else "not nearer than"
        said.append(
            f"the student is nearer to its teacher, but on the labels of {race.heat.rows} validation rows it is "
            f"{gains} the base alone, {labels.said(race.units)}, a difference that may be chance: there the "
            f"teacher's own error is {race.units.said(*error)}"
        )
    elif error is not None and reached < _BELOW * error[1]:
        said.append(
            f"the teacher's own error on held-out labels, {race.units.said(*error)}, is far above the student's "
            f"distance from it, {apart}: a nearer student would not be much nearer to the labels"
        )
    else:
        return [*said, *own]
    return said + [note for note in own if not note.startswith(STILL)]
