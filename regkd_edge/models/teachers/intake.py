"""Open a teacher, and check that it fits the data: widths, columns, outputs, finite values, answers per row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from ...config import TeacherConfig
from ...config.sources import factory_of
from ...data import Columns, Dataset
from ...data.stored import is_stored
from ...errors import ModelError
from ...run.consented import require_code, trusts
from ..asking import reason_of
from ..scaling import find_scalers, read_scalers, scalers_in
from ..state_dict import FoundWeights
from ..store import read_card, read_tensors
from ..teacher import Teacher
from ..weights import read_weights
from .factory import from_factory, imported
from .file import from_file
from .fit import compare_with_labels, settle_scalers
from .run import from_folder, from_run, kept_copy

__all__ = ["check_teacher", "open_teacher", "require_finite", "teacher_for"]

_TOGETHER, _ALONE = 64, 8  # rows that are asked in one batch, and one by one
# A float32 network rounds otherwise in other batches: about 1e-6 of its answers. What depends on the batch changes them
# by a share of their spread.
_SAME, _ROUNDING = 1e-3, 1e-5
_APART = (
    2e-2  # share of the spread from which a teacher that depends on the batch is refused; below, it is warned about
)


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
        _read_as_given(teacher, dataset)
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


def check_teacher(teacher: Teacher, dataset: Dataset) -> None:
    """Refuse a teacher that does not fit the data: widths by the teacher's own word where it has one, columns, numbers
    that are not finite, answers that depend on the rows beside them. It knows the kinds of the columns then.
    """
    _require_columns(teacher, dataset)
    _read_as_given(teacher, dataset)
    if teacher.found:  # not yet settled, as by the library's load_teacher
        settle_scalers(teacher, dataset)
    teacher.columns = dataset.columns if is_stored(dataset.x) else _kinds(dataset).observed(dataset.x)
    teacher.outputs.width = teacher.outputs.width or dataset.o
    rows = dataset.x[dataset.split.train[:_TOGETHER]]
    if not len(rows):
        rows = dataset.x[:_TOGETHER]
    own = _own_units(teacher, dataset, rows)
    answers = _answers(teacher, own, dataset)
    _require_single_rows(teacher, own, answers)
    teacher.checked_on(dataset.d, dataset.o)
    _require_gradient(teacher, dataset, rows, answers)
    if teacher.outputs.note and teacher.outputs.note not in teacher.notes:
        teacher.notes.append(teacher.outputs.note)


def _read_as_given(teacher: Teacher, dataset: Dataset) -> None:
    """Let rows that are images or signals reach the module in their shape, where it takes them so."""
    if dataset.input_shape is not None and teacher.shape is None:
        scaler = teacher.scalers.x if teacher.scalers is not None else dataset.scalers().x
        rows = dataset.x[:_TOGETHER]
        teacher.read_as(dataset.input_shape, rows if teacher.units == "raw" else scaler.standardize(rows))


def _kinds(dataset: Dataset) -> Columns:
    if dataset.table.columns is not None:
        return dataset.table.columns
    kinds = Columns.detect if dataset.input_shape is None else Columns.of_tensors
    return kinds(dataset.x, dataset.table.feature_names)


def _require_columns(teacher: Teacher, dataset: Dataset) -> None:
    names = dataset.table.feature_names, dataset.table.target_names
    for what, width, given, verb in (
        ("inputs", teacher.widths[0], dataset.d, "takes"),
        ("outputs", teacher.widths[1], dataset.o, "gives"),
    ):
        if width is not None and width != given:
            have = f"the data have {given} input columns" if what == "inputs" else f"{given} targets are named"
            raise ModelError(
                f"the teacher ({teacher.source}) {verb} {width} {what}, but {have}.",
                "Give the data it was trained on, with the same targets.",
            )
    for key, own, given in zip(
        ("feature_names", "target_names"),
        (teacher.extra.get("feature_names") or getattr(teacher.values or teacher.module, "input_names", None),
         teacher.extra.get("target_names")),
        names,
    ):  # fmt: skip
        if own and own != given and sorted(own) == sorted(given):
            raise ModelError(
                f"the teacher's {key.split('_')[0]} columns are in a different order: {', '.join(own[:6])}; the data "
                f"have {', '.join(given[:6])}.",
                "Put the columns into the teacher's order.",
            )


def _own_units(teacher: Teacher, dataset: Dataset, rows: np.ndarray) -> np.ndarray:
    return rows if teacher.units == "raw" else (teacher.scalers or dataset.scalers()).x.standardize(rows)


def _answers(teacher: Teacher, own: np.ndarray, dataset: Dataset) -> np.ndarray:
    answers = teacher._ask(own)
    if answers.shape[1] != dataset.o:
        raise ModelError(
            f"the teacher ({teacher.source}) has {answers.shape[1]} outputs, but {dataset.o} targets are named.",
            "Name one target per output.",
        )
    return require_finite(teacher, answers, "training row")


def require_finite(teacher: Teacher, answers: np.ndarray, row: str = "row") -> np.ndarray:  # [n, o]
    """Return a teacher's answers; :class:`ModelError` says how many are not finite and which is the first."""
    wrong = ~np.isfinite(answers).all(1)
    if wrong.any():
        raise ModelError(
            f"the teacher ({teacher.source}) answers with a number that is not finite "
            f"({int(wrong.sum())} of {len(answers)} rows, the first is {row} {int(np.argmax(wrong)) + 1}).",
            "Check its weights, and whether it takes raw or standardized inputs.",
        )
    return answers


def _require_single_rows(teacher: Teacher, own: np.ndarray, answers: np.ndarray) -> None:
    """The same row has the same answer alone, in a batch, and in the next call."""
    kind = teacher.dtype_for(own)
    eps = torch.finfo(kind).eps if kind.is_floating_point else 0.0
    rounding = max(_ROUNDING, 64 * eps) * np.abs(answers).max(0)
    spread = np.ptp(answers, axis=0)
    again = np.abs(teacher._ask(own) - answers)
    if (again > _SAME * spread + rounding).any():
        raise ModelError(
            f"the teacher ({teacher.source}) gives two answers to the same rows in two "
            f"calls ({again.max():.3g} apart).",
            "Switch off what is random in it, such as a dropout that is always on, and what it keeps between calls.",
        )
    remedy = (
        "Let the answer to a row depend on that row alone: on stored statistics (BatchNorm with running statistics) "
        "instead of those of the batch, and not on the order of the rows."
    )
    warned = False
    for k in range(min(_ALONE, len(own))):
        try:
            alone = teacher._ask(own[k : k + 1])[0]
        except ModelError as error:
            raise ModelError(
                f"the teacher ({teacher.source}) answers {len(own)} rows and fails on one row alone: {error.cause}",
                remedy,
            ) from error
        off = np.abs(alone - answers[k])
        if (off > _APART * spread + rounding).any():
            raise ModelError(
                f"the teacher ({teacher.source}) answers a row with {alone[0]:.6g} alone and with {answers[k][0]:.6g} "
                f"among {len(own)} rows: its answers depend on the batch.",
                remedy,
            )
        warned = warned or bool((off > _SAME * spread + rounding).any())
    if warned:
        teacher.notes.append(
            "warning: the teacher's answers depend slightly on the batch (by up to "
            f"{_APART:.0%} of their spread), as those of dynamically quantized networks do"
        )


def _require_gradient(teacher: Teacher, dataset: Dataset, rows: np.ndarray, answers: np.ndarray) -> None:
    """Tell whether gradients pass, and hold the form in which training asks against the answers to the raw rows."""
    scalers = teacher.scalers or dataset.scalers()
    for _ in range(3):
        x = torch.from_numpy(scalers.x.standardize(rows)).float().requires_grad_(True)
        network = teacher.standardized(scalers)
        try:
            with torch.enable_grad():
                y = network(x)
            passes = y.requires_grad and torch.autograd.grad(y.sum(), x, allow_unused=True)[0] is not None
            teacher.differentiable = bool(passes) and teacher.differentiable
        except ModelError:
            raise
        except Exception as error:  # a gradient that is not implemented, NumPy inside a module
            if teacher.differentiable and teacher.mlp is None:
                teacher.differentiable = False
                continue
            raise ModelError(
                f"the teacher ({teacher.source}) fails on rows that training makes: {reason_of(error)}.",
                "Give the data it was trained on.",
            ) from error
        if teacher.mlp is None:
            return
        given = answers if teacher.units == "raw" else (teacher.scalers or scalers).y.restore(answers)
        off = np.abs(scalers.y.restore(y.detach().double().numpy()) - given)
        rounding = _ROUNDING * (scalers.y.scale + 10 * np.abs(given).max(0))
        if (off <= _SAME * np.ptp(given, axis=0) + rounding).all():
            return
        teacher.notes.append(
            "the teacher's network looks like an MLP and answers these rows otherwise: PyTorch runs it as it is"
        )
        teacher.not_an_mlp()


def scalers_named(text: str, d: int, o: int, *, trust: bool = False):
    """The scalers that ``--teacher-scaler`` names: a file, ``file.py``, ``file.py:NAME`` or ``package.module:NAME``."""
    parts = factory_of(text)
    if parts is None and not text.endswith(".py"):
        return read_scalers(text, d, o, trust=trust)
    place, name = parts or (text, None)
    content = vars(imported(place))
    if name is not None:
        if name not in content:
            raise ModelError(f"'{place}' has no '{name}'.", "Name a scaler, or a function that returns it.")
        content = content[name]
        content = content() if callable(content) and not hasattr(content, "mean_") else content
    found = find_scalers([(text, content)], d, o) if isinstance(content, dict) else None
    scalers = found[0] if found else scalers_in(content, d, o) or scalers_in((content,), d, o)
    if scalers is None:
        raise ModelError(
            f"'{text}' holds no scaler of {d} inputs.",
            "Name a StandardScaler, a pair of them, or keep X_MEAN, X_SCALE, Y_MEAN and Y_SCALE there.",
        )
    return scalers
