"""Flags made from the fields of the configuration, so that a field and its flag cannot drift apart."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Union, get_args, get_origin

import typer
from pydantic.fields import FieldInfo

from ..config import BenchConfig, BuildConfig, DataConfig, DistillConfig, QuantizeConfig, RunConfig, TeacherConfig
from ..config.flags import flag_of, negated
from ..config.platforms import PLATFORMS

__all__ = ["SECTIONS", "AsJson", "Platform", "TensorRTVersion", "Trust", "command"]

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Run code of the teacher's files, which you know: pickles, and a factory.")
]
Platform = Annotated[
    str, typer.Option("--platform", metavar="|".join(PLATFORMS), help="The device to target.", show_default=False)
]
TensorRTVersion = Annotated[
    Optional[str],
    typer.Option(
        "--tensorrt",
        metavar="VERSION",
        help="TensorRT on the device. [default: the oldest that the target ships with]",
        show_default=False,
    ),
]

SECTIONS = {
    "data": DataConfig,
    "teacher": TeacherConfig,
    "distill": DistillConfig,
    "quantize": QuantizeConfig,
    "build": BuildConfig,
    "bench": BenchConfig,
}

_PANEL = {
    "data": "Data",
    "teacher": "Teacher",
    "distill": "Student and objective",
    "quantize": "Quantization",
    "build": "Engines",
    "bench": "Measuring",
    "run": "Run",
}


def _type(field: FieldInfo) -> tuple[type, str | None]:
    """Return the Python type of a flag and its metavar. All but switches are text: the configuration validates
    them and names the value met.
    """
    annotation = field.annotation
    options = (
        [a for a in get_args(annotation) if a is not type(None)]
        if get_origin(annotation) in (Union, types.UnionType)
        else [annotation]
    )
    kind = options[0]
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if set(options) == {float, str}:  # fields.Weight
        return str, "W|FROM..TO"
    if len(options) > 1:
        return str, "TEXT"
    if get_origin(kind) is Literal:
        return str, "|".join(str(choice) for choice in get_args(kind))
    if kind is bool:
        return bool, None
    if kind in (int, float):
        return str, kind.__name__.upper()
    if get_origin(kind) is list:
        return list[str], "A,B,..."
    return str, "TEXT"


def _help(field: FieldInfo) -> str:
    """Return the field's description with its default. The flag's own default is None: only given flags count."""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        value = "yes" if value else "no"
    if isinstance(value, list):
        value = ",".join(str(v) for v in value)
    return field.description if value is None or value == "" else f"{field.description} [default: {value}]"


def _parameter(section: str, name: str, field: FieldInfo) -> inspect.Parameter:
    kind, metavar = _type(field)
    flag = flag_of(f"{section}.{name}")
    flags = [f"{flag}/{negated(flag)}"] if kind is bool else [flag]
    panel = (field.json_schema_extra or {}).get("panel", _PANEL[section])
    option = typer.Option(*flags, help=_help(field), metavar=metavar, show_default=False, rich_help_panel=panel)
    return inspect.Parameter(
        f"{section}__{name}", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[Optional[kind], option]
    )


def command(
    app: typer.Typer,
    name: str,
    fields: dict[str, list[str] | None],
    example: str,
    *,
    folder: str = "RUN",
) -> Callable:
    """Register a command that works on a run folder.

    Parameters
    ----------
    app : typer.Typer
    name : str
        The command.
    fields : dict
        Section of the configuration -> the names of its fields to offer as flags (None: all). ``"run"`` is the top
        level.
    example : str
        A command line that runs, shown by ``--help``.
    folder : str
        Metavar of the folder argument.

    The decorated function gets ``(folder, changes, force, json)``: ``changes`` holds only the flags that were given, as
    dotted fields of :class:`RunConfig`.
    """

    def decorate(function: Callable[[Path, dict[str, Any], bool, bool], None]) -> Callable:
        @functools.wraps(function)
        def wrapper(folder: Path, force: bool = False, as_json: bool = False, **flags: Any) -> None:
            changes = {}
            for key, value in flags.items():
                if isinstance(
                    value, (list, tuple)
                ):  # a repeated flag adds up: keeping only the last would silently drop a target
                    value = ",".join(value) if value else None
                if value is not None:
                    section, field = key.split("__")
                    changes[field if section == "run" else f"{section}.{field}"] = value
            function(folder, changes, force, as_json)

        parameters = [
            inspect.Parameter(
                "folder", inspect.Parameter.POSITIONAL_OR_KEYWORD,
                annotation=Annotated[Path, typer.Argument(metavar=folder, help="The run folder.", show_default=False)],
            )
        ]  # fmt: skip
        for section, names in fields.items():
            model = RunConfig if section == "run" else SECTIONS[section]
            for field in names if names is not None else model.model_fields:
                parameters.append(_parameter(section, field, model.model_fields[field]))
        parameters += [
            inspect.Parameter(
                "force",
                inspect.Parameter.KEYWORD_ONLY,
                default=False,
                annotation=Annotated[bool, typer.Option("--force", help="Run it again even if it is up to date.")],
            ),
            inspect.Parameter(
                "as_json",
                inspect.Parameter.KEYWORD_ONLY,
                default=False,
                annotation=AsJson,
            ),
        ]
        wrapper.__signature__ = inspect.Signature(parameters)
        wrapper.__annotations__ = {p.name: p.annotation for p in parameters}
        wrapper.__doc__ = f"{inspect.getdoc(function)}\n\nExample: `{example}`"
        app.command(name)(wrapper)
        return function

    return decorate
