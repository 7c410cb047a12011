"""``regkd-edge train-teacher``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ...io.command import command_line
from ..options import command
from ..output import show
from ..pipeline import start
from ..tables import data_notes, measured, teacher_notes


def register(app: typer.Typer) -> None:
    @command(
        app,
        "train-teacher",
        {"data": None, "teacher": None, "run": ["seed"]},
        "regkd-edge train-teacher runs/diabetes --data diabetes --teacher mlp:64,64:tanh",
    )
    def train_teacher(folder: Path, changes: dict[str, Any], force: bool, as_json: bool) -> None:
        """Train a large network on the labels, or import one from another run or a factory."""
        with start(folder, changes, force, as_json, create=True) as session:
            data, teacher = session.do("data", "teacher")
            show(
                f"teacher of {folder}",
                **measured(session.run),
                as_json=as_json,
                run=str(folder),
                ran=session.ran,
                notes=[*session.kept("data", "teacher"), *data_notes(data.summary), *teacher_notes(teacher.summary)],
                next_command=command_line("distill", folder),
            )
