"""Writers of report.json and report.html."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..io.files import write_atomic, write_json
from ..run import RunFolder
from .collect import Report, collect
from .page import page

__all__ = ["write_report"]


def write_report(run: RunFolder, report: Report | None = None) -> list[Path]:
    """Write both files of a run, each atomically; return their paths."""
    report = collect(run) if report is None else report
    figures, document = run.file("report.json"), run.file("report.html")
    write_json(figures, _record(report))
    with write_atomic(document) as temporary:
        temporary.write_text(page(report), encoding="utf-8")
    return [figures, document]


def _record(report: Report) -> dict[str, Any]:
    facts = report.facts
    return {
        "format": 1,
        "run": report.name,
        "unit": report.unit,
        "held_out_rows": len(report.truth),
        "targets": report.target_names,
        "allowed": report.allowed,
        "rows": report.rows,
        "recommended": report.recommended,
        "failed": report.failed,
        "notes": report.notes,
        "data": facts["data"],
        "benches": facts["benches"],
        "config": facts["config"],
        "stages": facts["stages"],
    }
