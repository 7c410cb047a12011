"""``--help`` in plain lines: a name is never cut or broken at any width, and a long help text stands below its name."""

from __future__ import annotations

import sys
import textwrap
from typing import Any

import typer.core

from .screen import styled
from .screen import width as screen_width

__all__ = ["PlainCommand", "PlainGroup"]

_COLUMN = 30  # where help texts start if there is room for them beside the names
_NARROW = 100  # below this width a help text has its own lines


def _width() -> int:
    return min(screen_width() or 80, 120)


def _sections(command: Any, context: Any) -> dict[str, list[Any]]:
    """Parameters by their panel, arguments first, as they were declared."""
    found: dict[str, list[Any]] = {}
    for parameter in command.get_params(context):
        if not getattr(parameter, "hidden", False):
            kind = "Arguments" if parameter.param_type_name == "argument" else "Options"
            found.setdefault(getattr(parameter, "rich_help_panel", None) or kind, []).append(parameter)
    return {"Arguments": found.pop("Arguments", []), **found}


def _name(parameter: Any) -> str:
    """``--batches A,B,...``, ``--sweep / --no-sweep``, ``RUN``."""
    if parameter.param_type_name == "argument":
        return parameter.metavar
    name = " / ".join(", ".join(part) for part in (parameter.opts, parameter.secondary_opts) if part)
    if parameter.is_flag:
        return name
    return f"{name} {'NAME' if _choices(parameter) else parameter.metavar}"


def _choices(parameter: Any) -> list[str]:
    """The values of an option whose metavar lists them: lower-case names between bars."""
    choices = (parameter.metavar or "").split("|")
    listed = (
        parameter.param_type_name == "option" and len(choices) > 1 and parameter.metavar == parameter.metavar.lower()
    )
    return choices if listed else []


def _text(parameter: Any) -> str:
    """The help text, the values that can be given, and the default."""
    parts = [" ".join((parameter.help or "").split())]
    # A choice of punctuation alone is not seen between commas: "One of: auto, '.', ','."
    choices = [choice if any(map(str.isalnum, choice)) else f"'{choice}'" for choice in _choices(parameter)]
    if not all(choice in parts[0] for choice in choices):
        parts.append(f"One of: {', '.join(choices)}.")
    if parameter.show_default and parameter.default is not None and not isinstance(parameter.default, bool):
        parts.append(f"[default: {parameter.default}]")
    if parameter.required:
        parts.append("(required)")
    return " ".join(parts)


def _wrapped(text: str, indent: int, width: int) -> list[str]:
    """Lines of whole words: an option or a path is not broken at its hyphens."""
    return textwrap.wrap(text, max(width - indent, 20), break_long_words=False, break_on_hyphens=False)


def _row(name: str, text: str, width: int, column: int) -> list[str]:
    """A name and its text beside it, or below it where there is no room."""
    beside = width >= _NARROW or column < _COLUMN
    indent = column if beside else 6
    lines = _wrapped(text, indent, width)
    if beside and len(name) + 4 <= column:
        first, *rest = lines or [""]
        return [f"  {name:<{column - 2}}{first}".rstrip(), *[" " * indent + line for line in rest]]
    return [f"  {name}", *[" " * indent + line for line in lines]]


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if styled(sys.stdout) else text


def _paragraphs(text: str, width: int) -> list[str]:
    """The paragraphs of a docstring, without the marks of Markdown; one that is indented keeps its lines."""
    lines = []
    for paragraph in (text or "").replace("`", "").strip().split("\n\n"):
        whole = paragraph.startswith("    ")
        lines += ["", *(paragraph.split("\n") if whole else _wrapped(" ".join(paragraph.split()), 0, width))]
    return lines


def help_of(command: Any, context: Any) -> str:
    """Return the help of a command or of the group: usage, text, arguments, options by panel, commands."""
    width = _width()
    usage = " ".join(command.get_usage(context).split()).replace("{", "").replace("}", "")
    lines = _wrapped(usage, 0, width) + _paragraphs(command.help, width)
    for panel, parameters in _sections(command, context).items():
        if parameters:
            lines += ["", _bold(panel)]
            for parameter in parameters:
                lines += _row(_name(parameter), _text(parameter), width, _COLUMN)
    if hasattr(command, "list_commands"):
        names = command.list_commands(context)
        lines += ["", _bold("Commands")]
        for name in names:
            text = " ".join((command.get_command(context, name).help or "").split("\n\n")[0].split())
            lines += _row(name, text, width, max(map(len, names)) + 4)
    return "\n".join(lines)


class PlainCommand(typer.core.TyperCommand):
    """A command whose ``--help`` is :func:`help_of`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(help_of(self, ctx))


class PlainGroup(typer.core.TyperGroup):
    """A group of commands whose ``--help`` is :func:`help_of`."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(help_of(self, ctx))
