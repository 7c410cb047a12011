"""Several runs in one table, with the keys of a report's rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..io.text import Column, TextTable
from ..run import RunFolder
from .collect import collect
from .table import figure, in_heading, size

__all__ = ["compare_runs", "comparison_table"]


def compare_runs(folders: Sequence[str | Path]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row per model or engine and target of several runs, and notes on what makes them comparable or not.

    Each row has ``run``, ``name``, ``kind``, ``target``, ``unit``, ``rmse``, ``rmse_low``, ``rmse_high``, ``mae``,
    ``r2`` and ``max_error`` in the target's unit, ``p50_us_bB`` and ``p99_us_bB`` for each batch size B that any of the
    runs was measured with, ``size_bytes``, ``parameters``, ``failed`` and ``what``, as a :class:`~.collect.Report` has
    them. None where something was not measured.

    Raises
    ------
    UserError
        Fewer than two runs, or one of them twice.
    RunFolderError
        A folder that is not a run, or is damaged.
    """
    if len(folders) < 2:
        raise UserError(f"compare was given {len(folders)} run, expected at least 2.", "Name another run folder.")
    places = [Path(folder).resolve() for folder in folders]
    for i, place in enumerate(places):
        if place in places[:i]:
            raise UserError(f"compare was given the run '{folders[i]}' twice.", "Name each run once.")
    reports = [collect(RunFolder.open(folder)) for folder in folders]
    batches = sorted({batch for report in reports for batch in report.batches})
    rows = [
        {
            "run": str(folder),
            "name": row["name"],
            "kind": row["kind"],
            "target": target["name"],
            **{key: target[key] for key in ("unit", "rmse", "rmse_low", "rmse_high", "mae", "r2", "max_error")},
            **{f"{q}_us_b{batch}": row.get(f"{q}_us_b{batch}") for batch in batches for q in ("p50", "p99")},
            **{key: row[key] for key in ("size_bytes", "parameters", "failed", "what")},
        }
        for folder, report in zip(folders, reports)
        for row in report.rows
        for target in row["targets"]
    ]
    first, notes = reports[0], []
    for folder, report in zip(folders[1:], reports[1:]):
        if report.target_names != first.target_names:
            notes.append(
                f"'{folder}' has the targets {', '.join(report.target_names)}, '{folders[0]}' has "
                f"{', '.join(first.target_names)}: their errors are in other units."
            )
        elif report.truth.shape != first.truth.shape or not np.array_equal(report.truth, first.truth):
            notes.append(
                f"'{folder}' and '{folders[0]}' were measured on different held-out rows: a small difference may be "
                "the rows'."
            )
        else:
            notes.append(f"'{folder}' and '{folders[0]}' were measured on the same {len(first.truth):,} held-out rows.")
    return rows, notes


def comparison_table(rows: Sequence[dict[str, Any]]) -> TextTable:
    """Return the rows of :func:`compare_runs` as a table for a terminal."""
    timed = [key for key in rows[0] if "_us_b" in key and any(row[key] is not None for row in rows)]
    targets = {row["target"] for row in rows}
    unit = in_heading(rows[0]["target"]) if len(targets) == 1 else ""
    shown: list[tuple[str, str, Any, int]] = [
        ("run", "run", str, 0),
        ("name", "name", str, 0),
        *([("target", "target", str, 0)] if len(targets) > 1 else []),
        *([("failed", "as its graph", lambda v: "FAILED" if v else "", 0)] if any(r["failed"] for r in rows) else []),
        ("rmse", f"RMSE{unit}", figure, 0),
        ("r2", "R²", lambda v: "–" if v is None else f"{v:.4f}", 2),
        *((key, "{} µs, batch {}".format(*key.split("_us_b")), lambda v: figure(v, 3),
        3 + key.startswith("p99")) for key in timed),
        ("size_bytes", "size", size, 5),
        ("mae", "MAE", figure, 6),
        ("max_error", "largest error", figure, 7),
        ("what", "what", str, 8),
    ]  # fmt: skip
    words = ("run", "name", "target", "failed", "what")
    columns = [Column(heading, text=key in words, rank=rank) for key, heading, _, rank in shown]
    return TextTable(columns, [[write(row[key]) for key, _, write, _ in shown] for row in rows])
