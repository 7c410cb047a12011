"""Types of configuration fields: how a name, a list, a number or a scheduled weight is written."""

from __future__ import annotations

import csv
import difflib
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "MOST_ROWS",
    "MOST_STEPS",
    "AtLeast0",
    "Count",
    "Fraction",
    "Names",
    "Optimizer",
    "OrNone",
    "Positive",
    "Section",
    "Weight",
    "as_list",
    "formerly",
    "names_of",
    "none_for_nothing",
    "panel",
    "seconds",
    "weight_parts",
]

MOST_ROWS = 65536  # per batch: beyond, memory and not the network decides the cost of a step
MOST_STEPS = 10**9


def as_list(value: Any) -> Any:
    """Split ``"a,b"`` into ``["a", "b"]`` and ``'"a,b",c'`` into ``["a,b", "c"]``; a number gives a list of one."""
    if isinstance(value, str):
        parts = next(csv.reader([value], skipinitialspace=True), []) if '"' in value else value.split(",")
        return [part.strip() for part in parts if part.strip()]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return [value]
    return value


def weight_parts(value: float | str) -> tuple[float, float, int]:
    """Return ``(start, end, hold)`` of a weight that :data:`Weight` has validated."""
    if not isinstance(value, str):
        return value, value, 1
    line, _, hold = value.partition("/")
    start, _, end = line.partition("..")
    return float(start), float(end), int(hold or 1)


def _as_weight(value: Any) -> float | str:
    """Return a number, or the canonical ``START..END`` or ``START..END/HOLD``."""
    form = "a number, or START..END (such as 1..0), or START..END/HOLD with HOLD steps between two values"
    parts = value
    if isinstance(value, dict):
        if not {"start"} <= set(value) <= {"start", "end", "hold"}:
            raise ValueError(f"expected {form}")
        parts = [value["start"], value.get("end", value["start"]), value.get("hold", 1)]
    elif isinstance(value, str):
        line, slash, hold = value.strip().partition("/")
        start, dots, end = line.partition("..")
        parts = [start, end] if dots else [line]
        if slash:
            parts.append(hold if dots else "")
    elif isinstance(value, (int, float)):
        parts = [value]
    if (
        not isinstance(parts, (list, tuple))
        or not 1 <= len(parts) <= 3
        or any(isinstance(part, bool) for part in parts)
    ):
        raise ValueError(f"expected {form}")
    try:
        line, hold = [float(part) for part in parts[:2]], int(parts[2]) if len(parts) > 2 else 1
    except (TypeError, ValueError):
        raise ValueError(f"expected {form}") from None
    if not all(math.isfinite(part) and part >= 0 for part in line) or not 1 <= hold <= MOST_STEPS:
        raise ValueError("a weight must be finite and at least 0, held for at least 1 step")
    if line[0] == line[-1]:
        return line[0]
    return f"{line[0]:.12g}..{line[1]:.12g}" + (f"/{hold}" if hold > 1 else "")


def seconds(value: Any) -> Any:
    """``"60s"``, ``"2m"``, ``"1h"`` or a number -> seconds; ``"none"`` -> None."""
    if not isinstance(value, str):
        return value
    text = value.strip().lower()
    if text == "none":
        return None
    factor = {"s": 1.0, "m": 60.0, "h": 3600.0}.get(text[-1:])
    try:
        return float(text) if factor is None else factor * float(text[:-1])
    except ValueError:
        raise ValueError("expected seconds, such as 60s, 2m, 1h, or a number") from None


def none_for_nothing(value: Any) -> Any:
    """Return None for ``"none"``, which undoes the choice of an earlier command."""
    return None if isinstance(value, str) and value.strip().lower() == "none" else value


def panel(title: str) -> dict[str, Any]:
    """Return the heading of a field in ``--help`` (``Field(..., json_schema_extra=panel(...))``)."""
    return {"panel": title}


Names = Annotated[list[str], BeforeValidator(as_list)]


def names_of(what: str, allowed: Sequence[str], none: bool = True) -> Any:
    """The type of a list of names out of ``allowed``; ``none`` alone is the empty list."""

    def checked(given: list[str]) -> list[str]:
        if none and [name.lower() for name in given] == ["none"]:
            return []
        for name in given:
            if name not in allowed:
                near = difflib.get_close_matches(name, allowed, n=1)
                meant = f" (did you mean {near[0]}?)" if near else ""
                raise ValueError(
                    f"unknown {what} '{name}'{meant}: use any of {', '.join(allowed)}" + (", or none" if none else "")
                )
        return given

    return Annotated[list[str], BeforeValidator(as_list), AfterValidator(checked)]


def formerly(names: Mapping[str, str]) -> Any:
    """Read values under the names that they had in version 0.1: old name -> name."""
    return BeforeValidator(lambda value: names.get(value, value) if isinstance(value, str) else value)


Fraction = Annotated[float, Field(gt=0, le=1)]
Optimizer = Literal["rmsprop", "adam", "adamw"]
OrNone = BeforeValidator(none_for_nothing)
Count = Annotated[int, Field(ge=1, le=MOST_ROWS)]
Positive = Annotated[float, Field(gt=0)]
AtLeast0 = Annotated[float, Field(ge=0)]
Weight = Annotated[float | str, BeforeValidator(_as_weight)]
"""A weight over the run: constant, or linear from the first step to the last (constant for ``hold`` steps)."""


class Section(BaseModel):
    """A section of the configuration; unknown fields, infinities and NaN are errors."""

    model_config = ConfigDict(extra="forbid", validate_assignment=True, allow_inf_nan=False)

    #: Fields that had another name in version 0.1, which run.yaml files of then still have: old name -> name.
    renamed: ClassVar[dict[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _by_their_names(cls, values: Any) -> Any:
        """Bring fields that are given under an old name to their own."""
        if not isinstance(values, dict) or not set(values) & set(cls.renamed):
            return values
        own = {key: value for key, value in values.items() if key not in cls.renamed}
        return {**own, **{cls.renamed[key]: value for key, value in values.items() if key in cls.renamed}}

    def contradictions(self) -> list[str]:
        """What does not go together in the section, each with its reason and its remedy."""
        return []

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        found = self.contradictions()
        if found:
            raise ValueError("; ".join(found))
        return self
