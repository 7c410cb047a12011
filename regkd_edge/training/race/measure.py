"""By what a race judges: the distance to the teacher, or to the labels where the teacher does not hold."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...config.objective import WITHOUT_LABELS
from .entrant import Entrant
from .last_heat import farther

__all__ = ["measure_of"]

_CLEARLY = 0.9  # of the teacher's error against the labels
_FEWEST = 8  # rows that tell anything


def measure_of(
    entrants: Sequence[Entrant], teacher_errors: np.ndarray, held_before: np.ndarray, elsewhere: bool = False
) -> tuple[str, np.ndarray | None]:
    """Return ``labels`` where a student of the labels is clearly nearer to them than the teacher is, else ``teacher``;
    with ``labels``, the rows that show it.

    With many rows, a student trained on the labels often has a slightly smaller error than its teacher. Whoever distils
    still wants the teacher's answers. The measure therefore changes only if the student's error is smaller by a tenth,
    and by more than chance: on the validation rows, or, as with rows from elsewhere than the
    teacher's, on all rows. On those that it was trained on, the teacher looks better than it is; a student that is
    nearer even there is nearer.

    Rows from ``elsewhere`` than the teacher's (:mod:`regkd_edge.training.race.elsewhere`) turn this round: there it
    extrapolates, and nothing speaks for its answers but that they fit the labels. A student that fits them better on
    all rows is enough.
    """
    readers = [e for e in entrants if e.candidate.fields["base"] not in WITHOUT_LABELS and e.label_errors is not None]

    def nearer(one: Entrant, rows: np.ndarray) -> bool:
        if len(one.label_errors) != len(rows):  # it diverged
            return False
        ours, theirs = one.label_errors[rows], teacher_errors[rows]
        if elsewhere and rows.all():
            return bool(ours.mean() < theirs.mean())
        return farther(theirs, ours) and math.sqrt(ours.mean()) < _CLEARLY * math.sqrt(theirs.mean())

    for rows in (held_before, np.ones_like(held_before)):
        if rows.sum() >= _FEWEST and any(nearer(one, rows) for one in readers):
            return "labels", rows
    return "teacher", None
