"""Schedules of a term's weight over a run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import RecipeError

__all__ = ["Schedule", "weight"]


@dataclass(frozen=True)
class Schedule:
    """A weight that changes linearly from ``start`` to ``end``, optionally held for ``hold`` steps at a time.

    At step t of T its value is ``start + (end - start) * f`` with ``f = min(1, (t // hold + 1) * hold / T)``: the value
    that the line has reached when the step's epoch of ``hold`` steps ends. With start 1, end 0 and hold 10 this is the
    ``alpha = 1 - (e + 1) / E`` of Zhou & Chiam 2023 (ten student steps per epoch).
    """

    start: float
    end: float | None = None  # None: constant
    hold: int = 1  # [steps]

    def __post_init__(self) -> None:
        end = self.start if self.end is None else self.end
        for name, value in (("start", self.start), ("end", end)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                raise RecipeError(
                    f"a weight's {name} must be a finite number of at least 0, got {value!r}.", "Change the weight."
                )
        if isinstance(self.hold, bool) or not isinstance(self.hold, int) or self.hold < 1:
            raise RecipeError(
                f"a schedule must hold its value for at least 1 step, got hold={self.hold!r}.", "Use an integer >= 1."
            )
        object.__setattr__(self, "start", float(self.start))
        object.__setattr__(self, "end", float(end))

    def at(self, step: int, total: int) -> float:
        """Return the weight at ``step`` (counted from 0) of a run of ``total`` steps."""
        return self.start + (self.end - self.start) * min(1.0, (step // self.hold + 1) * self.hold / total)

    @property
    def active(self) -> bool:
        """Whether the weight is ever nonzero. A term that is never active costs nothing and produces no points."""
        return self.start != 0.0 or self.end != 0.0

    @classmethod
    def of(cls, value: Schedule | float | Mapping | tuple | list) -> Schedule:
        """Build from a schedule, a number (constant), ``(start, end[, hold])`` or a mapping with these names."""
        if isinstance(value, Schedule):
            return value
        try:
            if isinstance(value, Mapping):
                return cls(**value)
            if isinstance(value, (tuple, list)):
                return cls(*value)
        except TypeError:
            raise RecipeError(f"cannot read {value!r} as a weight.", "Give a number, or start, end and hold.") from None
        return cls(value)


def weight(written: float | str) -> Schedule:
    """A weight as a configuration writes it: a number, ``START..END`` or ``START..END/HOLD``."""
    if isinstance(written, Schedule) or not isinstance(written, str):
        return Schedule.of(written)
    line, _, hold = written.partition("/")
    start, _, end = line.partition("..")
    return Schedule(float(start), float(end or start), int(hold or 1))
