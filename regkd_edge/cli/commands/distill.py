"""``regkd-edge distill``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ...errors import RunFolderError
from ...io.command import command_line
from ..options import command
from ..output import show
from ..pipeline import Session, start
from ..tables import data_notes, export_note, graphs, measured, sensitivity_notes, teacher_notes, training_notes

_BROUGHT = ("teacher_from", "from_run", "factory")


def register(app: typer.Typer) -> None:
    @command(
        app,
        "distill",
        {
            "distill": None,
            "data": None,
            "teacher": [*_BROUGHT, "weights", "units", "teacher_scaler", "output", "trust"],
            "quantize": ["qat"],
            "run": ["seed", "export_batch"],
        },
        "regkd-edge distill runs/diabetes --student mlp:16,16:tanh --fraction 0.5 --steps 1000",
    )
    def distill(folder: Path, changes: dict[str, Any], force: bool, as_json: bool) -> None:
        """Train a small student on the teacher and export it to ONNX with its scalers inside."""
        brings_teacher = any(changes.get(f"teacher.{field}") for field in _BROUGHT)
        with start(folder, changes, force, as_json, create=brings_teacher) as session:
            data, teacher = _teacher(session)
            students, export = session.do("distill", "export")
            difference = export_note(export.summary)
            notes = [
                *session.kept("distill"),
                *data_notes(data),
                *teacher_notes(teacher),
                *training_notes(students.summary),
                difference,
            ]
            if not changes.get("quantize.qat"):
                show(
                    f"students of {folder}",
                    **measured(session.run),
                    as_json=as_json,
                    run=str(folder),
                    ran=session.ran,
                    notes=notes,
                    next_command=command_line("quantize", folder),
                )
                return
            (quantized,) = session.do("quantize")
            made = quantized.summary["graphs"]
            show(
                f"graphs of {folder}",
                **graphs(made),
                as_json=as_json,
                run=str(folder),
                ran=session.ran,
                notes=notes + [note for graph in made for note in graph.get("notes", [])] + sensitivity_notes(made),
                next_command=command_line("build", folder),
            )


def _teacher(session: Session) -> list[dict[str, Any]]:
    """Bring in a teacher that exists already; one that has to be trained is ``train-teacher``'s work."""
    teacher = session.config.teacher
    if session.run.record("teacher") is None and not teacher.brought:
        raise RunFolderError(
            f"'{session.run.path}' has no teacher.",
            f"Name one with --teacher-from, or run: {command_line('train-teacher', session.run.path)}",
        )
    force, session.force = session.force, False
    done = session.take_in()
    session.force = force
    return [stage.summary for stage in done]
