"""What the last heat of a race found, in figures and in a sentence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...config.flags import flag_of
from ...recipes.candidates import MIXTURE
from .units import Pair, TargetUnits

__all__ = ["Heat"]


@dataclass(frozen=True)
class Heat:
    """The winner, or the mixture in its place, against the base alone on ``rows`` validation rows.

    Attributes
    ----------
    distance, labels : Pair or None
        Root mean squared distances of winner and base to the teacher and to the labels; ``labels`` is None where there
        are none, both where the base alone won the race.
    lost : str or None
        ``labels`` or ``teacher``: from what the winner is farther than the base alone by more than chance; a winner
        that is nearer to the labels does not lose to the teacher. None: it did not lose.
    kept : str or None
        Title of the candidate that is kept in the winner's place; None: the winner is kept.
    mixture : Pair or None
        Distances to the teacher of a winner whose steps evaluate the teacher, and of the mixture of noises.
    labels_alone : Pair or None
        Distances to the labels of who would be kept, and of the labels alone, which took its place.
    sure : bool
        What was lost was lost by more than chance. Else the base alone is surely nearer to the labels than the teacher;
        or, of a distance to the teacher, it is as near as the best of the others.
    """

    rows: int
    units: TargetUnits
    distance: Pair | None = None
    labels: Pair | None = None
    lost: str | None = None
    kept: str | None = None
    mixture: Pair | None = None
    labels_alone: Pair | None = None
    sure: bool = True

    def record(self) -> dict[str, Any]:
        """JSON-able: each pair pooled, and of each target in its unit; the winner comes first."""
        pairs = {
            "distance_to_teacher": self.distance,
            "distance_to_labels": self.labels,
            "distance_to_teacher_of_winner_and_mixture": self.mixture,
            "distance_to_labels_of_student_and_labels_alone": self.labels_alone,
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
        if self.lost is None and self.labels_alone is not None:
            replaced = f", {MIXTURE.title} took its place" if self.mixture is not None else ""
            return (
                f"{winner} won the race{replaced}, but trained to its end the student is nearer to the labels of "
                f"{self.rows} held-out rows than the teacher itself, and the labels alone come nearer still, "
                f"{self.labels_alone.said(self.units)}: {other}"
            )
        if self.lost is None and self.mixture is not None:
            return (
                f"{winner} won the race, but trained to its end it is not surely nearer to its teacher on {self.rows} "
                f"held-out rows, {self.mixture.said(self.units)}, and it costs more: {other}"
            )
        if self.lost == "teacher" and not self.sure:
            return (
                f"{winner} was the nearest of the others, but trained to its end it is not nearer to its teacher on "
                f"{self.rows} held-out rows than the base alone, {self.distance.said(self.units)}: {other}"
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


def _flags(fields: dict[str, Any]) -> str:
    """The options that name an objective."""
    typed = lambda value: ",".join(map(str, value)) or "none" if isinstance(value, list) else str(value)
    return " ".join(f"{flag_of(name)} {typed(value)}" for name, value in fields.items())
