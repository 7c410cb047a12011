"""Who of a race goes on to the next rung, who wins it, and when no further rung can change that."""

from __future__ import annotations

import math

from ...recipes.candidates import BASE_ALONE, MIXTURE
from .entrant import Entrant
from .foregone import at_end, last_step

__all__ = ["decided", "going_on", "rivals", "winner_of"]

_KEPT = 1 / 3  # of the candidates after each rung
_AHEAD = 0.95  # of another's distance: what is not below it counts as equal
_SURE = 2.0  # standard errors of a difference that may be chance
_DECIDED = 3.0  # standard errors by which the winner is nearer than every other


def going_on(running: list[Entrant], measure: str) -> list[Entrant]:
    """The better part, and always the base alone and the mixture.

    A candidate whose steps evaluate the teacher goes on only where it is clearly ahead of all that read stored
    answers: for what its next rung costs, they could be trained many times as long.
    """
    light = min((one.score(measure) for one in running if one.candidate.share == 1.0), default=math.inf)
    worth = [one for one in running if one.candidate.share == 1.0 or one.score(measure) < _AHEAD * light]
    kept = sorted(worth, key=lambda one: one.score(measure))[: max(2, int(_KEPT * len(worth)))]
    return [one for one in running if one in kept or one.candidate in (BASE_ALONE, MIXTURE)]


def rivals(running: list[Entrant]) -> list[Entrant]:
    """Those that learn from more than their rows, if there are any.

    The base alone and mixes of it with the labels learn from their rows in every step, the others from as many points
    beside them: on many rows the former are ahead in the first thousands of steps, and often overtaken after it.
    """
    wider = lambda fields: fields.get("sampler") is not None or bool(fields.get("terms"))
    return [one for one in running if wider(one.candidate.fields)] or running


def winner_of(running: list[Entrant], measure: str, rungs: list[int]) -> Entrant:
    """The best; or the mixture of all kinds of noise, where the difference may be the noise of such a comparison.

    On few rows the best of many looks better than it is. A mixture relies on no single kind of noise being right. It
    relies on the teacher, though: where that does not hold, it is not a refuge. And points near the rows are learnt
    first: a lead over the mixture that would be lost by the last step, at the pace of the last doubling of the steps,
    does not count.

    Parameters
    ----------
    rungs : list of int
        Steps after which they were judged; a single rung shows no pace.
    """
    best = min(running, key=lambda one: one.score(measure))
    if measure == "labels":
        return best
    mixture, base = (next((one for one in running if one.candidate is who), None) for who in (MIXTURE, BASE_ALONE))
    if mixture is None or best is base or (base is not None and mixture.score(measure) > base.score(measure)):
        return best
    equal = mixture.score(measure) < best.score(measure) / _AHEAD or best.ahead_of(mixture, measure) < _SURE
    lasts = len(rungs) < 2 or at_end(best, mixture, measure, rungs, last_step(best.config)) < 1.0
    return mixture if equal or not lasts else best


def decided(running: list[Entrant], measure: str) -> bool:
    """Whether the best is ahead of every other by more than the spread over the held-out rows explains."""
    best = min(running, key=lambda one: one.score(measure))
    return all(best.ahead_of(one, measure) > _DECIDED for one in running if one is not best)
