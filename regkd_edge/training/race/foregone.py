"""Whether the last heat is a foregone conclusion: what it would find, the last rung of the race says already.

The last heat costs the base alone once more. It is for a base that catches up when it is trained on, and for a winner
that moves away from the labels. Where the rows that it would be judged on surely show neither, also if base and winner
went on to approach each other at the pace of the last doubling, it is not held. To be as near to the labels as the base
is not enough: a student that follows its teacher stays at the teacher's error while the base may still get nearer.
"""

from __future__ import annotations

import math

from ...config import DistillConfig
from ...config.objective import MOST_AUTO
from .entrant import Entrant

__all__ = ["at_end", "foregone", "last_step"]

_AHEAD = {"measure": 3.0, "labels": 2.0}  # standard errors by which the winner is nearer
_CLEARLY = 0.95  # of the base's distance


def foregone(
    winner: Entrant, base: Entrant, measure: str, rungs: list[int], config: DistillConfig, *, labels: bool
) -> bool:
    """Whether the winner is sure to be kept.

    It is where, on the rows of the last rung, it is nearer than the base by 5 % and by 3 standard errors of the
    differences row by row; where it is nearer to the labels by 2 of them; and where both leads would last to the last
    step that the training can take.

    Parameters
    ----------
    measure : str
        Of the race, ``teacher`` or ``labels``.
    rungs : list of int
        Steps after which the two were judged; a single rung shows no pace.
    config : DistillConfig
        With the number of steps.
    labels : bool
        Whether the rows have labels that are not the teacher's answers.
    """
    if winner is base or winner.candidate.share != 1.0 or len(rungs) < 2:  # a costly winner still meets the mixture
        return False
    if winner.score(measure) > _CLEARLY * base.score(measure):
        return False
    end = last_step(config)
    leads = {"measure": measure, **({"labels": "labels"} if labels else {})}
    return all(
        winner.ahead_of(base, to) > _AHEAD[name] and at_end(winner, base, to, rungs, end) < 1.0
        for name, to in leads.items()
    )


def last_step(config: DistillConfig) -> int:
    """Return the last step that a training can take."""
    return MOST_AUTO if config.steps == "auto" else config.steps


def at_end(winner: Entrant, base: Entrant, measure: str, rungs: list[int], end: int) -> float:
    """Return the winner's distance relative to the other's after ``end`` steps.

    A winner that fell back in the last doubling goes on at that pace; one that pulled away stays where it is.
    """
    ours, theirs = ((one.scores if measure == "teacher" else one.label_scores)[-2:] for one in (winner, base))
    before, now = (math.log(max(a, 1e-12) / max(b, 1e-12)) for a, b in zip(ours, theirs))
    pace = (now - before) / math.log(rungs[-1] / rungs[-2])
    return math.exp(now + max(pace, 0.0) * math.log(max(end / rungs[-1], 1.0)))
