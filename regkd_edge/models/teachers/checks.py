"""Check that a teacher fits the data: widths, columns, outputs, finite values, answers per row, gradients."""

from __future__ import annotations

import numpy as np
import torch

from ...data import Columns, Dataset
from ...data.stored import is_stored
from ...data.typed import named_option
from ...errors import ModelError
from ...io.words import counted
from ..asking import reason_of
from ..teacher import Teacher
from .fit import settle_scalers

__all__ = ["check_teacher", "read_as_given", "require_finite"]

_TOGETHER, _ALONE = 64, 8  # rows that are asked in one batch, and one by one
# A float32 network rounds otherwise in other batches: about 1e-6 of its answers. What depends on the batch changes them
# by a share of their spread.
_SAME, _ROUNDING = 1e-3, 1e-5
# From this share of the spread a teacher that depends on the batch is refused; below, it is warned about.
_APART = 2e-2


def check_teacher(teacher: Teacher, dataset: Dataset) -> None:
    """Refuse a teacher that does not fit the data: widths by the teacher's own word where it has one, columns, numbers
    that are not finite, answers that depend on the rows beside them. It knows the kinds of the columns then.
    """
    _require_columns(teacher, dataset)
    read_as_given(teacher, dataset)
    if teacher.found:  # not yet settled, as by the library's load_teacher
        settle_scalers(teacher, dataset)
    teacher.columns = dataset.columns if is_stored(dataset.x) else _kinds(dataset).observed(dataset.x)
    teacher.outputs.width = teacher.outputs.width or dataset.o
    teacher.outputs.targets = teacher.outputs.targets or list(dataset.table.target_names)
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


def read_as_given(teacher: Teacher, dataset: Dataset) -> None:
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
            f"the teacher ({teacher.source}) has {counted(answers.shape[1], 'output')}, but "
            f"{counted(dataset.o, 'target')} {'is' if dataset.o == 1 else 'are'} named.",
            "Name one target per output; of several tensors --output joins some (--output A,B).",
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
        except ModelError as error:
            raise _beside_rows(teacher, error) from error
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


def _beside_rows(teacher: Teacher, error: ModelError) -> ModelError:
    """Name the columns of few levels, as codes, where a teacher answers the rows of the table alone."""
    columns = teacher.columns
    levels = [
        name
        for name, kind, values in zip(columns.names, columns.kinds, columns.values)
        if kind == "continuous" and values is not None
    ]
    if not levels:
        return error
    return ModelError(
        f"the teacher ({teacher.source}) answers the rows of the table and fails on points beside them, which training "
        f"makes: {error.cause}",
        f"Columns of few levels may be codes to it. Then add: {named_option('categorical', levels)}",
    )
