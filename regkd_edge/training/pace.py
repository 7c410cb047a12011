"""How long a training until it stops improving may take: said where PyTorch computes its steps, and minutes are ahead.

The fused core takes 40,000 steps in seconds. PyTorch needs milliseconds for each, and central differences of a teacher
without a gradient take 2 d answers for every point. A call from Python shows no progress. And how long what comes
after it may take, where the time was given.
"""

from __future__ import annotations

import logging
import time

from ..fused import Member
from ..recipes import TERMS

__all__ = ["end_for_others", "say_pace"]

_LONG = 30.0  # [s] that need no word
_BRANCHES = 1.5  # steps of a climb and its branches, as a multiple of the trunk's

_log = logging.getLogger("regkd_edge.training")


def end_for_others(until: float | None, seconds: float, begun: float) -> float | None:
    """Return when trainings after this one should end: earlier by what an interrupted call had taken for it already.

    Parameters
    ----------
    until : float or None
        On the clock ``time.monotonic``, as if this call had begun with everything.
    seconds : float
        That the training took, over all calls.
    begun : float
        When this call began it.
    """
    return None if until is None else until - max(0.0, seconds - (time.monotonic() - begun))


def say_pace(member: Member, seconds: float, steps: int, most: int) -> None:
    """Warn, by the time of the first steps, where the whole climb may be long.

    Parameters
    ----------
    seconds, steps : float, int
        What the first steps took.
    most : int
        Steps of the trunk at most.
    """
    if member.decision is None or member.decision.compute != "torch":
        return
    each, whole = seconds / steps, int(_BRANCHES * most)
    if each * whole < _LONG:
        return
    shorter = "give a time (--budget 60s) or fewer steps (--steps 2000)"
    if any(TERMS[name].teacher_gradient for name in member.recipe.active_terms):
        shorter += ", or an objective without the teacher's gradient (--terms none)"
    _log.warning(
        "PyTorch computes the steps (%s), %.3g ms each: up to %s of them until the student stops improving, about %s; "
        "%s",
        member.decision.reason,
        1e3 * each,
        f"{whole:,}",
        f"{each * whole:.0f} s" if each * whole < 120 else f"{each * whole / 60:.0f} min",
        shorter,
    )
