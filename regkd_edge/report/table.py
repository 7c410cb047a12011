"""The table: its columns and number formats, the same on the console and on the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["columns", "console_table", "figure", "percent", "size"]


def figure(value: float | None, digits: int = 4) -> str:
    """Format significant digits, with an exponent only if needed; a dash for what was not measured."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 10**digits:
        return f"{value:.{digits}g}"
    return f"{value:,.0f}" if 10**digits <= abs(value) < 1e9 else f"{value:.{digits - 1}e}"


def size(value: int | None) -> str:
    """Format bytes as B, kB or MB (powers of 1000)."""
    if value is None:
        return "–"
    for unit, factor in (("MB", 1e6), ("kB", 1e3)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}" if value < 1000 * factor else f"{value / factor:,.0f} {unit}"
    return f"{value} B"


def _count(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def percent(value: float | None) -> str:
    """Format a relative difference with its sign; "0.00%" has none."""
    if value is None:
        return "–"
    written = f"{value:+.2%}" if abs(value) < 1 else f"{value:+,.0%}"
    return written[1:] if written[1:] == "0.00%" else written


def columns(rows: Sequence[dict[str, Any]]) -> list[tuple[str, str, Callable[[Any], str]]]:
    """Return (key, heading, format) of every column; the latency columns are those that the rows have."""
    timed = []
    for key in rows[0] if rows else ():
        if "_us_b" in key:
            quantile, batch = key.split("_us_b")
            timed.append((key, f"{quantile} µs, batch {batch}", lambda v: figure(v, 3)))
    return [
        ("name", "", str),
        ("what", "what", str),
        ("parameters", "parameters", _count),
        ("size_bytes", "size", size),
        ("rmse", "RMSE", figure),
        ("delta", "vs FP32 student", percent),
        ("r2", "R²", lambda v: "–" if v is None else f"{v:.4f}"),
        *timed,
        ("mae", "MAE", figure),
        ("max_error", "largest error", figure),
    ]


def console_table(rows: Sequence[dict[str, Any]], unit: str = "", recommended: str | None = None) -> Any:
    """Return the rows of a :class:`Report` as a ``rich.table.Table``; the recommended engine is bold."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    shown = [column for column in columns(rows) if column[0] not in ("mae", "max_error")]  # a terminal is narrow
    for key, heading, _ in shown:
        text = key in ("name", "what")
        short = heading.replace(", batch", "\nbatch").replace("vs FP32 student", "vs FP32\nstudent")
        table.add_column(escape(short), justify="left" if text else "right", no_wrap=key != "what", overflow="fold")
    for row in rows:
        table.add_row(
            *(escape(write(row.get(key))) for key, _, write in shown),
            style="bold" if row["name"] == recommended else None,
        )
    if unit:
        table.caption = escape(f"RMSE in: {unit}")
        table.caption_justify = "left"
    return table
