"""Several runs in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import UserError
from ..run import RunFolder
from .collect import collect

__all__ = ["compare_runs"]


def compare_runs(folders: Sequence[str | Path]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row per model or engine and target of several runs, and notes on what makes them comparable or not.

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
    rows = [
        {
            "run": str(folder),
            "name": row["name"],
            "target": target["name"],
            "RMSE": target["rmse"],
            "R2": target["r2"],
            "p50 µs, batch 1": row.get("p50_us_b1"),
            "bytes": row["size_bytes"],
            "what": row["what"],
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
