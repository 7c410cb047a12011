"""Teachers from a run folder, and the copy of a teacher that a run folder keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...data import Dataset, save_predictions
from ...errors import ModelError, RunFolderError
from ...io.command import command_line
from ...run import RunFolder
from ..predict import predict
from ..store import load_model, read_card, save_model, write_model
from ..teacher import Teacher

__all__ = ["answers_of", "from_folder", "from_run", "save_teacher"]


def from_run(path: str | Path) -> Teacher:
    """Return the teacher of a run folder; :class:`RunFolderError` if there is none."""
    run = RunFolder.open(path)
    if not run.file("teacher", "model.json").is_file():
        raise RunFolderError(
            f"the run folder '{path}' has no teacher.", f"Run: {command_line('train-teacher', Path(path))}"
        )
    if read_card(run.file("teacher")).get("kind") == "factory":
        raise ModelError(
            f"the teacher of '{path}' comes from a factory.",
            "Name that factory with --factory here too.",
        )
    return from_folder(run.file("teacher"))


def from_folder(folder: str | Path) -> Teacher:
    """Return the MLP with its scalers from a folder that :func:`~regkd_edge.models.save_model` wrote."""
    saved = load_model(folder)
    return Teacher(
        saved.module, saved.scalers, "standardized", str(saved.extra.get("source") or folder), extra=saved.extra
    )


def save_teacher(folder: str | Path, teacher: Teacher, dataset: Dataset) -> tuple[list[Path], dict[str, Any]]:
    """Save a teacher with its answers to all rows in a run folder, so that the run is self-contained.

    Returns
    -------
    paths : model.safetensors, model.json, predictions.npz
    summary : JSON-able dict, ``{source, parameters, spec or factory}``
    """
    extra = {
        **teacher.extra,
        "source": teacher.source,
        "feature_names": dataset.table.feature_names,
        "target_names": dataset.table.target_names,
    }
    summary: dict[str, Any] = {"source": teacher.source, "parameters": teacher.parameters_count}
    if teacher.factory is None:
        paths = save_model(folder, teacher.module, teacher.scalers, extra=extra)
        summary["spec"] = read_card(folder)["spec"]
    else:
        summary |= {"factory": teacher.factory, "units": teacher.units}
        card = {
            "kind": "factory",
            "factory": teacher.factory,
            "units": teacher.units,
            "spec": teacher.factory,
            "parameters": teacher.parameters_count,
        }
        paths = write_model(folder, teacher.module.state_dict(), {**card, "extra": extra})
    return [*paths, save_predictions(Path(folder) / "predictions.npz", answers_of(teacher, dataset))], summary


def answers_of(teacher: Teacher, dataset: Dataset) -> np.ndarray:  # [N, o] raw units
    """Return a teacher's answers to all rows of a table, passed to it unchanged."""
    if teacher.units == "standardized" and teacher.scalers is None:  # standardized by the statistics of this table
        scalers = dataset.scalers()
        return predict(teacher.standardized(scalers), scalers, dataset.x)
    return teacher.predict(dataset.x)
