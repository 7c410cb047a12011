"""Open the teacher that a configuration names, and take it in for its data."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ...config import TeacherConfig
from ...config.sources import factory_of
from ...data import Dataset
from ...errors import ModelError
from ...run.consented import require_code, trusts
from ..scaling import find_scalers
from ..state_dict import FoundWeights
from ..store import read_card, read_tensors
from ..teacher import Teacher
from ..weights import read_weights
from .checks import check_teacher, read_as_given
from .factory import from_factory
from .file import from_file
from .fit import compare_with_labels, settle_scalers
from .named_scaler import scalers_named
from .run import from_folder, from_run, kept_copy

__all__ = ["open_teacher", "teacher_for"]


def teacher_for(config: TeacherConfig, dataset: Dataset, folder: str | Path | None = None) -> Teacher:
    """Return the teacher that a configuration names, checked against the data.

    Parameters
    ----------
    config : TeacherConfig
        ``teacher_from``, ``from_run`` or ``factory`` (with ``weights``, ``inputs``, ``teacher_scaler``, ``output`` and
        ``trust``) say where it comes from.
    dataset : Dataset
        The data it will teach on; their widths and column order are checked.
    folder : path, optional
        The folder of :func:`save_teacher`. If given, it is read, and the sources in ``config`` are ignored: a run
        keeps its own copy. A factory is still imported, and only when ``config`` names it.

    Raises
    ------
    ModelError
        Widths that do not fit (both numbers are named), other columns, a factory that cannot be imported or called,
        a state dict with other keys or shapes, answers that depend on the batch.
    RunFolderError
        The run folder or the saved teacher is missing or corrupt.
    """
    if folder is None:
        teacher = open_teacher(config)
        read_as_given(teacher, dataset)
        settle_scalers(teacher, dataset, config.teacher_scaler)
    else:
        teacher = _kept(config, Path(folder))
    check_teacher(teacher, dataset)
    if folder is None:
        compare_with_labels(teacher, dataset, asked=config.teacher_scaler == "table")
    return teacher


def _kept(config: TeacherConfig, folder: Path) -> Teacher:
    card = read_card(folder)
    if card.get("kind") != "factory":
        return from_folder(folder, trust=trusts(config, kept_copy(folder)))
    if _short(config.factory_name) != _short(card.get("factory")):
        raise ModelError(
            f"the teacher in '{folder}' needs the factory '{card.get('factory')}', and the configuration names "
            f"'{config.factory_name}'.",
            "Name it with --factory, or import this teacher again with --force.",
        )
    require_code(config, "factory")
    tensors = FoundWeights(read_tensors(folder / "model.safetensors"))
    teacher = from_factory(config.factory_name, card.get("units", config.units), tensors, f"'{folder}'", config.output)
    teacher.scalers, teacher.found = stored_scalers(card), []  # decided when it was taken in
    return teacher


def _short(factory: str | None) -> str | None:
    """A factory without the folder of its file, which may be another on another machine."""
    parts = factory_of(factory)
    if parts is None:
        return factory
    return f"{Path(parts[0]).name if parts[0].endswith('.py') else parts[0]}:{parts[1]}"


def stored_scalers(card: dict):
    from ...data import Scalers

    return Scalers.from_dict(card["scalers"]) if card.get("scalers") else None


def open_teacher(config: TeacherConfig) -> Teacher:
    """The teacher that ``teacher_from``, ``from_run`` or ``factory`` names, with no table to check it against; errors
    as :func:`teacher_for`.
    """
    if config.factory_name is not None:
        require_code(config, "factory")
        trust = trusts(config, config.weights)
        weights = read_weights(config.weights, trust=trust) if config.weights is not None else None
        teacher = from_factory(config.factory_name, config.units, weights, f"'{config.weights}'", config.output)
    elif config.path is not None:
        path = Path(config.path)
        if config.from_run or path.is_dir():
            teacher = from_run(path, trust=trusts(config, kept_copy(path / "teacher")))
        else:
            teacher = from_file(path, config.units, output=config.output, trust=trusts(config, path))
    else:
        raise ModelError("no teacher named.", "Train one with train-teacher, or name one with --teacher-from.")
    require_code(config, "teacher_scaler")
    teacher.trust = trusts(config, config.teacher_scaler)
    _scale_without_data(teacher, config.teacher_scaler)
    return teacher


def _scale_without_data(teacher: Teacher, named: str | None) -> None:
    """Give a teacher on standardized values its scaler, where its own layers tell the numbers of columns."""
    if named not in (None, "table"):
        teacher.units = "standardized"
    if teacher.units == "raw" or teacher.scalers is not None or named == "table":
        return
    linear = [m for m in teacher.module.modules() if isinstance(m, nn.Linear)]
    d, o = teacher.widths
    d = d or (linear[0].in_features if linear else None)
    o = o or (linear[-1].out_features if linear else None)
    if d is None or o is None:
        return  # settled with the data
    if named is not None:
        teacher.scalers = scalers_named(named, d, o, trust=teacher.trust)
        return
    found = find_scalers(teacher.found, d, o)
    if found is not None:
        teacher.scalers, where = found
        teacher.notes.append(f"the teacher is asked in the units of the scaler found in {where}")
