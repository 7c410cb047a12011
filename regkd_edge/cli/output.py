"""Output of a command: one table, its notes and the next command; or one JSON object on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ..io.text import Column, TextTable, significant, unbroken
from .progress import clear_progress
from .screen import console, put, settings, width

__all__ = ["console", "error_line", "number", "readable", "show"]


_DIGITS = {"seconds": 2}  # of figures that differ more than that from call to call


def error_line(cause: str, remedy: str, as_json: bool) -> None:
    """Print one line with the cause and the remedy, folded on a terminal; with ``--json`` an object on stdout too."""
    if as_json:
        print(json.dumps({"error": cause, "remedy": remedy}))
    for line in unbroken(f"error: {cause} {remedy}".rstrip(), console.width if sys.stderr.isatty() else None):
        print(line, file=sys.stderr)


def readable(moment: str | None) -> str | None:
    """Return a moment of a record as a person reads it, folded between day and time if at all."""
    return None if moment is None else moment.replace("T", " ").replace("Z", " UTC")


def number(value: Any, digits: int = 4) -> str:
    """Format a value for a table: significant digits for floats, separated thousands for integers, a dash for None."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return significant(value, digits)


def show(
    title: str,
    rows: Sequence[dict[str, Any]],
    *,
    as_json: bool,
    run: str | None = None,
    ran: Sequence[str] = (),
    notes: Sequence[str] = (),
    next_command: str | None = None,
    table: TextTable | None = None,
    headings: Mapping[str, str] | None = None,
    footnotes: Sequence[str] = (),
) -> None:
    """Print the result of a command.

    Parameters
    ----------
    title : str
        Title of the table.
    rows : sequence of dict
        One per row, with the same keys: stable names for machines, listed in docs/formats.md.
    as_json : bool
        One JSON object on stdout instead: ``{"run", "ran", "table", "notes", "next"}``.
    ran : sequence of str
        The stages that this call ran (not those that were up to date).
    notes : sequence of str
        Lines to print below the table.
    next_command : str, optional
        What to type next.
    table : TextTable, optional
        A finished table to print in place of the one made of ``rows``.
    headings : dict, optional
        Key -> column head, where it is not the key with spaces.
    footnotes : sequence of str
        Notes on the table itself: printed before the others.
    """
    clear_progress()
    notes = [*footnotes, *notes]
    if as_json:
        print(
            json.dumps(
                {"run": run, "ran": list(ran), "table": list(rows), "notes": notes, "next": next_command},
                ensure_ascii=False,
            )
        )
        return
    if settings.quiet:
        return
    if rows:
        lines, hidden = (table or _table(rows, headings or {})).lines(width(), settings.wide)
        put([(title, True), *lines])
        if hidden:
            _note(f"Not shown at this width: {'; '.join(hidden)} (--wide shows all columns).")
        print()
    for note in notes:
        _note(note)
    if run is not None and not ran:
        print("Nothing to do: everything is up to date (--force runs it again).")
    if next_command:
        print(f"next: {next_command}")


def _note(text: str) -> None:
    """Print a note, folded at spaces where the terminal would break it inside a number."""
    for line in unbroken(text, width()):
        print(line)


def _table(rows: Sequence[dict[str, Any]], headings: Mapping[str, str]) -> TextTable:
    keys = [key for place, key in enumerate(rows[0]) if place == 0 or any(row.get(key) != "" for row in rows)]
    numeric = {key: all(isinstance(row.get(key), (int, float, type(None))) for row in rows) for key in keys}
    columns = [
        Column(headings.get(key, key.replace("_", " ")), text=not numeric[key], rank=place)
        for place, key in enumerate(keys)
    ]
    return TextTable(columns, [[number(row.get(key), _DIGITS.get(key, 4)) for key in keys] for row in rows])
