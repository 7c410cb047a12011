"""Output of a command: a progress bar on stderr, one table, the next command; or one JSON object on stdout."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

__all__ = ["console", "error_line", "number", "progress_bar", "show"]

console = Console(stderr=True, highlight=False)


def error_line(cause: str, remedy: str, as_json: bool) -> None:
    """Print one line with the cause and the remedy; with ``--json`` an object on stdout too."""
    if as_json:
        print(json.dumps({"error": cause, "remedy": remedy}))
    print(f"error: {cause} {remedy}".rstrip(), file=sys.stderr)


def number(value: Any, digits: int = 4) -> str:
    """Format a value for a table: significant digits for floats, separated thousands for integers, a dash for None."""
    if value is None:
        return "-"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.{digits}g}" if abs(value) < 10**digits else f"{value:,.0f}"


def show(
    title: str,
    rows: Sequence[dict[str, Any]],
    *,
    as_json: bool,
    run: str | None = None,
    ran: Sequence[str] = (),
    notes: Sequence[str] = (),
    next_command: str | None = None,
    table: Any = None,
    footnotes: Sequence[str] = (),
) -> None:
    """Print the result of a command.

    Parameters
    ----------
    title : str
        Title of the table.
    rows : sequence of dict
        One per row, with the same keys, which become the column heads.
    as_json : bool
        One JSON object on stdout instead: ``{"run", "ran", "table", "notes", "next"}``.
    ran : sequence of str
        The stages that this call ran (not those that were up to date).
    notes : sequence of str
        Lines to print below the table.
    next_command : str, optional
        What to type next.
    table : rich renderable, optional
        A finished table to print in place of the one made of ``rows``.
    footnotes : sequence of str
        Notes on the table itself: printed before the others.
    """
    notes = [*footnotes, *notes]
    if as_json:
        print(
            json.dumps(
                {"run": run, "ran": list(ran), "table": list(rows), "notes": notes, "next": next_command},
                ensure_ascii=False,
            )
        )
        return
    out = Console(highlight=False)
    if not out.is_terminal:
        out = Console(highlight=False, width=160)
    if rows and table is not None:
        out.print(escape(title), style="bold")
    elif rows:
        table = Table(title=escape(title), title_justify="left", title_style="bold")
        for key in rows[0]:
            numeric = all(isinstance(row.get(key), (int, float, type(None))) for row in rows)
            table.add_column(escape(key), justify="right" if numeric else "left", no_wrap=numeric)
        for row in rows:
            table.add_row(*(escape(number(row.get(key))) for key in rows[0]))
    if rows:
        out.print(table)
    for note in notes:
        out.print(escape(note), soft_wrap=True)
    if run is not None and not ran:
        out.print("Nothing to do: everything is up to date (--force runs it again).", soft_wrap=True)
    if next_command:
        out.print(f"next: {escape(next_command)}", soft_wrap=True)


@contextlib.contextmanager
def progress_bar(as_json: bool) -> Iterator[Any]:
    """Yield a callback ``progress(label, step, total, losses, validation_rmse)`` that draws one bar per label."""
    if as_json or not console.is_terminal:
        yield lambda *args: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def progress(
            label: str, step: int, total: int, losses: dict[str, float], validation_rmse: float | None
        ) -> None:
            if label not in tasks:
                tasks[label] = bars.add_task(label, total=total, figures="")
            figures = "  ".join(f"{name} {value:.3g}" for name, value in losses.items() if value)
            if validation_rmse is not None:
                figures += f"  validation RMSE {validation_rmse:.4g}"
            bars.update(tasks[label], completed=step, total=total, figures=figures)

        yield progress
