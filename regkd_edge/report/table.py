"""The table: its columns and number formats, the same on the console and on the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..io.text import Column, TextTable, fold, significant
from ..measure.accuracy import unit_of
from .rows import kept_within

__all__ = ["OF_TARGET", "TEXTS", "cell", "columns", "console_table", "figure", "in_heading", "percent", "size"]


_NARROW, _WIDE, _MOST_LINES = 8, 14, 3  # of a heading over numbers: cells, as its longest word needs; lines


def figure(value: float | None, digits: int = 4) -> str:
    """Format significant digits; a dash for what was not measured."""
    return "–" if value is None else significant(value, digits)


def size(value: int | None) -> str:
    """Format bytes as B, kB or MB (powers of 1000)."""
    if value is None:
        return "–"
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if value >= factor:
            return f"{significant(value / factor, 3)} {unit}"
    return f"{value} B"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """Format a relative difference with its sign; "0.00%" has none."""
    if value is None:
        return "–"
    written = f"{value:+.2%}" if abs(value) < 1 else f"{value:+,.0%}"
    return written[1:] if written[1:] == "0.00%" else written


def in_heading(target: str) -> str:
    """Return what a heading says of the only target: its name in brackets, of a long one the unit alone, or nothing.

    A heading of nine short lines over a narrow column cannot be read; a sentence below the table has the whole name.
    """
    for said in (target, unit_of(target)):
        words = f"({said})".split()
        width = min(max(_NARROW, *map(len, words)), _WIDE)
        if said and len(fold(f"({said})", width)) <= _MOST_LINES:
            return f" ({said})"
    return ""


def columns(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, Callable[[Any], str], int]]:
    """Return (key, heading, format, rank) of every column; on a narrow terminal the highest rank is left out first.

    Keys of :data:`OF_TARGET` are looked up in the row's ``targets``; the others in the row. The latency columns are
    those with a figure in some row, the budget's only if one was given, the student's only if there is one.
    """
    timed = []
    in_cpp = any(row.get(key) is not None for row in rows for key in row if key.startswith("cpp_"))
    for key in rows[0] if rows else ():
        if "_us_b" in key and any(row.get(key) is not None for row in rows):
            quantile, batch = key.split("_us_b")
            first = not any(k.startswith(f"{quantile}_us_b") for k, *_ in timed)
            ranks = {"p50": (2, 7), "p99": (6, 8), "cpp_p50": (5, 9), "cpp_p99": (9, 10)}[quantile]
            where = f" {'in C++' if key.startswith('cpp_') else 'from Python'}" if in_cpp else ""
            heading = f"{quantile.removeprefix('cpp_')} µs{where}, batch {batch}"
            timed.append((key, heading, lambda v: figure(v, 3), ranks[0 if first else 1]))
    several = any(len(row["targets"]) > 1 for row in rows)
    differing = any(row.get("failed") for row in rows)
    judged = any(row["passed"] is not None for row in rows)
    compared = any(target["delta"] is not None for row in rows for target in row["targets"])
    return [
        ("name", "", str, 0),
        *([("target", "target", str, 0)] if several else []),
        *([("failed", "as its graph", lambda v: "FAILED" if v else "", 0)] if differing else []),
        ("rmse", "RMSE", figure, 0),
        *([("allowed", "allowed", figure, 3), ("verdict", "budget", str, 1)] if judged else []),
        *([("delta", "vs FP32 student", percent, 3)] if compared else []),
        *timed,
        ("size_bytes", "size", size, 4),
        ("r2", "R²", lambda v: "–" if v is None else f"{v:.4f}", 5),
        ("mae", "MAE", figure, 9),
        ("max_error", "largest error", figure, 9),
        ("parameters", "parameters", _count, 10),
        ("what", "what", str, 11),
    ]


#: Columns of words.
TEXTS = ("name", "what", "target", "verdict", "failed")
#: Columns that have a figure per target.
OF_TARGET = ("target", "rmse", "allowed", "verdict", "delta", "r2", "mae", "max_error")


def cell(row: dict[str, Any], target: dict[str, Any], key: str) -> Any:
    """Return the value of a column for one target of a row."""
    if key == "target":
        return target["name"]
    if key == "verdict":
        return kept_within(target)
    return target[key] if key in OF_TARGET else row.get(key)


def console_table(rows: Sequence[dict[str, Any]], recommended: str | None = None) -> TextTable:
    """Return the rows of a :class:`Report` as a table for a terminal, with one line per target.

    The recommended engine is bold.
    """
    shown = columns(rows)
    lines, bold = [], set()
    unit = rows[0]["targets"][0]["name"] if rows and len(rows[0]["targets"]) == 1 else None
    for row in rows:
        for number, target in enumerate(row["targets"]):
            if row["name"] == recommended:
                bold.add(len(lines))
            lines.append(
                [write(cell(row, target, key)) if number == 0 or key in OF_TARGET else "" for key, _, write, _ in shown]
            )
    heads = [
        Column(
            f"{heading}{in_heading(unit)}" if unit and key == "rmse" else heading,
            text=key in TEXTS,
            rank=rank,
        )
        for key, heading, _, rank in shown
    ]
    return TextTable(heads, lines, bold)
