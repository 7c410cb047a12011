"""Checks that a teacher fits the data: widths, columns, outputs, finite values."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from ...config import TeacherConfig
from ...data import Dataset
from ...errors import ModelError
from ..store import read_card, read_tensors
from ..teacher import Teacher
from .factory import from_factory
from .run import from_folder, from_run

__all__ = ["check_teacher", "open_teacher", "teacher_for"]


def teacher_for(config: TeacherConfig, dataset: Dataset, folder: str | Path | None = None) -> Teacher:
    """Return the teacher that a configuration names, checked against the data.

    Parameters
    ----------
    config : TeacherConfig
        ``from_run`` or ``factory`` (with ``weights`` and ``inputs``) name its source.
    dataset : Dataset
        The data it will teach on; their widths and column order are checked.
    folder : path, optional
        The folder of :func:`save_teacher`. If given, it is read, and ``from_run`` and ``weights`` are ignored:
        a run keeps its own copy. A factory is still imported, and only when ``config`` names it.

    Raises
    ------
    ModelError
        Widths that do not fit (both numbers are named), different columns, a factory that cannot be imported or called,
        a state dict with different keys or shapes.
    RunFolderError
        The run folder or the saved teacher is missing or corrupt.
    """
    if folder is not None:
        card = read_card(folder)
        if card.get("kind") == "factory":
            if config.factory != card.get("factory"):
                raise ModelError(
                    f"the teacher in '{folder}' needs the factory '{card.get('factory')}', and the configuration names '{config.factory}'.",
                    "Name it with --factory, or import this teacher again with --force.",
                )
            teacher = from_factory(
                config.factory, config.inputs, read_tensors(Path(folder) / "model.safetensors"), f"'{folder}'"
            )
        else:
            teacher = from_folder(folder)
    else:
        teacher = open_teacher(config)
    check_teacher(teacher, dataset)
    return teacher


def open_teacher(config: TeacherConfig) -> Teacher:
    """Return the teacher that ``from_run`` or ``factory`` names, unchecked; errors as in :func:`teacher_for`."""
    if config.from_run is not None:
        return from_run(config.from_run)
    if config.factory is not None:
        tensors = read_tensors(config.weights) if config.weights is not None else None
        return from_factory(config.factory, config.inputs, tensors, f"'{config.weights}'")
    raise ModelError("no teacher named.", "Train one with train-teacher, or give --from-run or --factory.")


def check_teacher(teacher: Teacher, dataset: Dataset) -> None:
    """Refuse a teacher that does not fit the data: by its metadata if it has any, else by evaluating two rows."""
    names = dataset.table.feature_names, dataset.table.target_names
    widths = teacher.widths
    for what, width, given, verb in (
        ("inputs", widths[0], dataset.d, "takes"),
        ("outputs", widths[1], dataset.o, "gives"),
    ):
        if width is not None and width != given:
            have = f"the data have {given} input columns" if what == "inputs" else f"{given} targets are named"
            raise ModelError(
                f"the teacher ({teacher.source}) {verb} {width} {what}, but {have}.",
                "Give the data it was trained on, with the same targets.",
            )
    for key, own, given in zip(
        ("feature_names", "target_names"),
        (teacher.extra.get("feature_names"), teacher.extra.get("target_names")),
        names,
    ):
        if own and own != given and sorted(own) == sorted(given):
            raise ModelError(
                f"the teacher's {key.split('_')[0]} columns are in a different order: {', '.join(own[:6])}; the data have {', '.join(given[:6])}.",
                "Put the columns into the teacher's order.",
            )
    _try(teacher, dataset)


def _try(teacher: Teacher, dataset: Dataset) -> None:
    x, _ = dataset.rows("train")
    scalers = teacher.scalers or dataset.scalers()
    probe = teacher.standardized(scalers)
    rows = torch.from_numpy(scalers.x.standardize(x[:2])).float().requires_grad_(True)
    first = next((m for m in teacher.module.modules() if isinstance(m, nn.Linear)), None)
    try:
        with torch.enable_grad():
            y = probe(rows)
    except ModelError:
        raise
    except Exception as error:  # a foreign module may raise anything on rows of this width
        hint = (
            f" (its first linear layer takes {first.in_features} inputs)"
            if first is not None and first.in_features != dataset.d
            else ""
        )
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError(
            f"the teacher ({teacher.source}) fails on rows of {dataset.d} inputs{hint}: {reason}.",
            "Give the data it was trained on.",
        ) from error
    if tuple(y.shape) != (len(rows), dataset.o):
        raise ModelError(
            f"the teacher ({teacher.source}) returns outputs of shape {list(y.shape)} for {len(rows)} rows, but {dataset.o} targets are named.",
            "Name one target per output.",
        )
    if not torch.isfinite(y).all():
        raise ModelError(
            f"the teacher ({teacher.source}) returns a value that is not finite.",
            "Check its weights, and whether it takes raw or standardized inputs.",
        )
    teacher.differentiable = bool(y.requires_grad)
