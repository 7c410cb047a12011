"""The rows of a file answered by an engine, a student or a teacher. Engines need no torch."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .data.named import read_inputs
from .engines.base import MANIFEST
from .errors import UserError
from .io.files import write_atomic
from .io.reading import read_json
from .run import RunFolder

__all__ = ["Answers", "predict_file"]


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers [n, o] in raw units, the names of the targets, and whose they are."""

    by: str
    target_names: list[str]
    answers: np.ndarray

    def csv(self) -> str:
        """The answers as CSV with a header; each number is the shortest text that gives it back exactly."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(self.target_names)
        writer.writerows([repr(float(value)) for value in row] for row in self.answers)
        return stream.getvalue()

    def summary(self) -> list[dict[str, Any]]:
        """A row per target: smallest, mean and largest answer."""
        return [
            {
                "target": name,
                "smallest": float(column.min()),
                "mean": float(column.mean()),
                "largest": float(column.max()),
            }
            for name, column in zip(self.target_names, self.answers.T)
        ]


def predict_file(model: str | Path, data: str | Path, out: str | Path | None = None, by: str | None = None) -> Answers:
    """Answer the rows of a file, and write the answers as CSV where ``out`` names a file.

    Parameters
    ----------
    model : path
        A run folder or an engine folder.
    data : path
        Rows in raw units in any file that holds a table; its columns are found by name, others are passed over.
    by : str, optional
        Which model of a run answers: ``teacher``, ``student`` or the name of an engine. By default the engine that the
        report recommends, else the first one, else the student.

    Raises
    ------
    UserError
        No run or engine, no such model in it, or rows that cannot be used.
    """
    folder = Path(model)
    if (folder / MANIFEST).is_file():
        if by is not None:
            raise UserError(f"--by {by} chooses among the models of a run, and '{model}' is one engine.", "Omit --by.")
        answers = _by_engine(folder, data)
    else:
        answers = _by_run(RunFolder.open(folder), data, by)
    if out is not None:
        with write_atomic(out) as temporary:
            Path(temporary).write_text(answers.csv(), encoding="utf-8")
    return answers


def _by_engine(
    folder: Path, data: str | Path, names: list[str] | None = None, targets: list[str] | None = None
) -> Answers:
    from .engines.engine import Engine

    with Engine(folder) as engine:
        names = list(engine.manifest.feature_names) or names
        if not names:
            raise UserError(
                f"the engine in '{folder}' does not name its inputs.", "Build it again, or name the run it belongs to."
            )
        targets = list(engine.manifest.target_names) or targets or [f"y{j}" for j in range(engine.o)]
        return Answers(folder.name, targets, engine.predict(read_inputs(data, names)))


def _by_run(run: RunFolder, data: str | Path, by: str | None) -> Answers:
    names = read_json(run.file("data.json"), "Run train-teacher again with --force.") if run.record("data") else {}
    features, targets = list(names.get("feature_names", [])), list(names.get("target_names", []))
    engines = [Path(name).name for name in (run.record("build") or {"outputs": {}})["outputs"]]
    chosen = by or _recommended(run, engines)
    if chosen in engines:
        return _by_engine(run.file("engines", chosen), data, features, targets)
    if chosen not in ("teacher", "student") or run.record("teacher" if chosen == "teacher" else "distill") is None:
        have = [name for name, stage in (("teacher", "teacher"), ("student", "distill")) if run.record(stage)] + engines
        raise UserError(
            f"'{run.path}' has no model '{chosen}'.", f"It has: {', '.join(have) or 'none yet; train one first'}."
        )
    x = read_inputs(data, features)
    if chosen == "student":
        from .models import Student

        return Answers("student", targets, Student.load(run.file("student")).predict(x))
    from .data import load_dataset
    from .models import teacher_for

    return Answers(
        "teacher", targets, teacher_for(run.config().teacher, load_dataset(run), run.file("teacher")).predict(x)
    )


def _recommended(run: RunFolder, engines: list[str]) -> str:
    record = run.record("report")
    recommended = ((record or {}).get("summary", {}).get("recommended") or {}).get("name")
    return recommended if recommended in engines else engines[0] if engines else "student"
