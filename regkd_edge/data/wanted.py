"""The columns of a frame: which are targets, which are inputs, and what is said of a name that no column has."""

from __future__ import annotations

import difflib

from ..config import DataConfig
from ..errors import DataError
from .reading import Frame

__all__ = ["parted", "require_column", "shown"]


def parted(frame: Frame, config: DataConfig, aside_needed: bool) -> tuple[list[str], list[str]]:
    """Targets and inputs, every name that was given checked."""
    names, wanted = frame.names, list(config.target) or list(frame.known)
    dropped_targets = [name for name in config.drop if name in frame.known]
    if not wanted:
        raise DataError(
            f"no target named for '{frame.source}'.", f"Give --target with one or more of its columns: {shown(names)}."
        )
    for i, name in enumerate(wanted):
        require_column(frame, "target", name)
        if name in wanted[:i]:
            raise DataError(f"target '{name}' is named twice.", "Name each target once.")
        if name in config.categorical or name in config.whole:
            raise DataError(
                f"'{name}' is the target: --whole and --categorical are about inputs.", "Take it out there."
            )
    for flag in ("group", "split_column", "time"):
        if getattr(config, flag) and aside_needed:
            require_column(frame, flag, getattr(config, flag))
    for flag in ("categorical", "whole"):
        for name in getattr(config, flag):
            require_column(frame, flag, name)
    # a stored target that is not wanted is not an input either
    beside = {
        *wanted,
        *(n for n in frame.known if n not in wanted),
        config.group,
        config.split_column,
        config.time,
        *dropped_targets,
    }
    inputs = [name for name in names if name not in beside]
    if not inputs:
        raise DataError(
            f"all columns of '{frame.source}' are targets, expected at least one input.",
            "Name fewer targets.",
        )
    return wanted, inputs


def shown(names: list[str]) -> str:
    return ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")


def require_column(frame: Frame, flag: str, name: str) -> None:
    names = frame.names
    if name in names:
        return
    near = [other for other in names if other.lower() == name.lower()] or difflib.get_close_matches(name, names, n=1)
    remedy = f"Did you mean '{near[0]}'?" if near else f"Its columns are: {shown(names)}."
    named = next((number for number, cells in frame.lines if name in cells), None)
    if named is not None:
        remedy = f"Line {named} of the file has that name: remove the lines above it."
    holding = next((n for n in names if "," in n and name in (part.strip() for part in n.split(","))), None)
    if holding is not None:
        remedy = f"""Write a name that holds a comma in double quotes: --{flag} '"{holding}"'."""
    asked = "" if flag == "target" else f" (named by --{flag.replace('_', '-')})"
    raise DataError(f"'{frame.source}' has no column '{name}'{asked}.", remedy)
