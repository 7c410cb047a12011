"""What an objective contradicts in itself: the same rules for a configuration and for a ``StepRecipe`` of Python."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from ...recipes import TERMS

__all__ = ["Contradiction", "Objective", "objective_contradictions"]


@dataclass(frozen=True)
class Contradiction:
    """A reason, and what to do about it."""

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}: {self.remedy}"


@dataclass(frozen=True)
class Objective:
    """What the rules look at.

    Parameters
    ----------
    base : str
    base_learns : bool
        Whether the base is there and its weight is ever above 0.
    labels : bool
        Whether the base reads labels.
    terms : collection of str
        The terms with a weight that is ever above 0.
    gm_on : collection of str
        Points on which gm is requested.
    made : collection of str
        Kinds of points that something else than the terms makes.
    points : bool
        Whether a sampler's points are learnt from too.
    second_head : str
        How the user requested a second head; empty without one.
    """

    base: str
    base_learns: bool
    labels: bool
    terms: Collection[str]
    gm_on: Collection[str]
    made: Collection[str] = field(default_factory=lambda: {"original"})
    points: bool = False
    second_head: str = ""


def objective_contradictions(o: Objective) -> list[Contradiction]:
    """What does not go together."""
    found = []
    if o.second_head and not o.labels:
        found.append(
            Contradiction(
                f"{o.second_head} needs a base that learns labels in its first head, and base '{o.base}' has none",
                "use base tor, tbr, ail, mix or blend, or one head",
            )
        )
    elif o.second_head and not o.base_learns:
        found.append(
            Contradiction(
                f"{o.second_head} needs w_base above 0, since its first head learns from the base alone",
                "give w_base, or use one head",
            )
        )
    if not (o.base_learns or o.points or o.terms):
        found.append(
            Contradiction("every weight is 0, so that there is nothing to learn", "give w_base, a term or a sampler")
        )
    made = {*o.made, *(TERMS[name].points for name in o.terms if TERMS[name].points)}
    if "gm" in o.terms and not set(o.gm_on) & made:
        found.append(
            Contradiction(
                f"gm_on {','.join(o.gm_on) or '(empty)'} names no point that the other terms produce",
                "add original, or the term pm or abm",
            )
        )
    return found
