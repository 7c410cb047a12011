"""The rows of a file answered by an engine, a student or a teacher. Engines need no torch."""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .config import DataConfig
from .data.named import read_rows
from .engines.manifest import MANIFEST
from .errors import RunFolderError, UserError
from .io.command import command_line
from .io.files import write_atomic
from .io.reading import read_json
from .run import RunFolder

__all__ = ["Answers", "predict_file"]


@dataclass(frozen=True, eq=False)
class Answers:
    """Answers [n, o] in raw units, the names of the targets, whose they are, and which file or window each is about."""

    by: str
    target_names: list[str]
    answers: np.ndarray
    places: dict[str, list[str]] = field(default_factory=dict)

    def csv(self) -> str:
        """The answers as CSV with a header, behind the file or window that each is about.

        Each number is the shortest text that gives it back exactly; of float32, in which students and engines compute,
        the shortest one that gives the float32 back: 194.678, not 194.67800903320312.
        """
        single = self.answers.astype(np.float32)
        values = single if np.array_equal(single, self.answers) else self.answers
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([*self.places, *self.target_names])
        for i, row in enumerate(values):
            writer.writerow([*(cells[i] for cells in self.places.values()), *map(str, row)])
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


def predict_file(
    model: str | Path, data: str | Path, out: str | Path | None = None, by: str | None = None, *, trust: bool = False
) -> Answers:
    """Answer the rows of a file, and write the answers as CSV where ``out`` names a file.

    Parameters
    ----------
    model : path
        A run folder or an engine folder.
    data : path
        Rows in raw units in any file that holds a table; its columns are found by name, others are passed over. Or
        examples of the shape of the training: an array, recordings, a folder of images.
    by : str, optional
        Which model of a run answers: ``teacher``, ``student`` or the name of an engine. By default the engine that the
        report recommends, else the first one, else the student.
    trust : bool
        Run code of the teacher's files where the teacher answers.

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
        answers = _by_run(RunFolder.open(folder), data, by, trust)
    if out is not None:
        with write_atomic(out) as temporary:
            Path(temporary).write_text(answers.csv(), encoding="utf-8")
    return answers


def _by_engine(
    folder: Path,
    data: str | Path,
    names: list[str] | None = None,
    targets: list[str] | None = None,
    shape: list[int] | None = None,
    config: DataConfig | None = None,
) -> Answers:
    from . import api

    with api.load_engine(folder) as engine:
        names = list(engine.manifest.feature_names) or names
        if not names:
            raise UserError(
                f"the engine in '{folder}' does not name its inputs.", "Build it again, or name the run it belongs to."
            )
        targets = list(engine.manifest.target_names) or targets or [f"y{j}" for j in range(engine.o)]
        rows = read_rows(data, names, shape or _shape_of(names), config)
        return Answers(folder.name, targets, engine.predict(rows.x), rows.places)


def _shape_of(names: list[str]) -> list[int] | None:
    """The shape that the names ``x0.0.0`` to ``x2.47.63`` tell; None where they name columns."""
    last = re.fullmatch(r"x(\d+(?:\.\d+)+)", names[-1])
    shape = [int(n) + 1 for n in last[1].split(".")] if last else None
    return shape if shape is not None and names[0] == "x" + ".".join("0" * len(shape)) else None


def _by_run(run: RunFolder, data: str | Path, by: str | None, trust: bool) -> Answers:
    names = read_json(run.file("data.json"), "Run train-teacher again with --force.") if run.record("data") else {}
    features, targets = list(names.get("feature_names", [])), list(names.get("target_names", []))
    config = run.config().data
    engines = [Path(name).name for name in (run.record("build") or {"outputs": {}})["outputs"]]
    chosen = by or _recommended(run, engines)
    if chosen in engines:
        _require_as_built(run, chosen)
        return _by_engine(run.file("engines", chosen), data, features, targets, names.get("input_shape"), config)
    if chosen not in ("teacher", "student") or run.record("teacher" if chosen == "teacher" else "distill") is None:
        have = [name for name, stage in (("teacher", "teacher"), ("student", "distill")) if run.record(stage)] + engines
        raise UserError(
            f"'{run.path}' has no model '{chosen}'.", f"It has: {', '.join(have) or 'none yet; train one first'}."
        )
    rows = read_rows(data, features, names.get("input_shape"), config)
    if chosen == "student":
        from .models import Student
        from .run.consented import require_student

        whole = run.config().updated({"teacher.trust": True} if trust else {})
        require_student(whole)
        student = Student.load(run.file("student"), factory=whole.distill.student)
        return Answers("student", targets, student.predict(rows.x), rows.places)
    from .data import load_dataset
    from .models import teacher_for

    config = run.config().updated({"teacher.trust": True} if trust else {})
    teacher = teacher_for(config.teacher, load_dataset(run), run.file("teacher"))
    return Answers("teacher", targets, teacher.predict(rows.x), rows.places)


def _require_as_built(run: RunFolder, engine: str) -> None:
    """Refuse an engine whose folder is not what ``build`` compared with its graph and recorded."""
    name = f"engines/{engine}"
    if not run.is_as_recorded(name, run.known_outputs("build")[name]):
        raise RunFolderError(
            f"engine '{engine}' of '{run.path}' was changed or removed after it was built and compared with its graph.",
            f"Build it again: {command_line('build', run.path)}",
        )


def _recommended(run: RunFolder, engines: list[str]) -> str:
    record = run.record("report")
    recommended = ((record or {}).get("summary", {}).get("recommended") or {}).get("name")
    return recommended if recommended in engines else engines[0] if engines else "student"
