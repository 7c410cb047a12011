"""The section with all models and engines: their errors, and what they cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .collect import Report
from .markup import e, section, table
from .notes import loop_overhead
from .table import OF_TARGET, TEXTS, cell, columns, percent
from .table import figure as written

__all__ = ["table_section"]


def table_section(report: Report) -> str:
    """Return the tables of all models and engines: the errors per target; then latency and size."""
    shown = columns(report.rows)
    errors = [column for column in shown if column[0] in (*OF_TARGET, "name", "failed")]
    costs = [column for column in shown if column[0] == "name" or column not in errors]
    lines = [(row, target) for row in report.rows for target in row["targets"]]
    firsts = [(row, row["targets"][0]) for row in report.rows]
    overhead = loop_overhead(report.facts["benches"])
    several = len(report.target_names) > 1
    units = (
        "Errors are in the unit of each target."
        if several
        else f"Errors are in the unit of the target, {e(report.unit)}."
    )
    pooled = _pooled(report) if several else ""
    return section(
        "All models and engines",
        _table("Errors", report, errors, lines),
        _table("Latency and size", report, costs, firsts) if len(costs) > 1 else "",
        f'<p class="quiet">{units} “vs FP32 student” is the relative difference of the RMSE; a negative one is a lower '
        f"error, which is better. Below it stands its 95 % interval (paired bootstrap over the held-out rows). "
        f"Rounding to INT8 moves each answer a little, and on a finite number of rows it may by luck move more answers "
        f"towards their labels than away: a gain whose interval contains 0 may be chance. Latency is that of one "
        f"synchronous call from Python, NumPy array in and out, by the host clock; no outlier was removed"
        f"{f'; {e(overhead)}' if overhead else ''}. A dash marks what was not measured.</p>",
        pooled,
    )


def _table(
    label: str,
    report: Report,
    shown: Sequence[tuple[str, str, Callable[[Any], str], int]],
    lines: Sequence[tuple[dict[str, Any], dict[str, Any]]],
) -> str:
    recommended = report.recommended["name"] if report.recommended else None
    heads = [({"": "model or engine"}.get(heading, heading), key in TEXTS) for key, heading, _, _ in shown]
    written_rows = []
    for row, target in lines:
        cells = []
        for key, _, write, _ in shown:
            content = e(write(cell(row, target, key)))
            if key == "delta" and target["delta_low"] is not None:
                content += f"<small>{percent(target['delta_low'])} … {percent(target['delta_high'])}</small>"
            cells.append(content)
        css = "chosen" if row["name"] == recommended else "failed" if row["failed"] else ""
        written_rows.append((f"{css} {row['kind']}".strip(), cells))
    return f'<p class="about">{label}</p>{table(label, heads, written_rows)}'


def _pooled(report: Report) -> str:
    parts = "; ".join(f"{e(row['name'])} {written(row['rmse'])}" for row in report.rows)
    return (
        f'<p class="quiet">Pooled over the targets, each error divided by the standard deviation of its target on the '
        f"held-out rows (root of the mean of squares): {parts}.</p>"
    )
