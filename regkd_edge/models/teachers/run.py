"""Teachers from a run folder, and the copy of a teacher that a run folder keeps."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ...data import Dataset, Scalers, save_predictions
from ...data.stored import blocks_of, is_stored
from ...errors import ModelError, RunFolderError
from ...io.command import command_line
from ...io.files import file_hash, write_atomic
from ...run import RunFolder
from ..predict import predict
from ..store import load_model, read_card, save_model, write_model
from ..teacher import Teacher
from .checks import require_finite
from .file import from_file
from .onnx import write_onnx

__all__ = ["answers_of", "from_folder", "from_run", "kept_copy", "save_teacher"]


def from_run(path: str | Path, *, trust: bool = False) -> Teacher:
    """The teacher that a run folder keeps; :class:`RunFolderError` where there is none."""
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
    return from_folder(run.file("teacher"), trust=trust)


def from_folder(folder: str | Path, *, trust: bool = False) -> Teacher:
    """The teacher in a folder that :func:`save_teacher` wrote, but for one that needs a factory."""
    card = read_card(folder)
    if card.get("kind") == "file":
        return _from_copy(Path(folder), card, trust)
    saved = load_model(folder)
    return Teacher(
        saved.module, saved.scalers, "standardized", str(saved.extra.get("source") or folder), extra=saved.extra
    )


def kept_copy(folder: str | Path) -> Path | None:
    """Return the copy of a teacher's file in the folder of :func:`save_teacher`, or None."""
    return next((path for path in sorted(Path(folder).glob("source.*")) if path.is_file()), None)


def _from_copy(folder: Path, card: dict[str, Any], trust: bool) -> Teacher:
    remedy = "Take the teacher in again with --force."
    for key, kind in {"output": str, "extra": dict, "scalers": dict}.items():
        if not isinstance(card.get(key), (kind, type(None))):
            raise RunFolderError(f"'{folder / 'model.json'}' is corrupt: its {key} is {str(card[key])[:40]!r}.", remedy)
    if card.get("units", "raw") not in ("raw", "standardized"):
        raise RunFolderError(
            f"'{folder / 'model.json'}' is corrupt: it has other units than raw, standardized.", remedy
        )
    name = str(card.get("file", ""))
    copy = folder / name
    if Path(name).name != name or not name.startswith("source.") or not copy.is_file():
        raise RunFolderError(
            f"'{folder / 'model.json'}' names the teacher's file '{name}', which is not there.", remedy
        )
    if file_hash(copy) != card.get("file_sha256"):
        raise RunFolderError(f"'{copy}' is not the file that 'model.json' describes.", remedy)
    teacher = from_file(copy, card.get("units", "raw"), output=card.get("output"), trust=trust)
    extra = dict(card.get("extra") or {})
    teacher.source = str(extra.get("source") or teacher.source)
    teacher.outputs.source = teacher.source
    teacher.extra.update({key: extra[key] for key in ("feature_names", "target_names") if extra.get(key)})
    teacher.scalers = Scalers.from_dict(card["scalers"]) if card.get("scalers") else None
    teacher.notes, teacher.found = [], []  # decided when it was taken in
    return teacher


def save_teacher(folder: str | Path, teacher: Teacher, dataset: Dataset) -> tuple[list[Path], dict[str, Any]]:
    """Save a teacher with its answers to all rows in a run folder, so that the run is self-contained.

    A network of the core is kept as its weights, a factory as its name and weights, a file as a copy of it.

    Returns
    -------
    paths : list of Path
        model.safetensors, model.json, the copy of a file, predictions.npz
    summary : JSON-able dict, ``{source, parameters, spec or factory, loaded, notes}``

    Raises
    ------
    ModelError
        A network in memory that is none of these, or answers to rows of the data that are not finite.
    """
    folder = Path(folder)
    answers = require_finite(teacher, answers_of(teacher, dataset))  # before anything is written
    extra = {
        **teacher.extra,
        "source": teacher.source,
        "feature_names": dataset.table.feature_names,
        "target_names": dataset.table.target_names,
    }
    summary: dict[str, Any] = {"source": teacher.source, "parameters": teacher.parameters_count}
    summary |= {"loaded": teacher.summary(), "notes": list(teacher.notes)}
    card = {
        "units": teacher.units,
        "parameters": teacher.parameters_count,
        "scalers": teacher.scalers.to_dict() if teacher.scalers is not None else None,
        "extra": extra,
    }
    if teacher.factory is not None:
        summary |= {"factory": teacher.factory, "units": teacher.units}
        card = {"kind": "factory", "factory": teacher.factory, "spec": teacher.factory, **card}
        paths = write_model(folder, _tensors(teacher.module) if teacher.values is None else {}, card)
    elif teacher.file is not None:
        summary |= {"file": teacher.file.name, "units": teacher.units}
        copy = folder / f"source{teacher.file.suffix.lower()}"
        _copy(teacher.file, copy)
        card = {"kind": "file", "form": teacher.form, "file": copy.name, "file_sha256": file_hash(copy), **card}
        card |= {"spec": teacher.source, "output": teacher.output or teacher.outputs.pick}
        paths = [*write_model(folder, {}, card), copy]
    else:
        mlp = teacher.mlp
        if mlp is None:
            raise ModelError(
                f"a {type(teacher.module).__name__} in memory cannot be kept in a run folder.",
                "Give a factory, or a file (ONNX, torch.export).",
            )
        scalers = teacher.scalers or (
            Scalers.identity(dataset.d, dataset.o) if teacher.units == "raw" else dataset.scalers()
        )
        paths = save_model(folder, mlp, scalers, extra=extra)
        summary["spec"] = read_card(folder)["spec"]
    return [*paths, save_predictions(folder / "predictions.npz", answers)], summary


def _tensors(module: nn.Module) -> dict[str, Any]:
    return {key: t for key, t in module.state_dict().items() if hasattr(t, "shape")}


def _copy(source: Path, target: Path) -> None:
    with write_atomic(target) as temporary:
        if source.suffix.lower() == ".onnx":
            write_onnx(source, Path(temporary))  # with its external data inside
        else:
            shutil.copyfile(source, temporary)


def answers_of(teacher: Teacher, dataset: Dataset) -> np.ndarray:  # [N, o] raw units
    """Return a teacher's answers to all rows of a table, passed to it unchanged."""
    if is_stored(dataset.x):
        scalers = None if teacher.units == "raw" else teacher.scalers or dataset.scalers()
        ask = teacher.predict if scalers is None or teacher.scalers is not None else (
            lambda x: scalers.y.restore(teacher._ask(scalers.x.standardize(x))))  # fmt: skip
        answers = np.empty((len(dataset.x), dataset.o))  # not joined from parts, which would take twice the memory
        for begin, block in blocks_of(dataset.x):
            answers[begin : begin + len(block)] = ask(block)
        return answers
    if teacher.units == "standardized" and teacher.scalers is None:  # standardized by the statistics of this table
        scalers = dataset.scalers()
        if teacher.mlp is not None:
            return predict(teacher.standardized(scalers), scalers, dataset.x)
        return scalers.y.restore(teacher._ask(scalers.x.standardize(dataset.x)))
    return teacher.predict(dataset.x)
