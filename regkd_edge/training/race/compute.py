"""What the candidates of a race cost, and whether the costly ones enter it.

A step that evaluates the teacher (GM, the search of ABM) costs several times one that reads stored answers. Candidates
with such steps enter only where the others leave the question open: where the best of them is much farther from the
teacher on rows that it has not seen than on its own rows. It then lacks knowledge of the teacher around its rows, and
that is what gradients and searched points add. Elsewhere it lacks steps or width, and no term helps.

Where many rows are held out, the base alone is trained before the race
(:func:`regkd_edge.training.race.last_heat.base_of`) and measures what the rest may cost: after the first rung of the
candidates with cheap steps, nothing is begun that would bring the race above a share of what the base took until it
stopped; and the winner goes on beyond the base's steps only while the held-out rows gain from it. With as many steps
for the winner these are less than three times the base alone; the fourth is for points and the teacher's answers to
them. Few rows are soon learnt by heart: there the base stops at once, and what it took carries no information.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...fused import Member, native
from ..ladder import decay_steps
from .entrant import Entrant

__all__ = ["allowed", "cost_of", "left_open", "spent", "weigh"]

_OF_TORCH = 1e8  # [FLOP] that the core does in the 2 ms that PyTorch takes for a small step, mostly to begin operations
_OF_BASE = 0.6  # of what the base alone took: what the rest of a race may bring it to
_LACKING = 2.0  # times as far on other rows as on its own


def cost_of(member: Member) -> float:
    """FLOP of a step, or the equivalent where PyTorch trains: a function of shapes alone, the same on every machine."""
    torch = member.decision is not None and member.decision.compute == "torch"
    return _OF_TORCH if torch else native.flops_of(member)


def weigh(entrants: Sequence[Entrant]) -> None:
    """Note what a step of each costs, relative to one of the first, the base alone."""
    base = cost_of(entrants[0].members[0])
    for one in entrants:
        one.cost = cost_of(one.members[0]) / base


def spent(entrants: Sequence[Entrant], folds: int, to: int | None = None) -> float:
    """What they have cost, or would cost from here ``to`` a further rung, with branches; in steps of the base alone."""
    if to is None:
        return folds * sum(one.cost * (one.steps[-1] + sum(map(decay_steps, one.steps))) for one in entrants)
    return folds * sum(one.cost * (to - (one.steps[-1] if one.steps else 0) + decay_steps(to)) for one in entrants)


def allowed(base: int | None, entrants: Sequence[Entrant], going: Sequence[Entrant], folds: int, rung: int) -> bool:
    """Whether a race may go on with some of its candidates.

    Parameters
    ----------
    base : int or None
        Steps that the base alone took until it stopped; None, where that is not known, allows everything.
    going : sequence of Entrant
        Who would be trained up to ``rung`` steps.
    """
    return base is None or spent(entrants, folds) + spent(going, folds, rung) <= _OF_BASE * base


def left_open(entrants: Sequence[Entrant], measure: str) -> bool:
    """Whether the candidates without costly steps leave it open that such steps would help.

    Parameters
    ----------
    measure : str
        Of the race. By ``labels``, what is known of the teacher does not matter.
    """
    light = [one for one in entrants if one.candidate.share == 1.0]
    if measure != "teacher" or not light:
        return False
    best = min(light, key=lambda one: one.score(measure))
    return math.isfinite(best.score(measure)) and best.score(measure) > _LACKING * best.on_own_rows
