"""The values of a ``StepRecipe`` of Python: a field that the configuration has too has the range it has there."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from .contradictions.objective import Contradiction
from .distill import DistillConfig
from .fields import AtLeast0, Positive
from .objective import GM_ON
from .problems import expected

__all__ = ["step_problems"]

# Fields that a configuration does not have, or has in another form.
_OWN: dict[str, Any] = {
    "delta": Positive,
    "second_head": AtLeast0,
    "ascent_weight_decay": AtLeast0,
    "ascent_ridge": AtLeast0,
    "ascent_sigma": AtLeast0 | None,  # the mean of sigma
    "ascent_from_anchor": bool,
    "draws": Annotated[int, Field(ge=1)],  # how many fit is said below
    "cotangents": Annotated[int, Field(ge=0, le=1024)],
    "gm_on": tuple[Literal[GM_ON], ...],  # type: ignore[valid-type]
}
_NOISE = 60_000  # the noise counter numbers the draws and cotangents of a row in 16 bits


@functools.cache
def _type_of(name: str, bases: tuple[str, ...]) -> TypeAdapter[Any] | None:
    """The type of a field, with its range; None for a field that has neither."""
    if name == "base":
        return TypeAdapter(Literal[bases])  # type: ignore[valid-type]
    if name in _OWN:
        return TypeAdapter(_OWN[name])
    if name == "sigma":
        return TypeAdapter(tuple[Positive, ...])
    field = DistillConfig.model_fields.get(name)
    if field is None or name.startswith("w_"):
        return None
    return TypeAdapter(Annotated.__class_getitem__((field.annotation, *field.metadata, Field())))


def step_problems(values: Mapping[str, Any], bases: tuple[str, ...]) -> list[Contradiction]:
    """What is wrong with the fields of a ``StepRecipe``, one by one and with each other.

    Parameters
    ----------
    values : mapping
        Field -> value; weights are not looked at, they are schedules.
    bases : tuple of str
        The bases that a step knows.
    """
    found = []
    for name, value in values.items():
        kind = _type_of(name, bases)
        if kind is None:
            continue
        met = (value,) if name == "sigma" and not isinstance(value, (tuple, list)) else value
        met = tuple(met) if isinstance(met, list) else met
        try:
            kind.validate_python(met, strict=True)
        except ValidationError as error:
            problem = error.errors()[0]
            found.append(
                Contradiction(f"{name} is {value!r}, expected {expected(problem) or problem['msg']}", f"change {name}")
            )
            continue
        flat = [v for v in (met if isinstance(met, tuple) else (met,)) if isinstance(v, float)]
        if not all(map(math.isfinite, flat)):
            found.append(Contradiction(f"{name} is {value!r}, expected a finite number", f"change {name}"))
    return found or _together(values)


def _together(values: Mapping[str, Any]) -> list[Contradiction]:
    found, low, high = [], values["low"], values["high"]
    if low is not None and high is not None:
        if len(low) != len(high) or any(not a <= b for a, b in zip(low, high)):
            found.append(
                Contradiction("low must not exceed high, and both need one number per feature", "check low and high")
            )
    if values["noise_length"] and values["shape"] is None:
        found.append(Contradiction("noise_length needs the shape of a row", "give shape and channel_axis"))
    many = values["draws"] * max(1, values["cotangents"])
    if many > _NOISE:
        found.append(
            Contradiction(
                f"draws {values['draws']} with cotangents {values['cotangents']} are {many:,} numbers per row, at most "
                f"{_NOISE:,} are counted",
                "use fewer",
            )
        )
    return found
