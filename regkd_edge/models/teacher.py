"""Imported teachers: from a run folder, or from a Python factory with a state dict."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..config import TeacherConfig
from ..data import Dataset, Scalers, save_predictions
from ..errors import ModelError, RunFolderError
from ..io.command import command_line
from ..run import RunFolder
from .arrays import ArrayFunction
from .convert import InStandardizedSpace, as_mlp, folded
from .mlp import MLP
from .predict import predict
from .store import count_parameters, fill, load_model, read_card, read_tensors, save_model, write_model

__all__ = ["Teacher", "load_teacher", "open_teacher", "save_teacher"]


class Teacher:
    """A frozen network and the space of its inputs and outputs.

    Parameters
    ----------
    module : nn.Module
        The given network; it is frozen and put into evaluation mode.
    scalers : Scalers or None
        The scalers it was trained with, if known: the student then uses them too. None for a factory's network.
    inputs : ``"standardized"`` or ``"raw"``
        Units of the module's inputs and outputs.
    source : str
        Where it came from, for messages and reports.
    """

    def __init__(
        self,
        module: nn.Module,
        scalers: Scalers | None,
        inputs: str,
        source: str,
        *,
        factory: str | None = None,
        extra: dict | None = None,
    ):
        self.module = module.eval().requires_grad_(False)
        self.scalers = scalers
        self.inputs = inputs
        self.source = source
        self.factory = factory
        self.extra = dict(extra or {})
        self.differentiable = True

    @property
    def parameters_count(self) -> int:
        return count_parameters(self.module)

    @property
    def mlp(self) -> MLP | None:
        """The network as an :class:`MLP` if it is one (an ``nn.Sequential`` of linear layers and one activation is),
        else None.
        """
        return self.module if type(self.module) is MLP else as_mlp(self.module)

    def standardized(self, scalers: Scalers) -> nn.Module:
        """Return the teacher between the standardised spaces of ``scalers``: an :class:`MLP` if that is exact, so that
        the fused core supports it, else a wrapper for autograd. Frozen; ``differentiable`` says whether gradients pass."""
        mlp = self.mlp
        if self.inputs == "raw":
            out = (
                folded(mlp, scalers)
                if mlp is not None
                else InStandardizedSpace(self.module, scalers, None, self.differentiable)
            )
        elif self.scalers is None or _same(self.scalers, scalers):
            out = mlp if mlp is not None else InStandardizedSpace(self.module, None, None, self.differentiable)
        else:
            out = InStandardizedSpace(self.module, scalers, self.scalers, self.differentiable)
        return out.eval().requires_grad_(False)

    def answers(self, x: np.ndarray) -> np.ndarray:  # [n, d] -> [n, o]
        """Return its outputs in its own units: raw if its scalers are known or it was trained on raw units."""
        if self.scalers is not None:
            return predict(self.standardized(self.scalers), self.scalers, x)
        with torch.no_grad():
            parts = [self.module(part) for part in torch.from_numpy(x).float().split(4096)]
        y = torch.cat(parts).double().numpy()
        return y[:, None] if y.ndim == 1 else y


def _same(a: Scalers, b: Scalers) -> bool:
    return a is b or all(
        (getattr(p, k) == getattr(q, k)).all() for p, q in ((a.x, b.x), (a.y, b.y)) if p.width == q.width for k in ("mean", "scale")
    ) and (a.x.width, a.y.width) == (b.x.width, b.y.width)  # fmt: skip


def load_teacher(config: TeacherConfig, dataset: Dataset, folder: str | Path | None = None) -> Teacher:
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
                    f"the teacher in '{folder}' needs the factory '{card.get('factory')}', the configuration names '{config.factory}'.",
                    "Name it with --factory, or import this teacher again with --force.",
                )
            teacher = _from_factory(config, read_tensors(Path(folder) / "model.safetensors"), f"'{folder}'")
        else:
            teacher = _from_folder(folder)
    else:
        teacher = open_teacher(config)
    _check(teacher, dataset)
    return teacher


def open_teacher(config: TeacherConfig) -> Teacher:
    """Return the teacher that ``from_run`` or ``factory`` names, without a table to check it against; errors as in
    :func:`load_teacher`.
    """
    if config.from_run is not None:
        run = RunFolder.open(config.from_run)
        if not run.file("teacher", "model.json").is_file():
            raise RunFolderError(
                f"the run folder '{config.from_run}' has no teacher.",
                f"Run: {command_line('train-teacher', Path(config.from_run))}",
            )
        if read_card(run.file("teacher")).get("kind") == "factory":
            raise ModelError(
                f"the teacher of '{config.from_run}' comes from a factory.",
                "Name that factory with --factory here too.",
            )
        teacher = _from_folder(run.file("teacher"))
    elif config.factory is not None:
        tensors = read_tensors(config.weights) if config.weights is not None else None
        teacher = _from_factory(config, tensors, f"'{config.weights}'")
    else:
        raise ModelError("no teacher named.", "Train one with train-teacher, or give --from-run or --factory.")
    return teacher


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
        summary |= {"factory": teacher.factory, "inputs": teacher.inputs}
        card = {
            "kind": "factory",
            "factory": teacher.factory,
            "inputs": teacher.inputs,
            "spec": teacher.factory,
            "parameters": teacher.parameters_count,
        }
        paths = write_model(folder, teacher.module.state_dict(), {**card, "extra": extra})
    scalers = teacher.scalers or dataset.scalers()
    answers = predict(teacher.standardized(scalers), scalers, dataset.x)
    return [*paths, save_predictions(Path(folder) / "predictions.npz", answers)], summary


def _from_folder(folder: str | Path) -> Teacher:
    saved = load_model(folder)
    return Teacher(
        saved.module, saved.scalers, "standardized", str(saved.extra.get("source") or folder), extra=saved.extra
    )


def _from_factory(config: TeacherConfig, tensors: dict | None, where: str) -> Teacher:
    name = config.factory
    package, _, attribute = name.partition(":")
    form = "Write it as package.module:factory, importable from the current folder."
    if not package or not attribute.isidentifier():
        raise ModelError(f"'{name}' does not name a factory.", form)
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        factory = getattr(importlib.import_module(package), attribute)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"the factory's module '{package}' cannot be imported: no module named '{error.name}'.", form
        ) from error
    except AttributeError as error:
        raise ModelError(f"the factory '{name}' was not found: {error}.", form) from error
    except Exception as error:  # the user's own code may raise anything
        raise ModelError(
            f"importing '{package}' failed: {type(error).__name__}: {error}.", "Fix that module."
        ) from error
    try:
        module = factory()
    except Exception as error:  # the user's own code
        raise ModelError(
            f"calling '{name}' failed: {type(error).__name__}: {error}.",
            "A factory takes no arguments and returns a torch module.",
        ) from error
    if not isinstance(module, nn.Module):
        if not callable(module) and not hasattr(module, "predict"):
            raise ModelError(
                f"'{name}' returned {type(module).__name__}, expected a torch.nn.Module.",
                "Return the module itself, or a regressor with predict(x), or a function on arrays.",
            )
        module = ArrayFunction(module)
    if tensors is not None:
        fill(module, tensors, where)
    return Teacher(module, None, config.inputs, f"factory {name}", factory=name)


def _check(teacher: Teacher, dataset: Dataset) -> None:
    """Check widths by the teacher's metadata if it has any, else by evaluating two rows."""
    names = dataset.table.feature_names, dataset.table.target_names
    if teacher.scalers is not None:
        widths = teacher.scalers.x.width, teacher.scalers.y.width
    else:
        mlp = teacher.mlp
        widths = (mlp.widths[0], mlp.widths[-1]) if mlp is not None else (None, None)
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
