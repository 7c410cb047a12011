"""``regkd-edge build``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ...io.command import command_line
from ..options import command
from ..output import show
from ..pipeline import start


def register(app: typer.Typer) -> None:
    @command(app, "build", {"build": None}, "regkd-edge build runs/diabetes --backend onnxruntime")
    def build(folder: Path, changes: dict[str, Any], force: bool, as_json: bool) -> None:
        """Build an engine from each graph, on the machine that will run it."""
        from ...report.failed import is_failure

        with start(folder, changes, force, as_json) as session:
            (done,) = session.do("build")
            show(
                f"engines of {folder}",
                done.summary["engines"],
                as_json=as_json,
                headings={"size_bytes": "bytes", "answers_as_graph": "answers as its graph"},
                run=str(folder),
                ran=session.ran,
                notes=[
                    *session.kept("build"),
                    *done.summary.get("headers", []),
                    *done.summary.get("repaired", []),
                    *(
                        f"FAILED: {line}" if is_failure(line) else f"left out: {line}"
                        for line in done.summary.get("left_out", [])
                    ),
                ],
                next_command=command_line("bench", folder),
            )
