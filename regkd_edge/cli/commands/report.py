"""``regkd-edge report``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ..options import command
from ..pipeline import start
from ..tables import show_report


def register(app: typer.Typer) -> None:
    @command(app, "report", {"bench": ["allow"], "run": ["log"]}, "regkd-edge report runs/diabetes --allow 55")
    def report(folder: Path, changes: dict[str, Any], force: bool, as_json: bool) -> None:
        """Write report.html and report.json, and print the whole table."""
        with start(folder, changes, force, as_json) as session:
            (done,) = session.do("report")
            show_report(session.run, done.summary, as_json, session.ran)
