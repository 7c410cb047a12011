"""``regkd-edge bench``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ...io.command import command_line
from ..options import command
from ..output import show
from ..pipeline import start
from ..tables import measured


def register(app: typer.Typer) -> None:
    @command(app, "bench", {"bench": None}, "regkd-edge bench runs/diabetes --batches 1,32 --samples 2000")
    def bench(folder: Path, changes: dict[str, Any], force: bool, as_json: bool) -> None:
        """Measure accuracy on the held-out rows and latency, on the engine files."""
        from ...report.failed import is_failure

        with start(folder, changes, force, as_json) as session:
            (done,) = session.do("bench")
            show(
                f"measured on the engines of {folder}",
                **measured(session.run),
                as_json=as_json,
                run=str(folder),
                ran=session.ran,
                notes=[
                    *session.kept("bench"),
                    *(f"not run here: {line}" for line in done.summary.get("left_out", []) if not is_failure(line)),
                ],
                next_command=command_line("report", folder),
            )
