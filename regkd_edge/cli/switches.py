"""Options that every command takes: --wide, --quiet, --verbose. They are added to the commands here, in one place."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from .screen import settings

__all__ = ["add_switches", "behind_command"]

_PANEL = "Output"
_SWITCHES = {
    "wide": typer.Option("--wide", help="Show all columns of a table, in parts if need be.", rich_help_panel=_PANEL),
    "quiet": typer.Option("--quiet", "-q", help="Print errors only (and the --json object).", rich_help_panel=_PANEL),
    "verbose": typer.Option(
        "--verbose", "-v", help="Also print what goes to the run folder's run.log.", rich_help_panel=_PANEL
    ),
}


def behind_command(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with switches that stand before the command behind it: ``--quiet bench RUN`` is what many
    programs take."""
    declared = (name for option in _SWITCHES.values() for name in (option.default, *option.param_decls))
    names = {"--json", *declared}  # Typer keeps the first name as the default until it reads the signature
    count = next((at for at, argument in enumerate(arguments) if argument not in names), 0)
    return [*arguments[count : count + 1], *arguments[:count], *arguments[count + 1 :]]


def add_switches(app: typer.Typer) -> None:
    """Give every registered command the switches; a command that has an option of that name keeps its own."""
    for command in app.registered_commands:
        command.callback = _with_switches(command.callback)


def _with_switches(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function, eval_str=True)
    added = {name: option for name, option in _SWITCHES.items() if name not in signature.parameters}

    @functools.wraps(function)
    def wrapper(*args: Any, **given: Any) -> Any:
        for name in added:
            setattr(settings, name, bool(given.pop(name, False)))
        return function(*args, **given)

    switches = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option])
        for name, option in added.items()
    ]
    wrapper.__signature__ = signature.replace(parameters=[*signature.parameters.values(), *switches])
    wrapper.__annotations__ = {p.name: p.annotation for p in wrapper.__signature__.parameters.values()}
    return wrapper
