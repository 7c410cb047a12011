"""What is wrong with a configuration: all of it at once, each field under the name by which the user gave it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ..errors import OptionError
from .flags import dotted

__all__ = ["expected", "problems_of", "refuse", "validated", "whole_or"]

Model = TypeVar("Model", bound=BaseModel)

# pydantic's kind of a problem -> what was expected.
_EXPECTED = {
    "greater_than": "above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "below {lt}",
    "less_than_equal": "at most {le}",
    "literal_error": "{expected}",
    "int_parsing": "a whole number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "yes or no",
    "bool_type": "yes or no",
    "string_type": "text",
    "list_type": "a list",
    "too_short": "at least {min_length} of them",
}


def validated(model: type[Model], values: Mapping[str, Any], where: str = "") -> Model:
    """Return ``model`` made of ``values``; :class:`OptionError` lists everything that is wrong with them.

    ``where`` says where the values are from, for the message.
    """
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise refuse(error, model, where) from None


def whole_or(whole: Model | None, model: type[Model], own: Mapping[str, Any], options: Mapping[str, Any]) -> Model:
    """Return ``whole``, or the model made of ``own`` values and ``options``; both at once are refused."""
    if whole is None:
        return validated(model, {**own, **options})
    named = [
        key
        for key, value in own.items()
        if isinstance(value, str) and value not in (model.model_fields[key].default, getattr(whole, key))
    ]
    if options or named:
        raise OptionError(
            f"config is given, and {', '.join([*options, *named])} beside it.",
            "Put them into config (config.model_copy(update=...)), or leave config out.",
        )
    return whole


def refuse(
    error: ValidationError,
    model: type[BaseModel],
    where: str = "",
    name: Callable[[str], str] = lambda field: field,
    remedy: str = "",
) -> OptionError:
    """The :class:`OptionError` for what pydantic found; ``name`` says how the user knows a dotted field."""
    found = problems_of(error, model, name)
    prefix = f"{where}: " if where else ""
    if len(found) > 1:
        prefix += f"{len(found)} fields are wrong: "
    return OptionError(f"{prefix}{'; '.join(found)}.", remedy)


def problems_of(
    error: ValidationError, model: type[BaseModel], name: Callable[[str], str] = lambda field: field
) -> list[str]:
    """One text per wrong field: its name, the value met, what is expected, the nearest name where it is unknown."""
    found: dict[str, list[str]] = {}
    texts: dict[str, str] = {}
    for problem in error.errors():
        field = _field(problem["loc"], model)
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(field.rsplit(".", 1)[-1], _siblings(model, field), n=1)
            prefix = field.rpartition(".")[0]
            meant = f" (did you mean {_plain(name(f'{prefix}.{near[0]}' if prefix else near[0]))}?)" if near else ""
            texts[field] = f"unknown field {name(field)}{meant}"
        elif problem["type"] == "value_error":
            shown = str(problem["ctx"]["error"]) if "ctx" in problem else problem["msg"].removeprefix("Value error, ")
            met = problem.get("input")
            quoted = "" if isinstance(met, (dict, BaseModel)) else f" (met: {met!r})"
            leaf = field and field.rsplit(".", 1)[-1] in _siblings(model, field) and not _is_section(model, field)
            # A section's own text names its fields as they stand in YAML.
            texts[field] = f"{name(field)}: {shown}{quoted}" if leaf else _renamed(shown, model, field, name)
        else:
            found.setdefault(field, []).append(expected(problem) or problem["msg"])
            texts[field] = (
                f"{name(field) or 'the configuration'} is {_met(problem.get('input'))}, expected "
                f"{' or '.join(dict.fromkeys(found[field]))}{_near(problem)}"
            )
    return list(texts.values())


def expected(problem: Any) -> str:
    """What pydantic expected in place of the value that it met, in words; empty where it has none of ours."""
    return _EXPECTED.get(problem["type"], "").format_map(_Shown(_short(problem.get("ctx", {}))))


def _renamed(text: str, model: type[BaseModel], section: str, name: Callable[[str], str]) -> str:
    """``text`` with the fields of a section under the names by which the user knows them; only names with an underscore
    are no words."""
    for field in _siblings(model, f"{section}.x" if section else "x"):
        if "_" in field:
            shown = name(f"{section}.{field}" if section else field).rsplit(".", 1)[-1]
            text = re.sub(rf"\b{field}\b", shown, text)
    return text


def _short(context: Mapping[str, Any]) -> dict[str, Any]:
    """Limits as one writes them: 1 for 1.0."""
    return {key: f"{value:g}" if isinstance(value, float) else value for key, value in context.items()}


def _plain(name: str) -> str:
    """A name without the line at which it stands."""
    return re.sub(r" \(line \d+\)$", "", name)


def _met(value: Any) -> str:
    """The value as it was given: a number that came as text has no quotes."""
    try:
        float(value)
    except (TypeError, ValueError):
        return repr(value)
    return str(value)


class _Shown(dict):  # type: ignore[type-arg]
    def __missing__(self, key: str) -> str:
        return "another value"


def _near(problem: Any) -> str:
    """The nearest of the values that are allowed, for a word that was mistyped."""
    if problem["type"] != "literal_error" or not isinstance(problem.get("input"), str):
        return ""
    allowed = [part.strip("'") for part in problem["ctx"]["expected"].replace(" or ", ", ").split(", ")]
    near = difflib.get_close_matches(problem["input"], allowed, n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def _field(place: tuple[int | str, ...], model: type[BaseModel]) -> str:
    """The dotted field of a place; what lies below a field (an entry of a list, a branch of a union) is left out."""
    parts: list[str] = []
    for part in dotted(place).split(".") if place else []:
        parts.append(part)
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            break
        model = inner
    return ".".join(parts)


def _is_section(model: type[BaseModel], field: str) -> bool:
    inner: Any = model
    for part in field.split("."):
        inner = inner.model_fields[part].annotation if part in inner.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return False
    return True


def _siblings(model: type[BaseModel], field: str) -> list[str]:
    """Names of the fields beside ``field``."""
    for part in field.split(".")[:-1]:
        inner = model.model_fields[part].annotation if part in model.model_fields else None
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        model = inner
    return list(model.model_fields)
