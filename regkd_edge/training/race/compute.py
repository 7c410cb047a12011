"""What the candidates of a race cost, and which of the costly ones go on beyond a first rung of equal compute.

A step that evaluates the teacher costs several times one that reads stored answers. In the first rung every candidate
is given the same compute, so a costly one is given fewer steps. It is trained for as many steps as the others only
where they leave the question open: where the best of them is much farther from the teacher on rows that it has not seen
than on its own rows. It then lacks knowledge of the teacher around its rows, and that is what gradients and searched
points add. Elsewhere it lacks steps or width, and no term helps.

Where many rows are held out, the base alone is trained before the race
(:func:`regkd_edge.training.race.last_heat.base_of`) and measures what the rest may cost: after the first rung, the race
ends before it has taken more than the base did until it stopped; and the winner goes on beyond the base's steps only
while the held-out rows gain from it. With as many steps for the winner these are three times the base alone; the fourth
is for points and the teacher's answers to them. Few rows are soon learnt by heart: there the base stops at once, and
what it took carries no information.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...fused import Member, native
from ..ladder import decay_steps
from .entrant import Entrant

__all__ = ["cost_of", "first_goals", "left_open", "spent", "weigh"]

_OF_TORCH = 1e8  # [FLOP] that the core does in the 2 ms that PyTorch takes for a small step, mostly to begin operations
_FEWEST = 20  # [steps] of a first rung, whatever they cost
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


def first_goals(entrants: Sequence[Entrant], rung: int) -> list[int]:
    """Steps of the first rung: ``rung``, or as many as cost the same."""
    return [min(rung, max(_FEWEST, int(rung / max(1.0, one.cost)))) for one in entrants]


def spent(entrants: Sequence[Entrant], folds: int, to: int | None = None) -> float:
    """What they have cost, or would cost from here ``to`` a further rung, branches with it; in steps of the base alone.

    A first rung that was short and then made longer counts by its last branch.
    """
    if to is None:
        return folds * sum(one.cost * (one.steps[-1] + sum(map(decay_steps, one.steps))) for one in entrants)
    return folds * sum(one.cost * (to - one.steps[-1] + decay_steps(to)) for one in entrants)


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
