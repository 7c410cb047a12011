"""``regkd-edge quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ...io.command import command_line
from ..options import command
from ..output import show
from ..pipeline import start
from ..tables import graph_notes, graphs, sensitivity_notes


def register(app: typer.Typer) -> None:
    @command(
        app,
        "quantize",
        {"quantize": None, "teacher": ["trust"]},
        "regkd-edge quantize runs/diabetes --precision fp16,int8",
    )
    def quantize(folder: Path, changes: dict[str, Any], force: bool, as_json: bool) -> None:
        """Write INT8 and FP16 graphs of the student and check them against the FP32 graph."""
        with start(folder, changes, force, as_json) as session:
            (done,) = session.do("quantize")
            show(
                f"graphs of {folder}",
                **graphs(done.summary["graphs"]),
                as_json=as_json,
                run=str(folder),
                ran=session.ran,
                notes=session.kept("quantize")
                + graph_notes(done.summary["graphs"])
                + [f"left out: {reason}" for reason in done.summary.get("left_out", [])]
                + sensitivity_notes(done.summary["graphs"]),
                next_command=command_line("build", folder),
            )
