"""In which units a teacher lives: the scaler it was trained with, and whether its answers fit the labels."""

from __future__ import annotations

import numpy as np

from ...data import Dataset, Scaler, Scalers
from ...data.scores import r2_score
from ...errors import ModelError
from ..scaling import find_scalers
from ..teacher import Teacher
from .named_scaler import scalers_named

__all__ = ["compare_with_labels", "settle_scalers"]

_ROWS = 2000  # on which the fit is judged
_GOOD = 0.9  # R2 below which a teacher whose scaler is a guess is warned about
_POOR = 0.5  # R2 below which the other units are tried
_NONSENSE = -1.0  # R2 below which such a teacher is refused: twice the error of a constant answer


def settle_scalers(teacher: Teacher, dataset: Dataset, named: str | None = None) -> None:
    """Give a teacher on standardized values the scaler it was trained with.

    It is, in this order: the one that ``named`` names (``table``: none), the one that the teacher brings, one that is
    found beside its network (returned by its factory, in its weights, its buffers, its Python file).
    """
    if named is not None and named != "table":
        if teacher.scalers is None:
            teacher.scalers = scalers_named(named, dataset.d, dataset.o, trust=teacher.trust)
        teacher.units = "standardized"
        teacher.notes.append(f"the teacher is asked in the units of its own scaler ({named})")
    elif teacher.units == "standardized" and teacher.scalers is None and named is None:
        found = find_scalers(teacher.found, dataset.d, dataset.o)
        if found is not None:
            teacher.scalers, where = found
            teacher.notes.append(f"the teacher is asked in the units of the scaler found in {where}")
    teacher.found = []
    if teacher.scalers is not None and _is_plain(teacher.scalers.y):
        _settle_targets(teacher, dataset)


def _is_plain(scaler: Scaler) -> bool:
    return bool((scaler.mean == 0).all() and (scaler.scale == 1).all())


def _settle_targets(teacher: Teacher, dataset: Dataset) -> None:
    """A scaler of the inputs alone: the targets are raw, unless only standardized ones fit the labels."""
    x, y = _labelled(dataset)
    try:
        given = teacher._ask(teacher.scalers.x.standardize(x))
    except ModelError:
        return  # the check that follows says why
    own = dataset.scalers().y
    if given.shape != y.shape or not np.isfinite(given).all():
        return
    plain, restored = r2_score(y, given), r2_score(y, own.restore(given))
    if plain < 0 and restored > 0:
        teacher.scalers = Scalers(teacher.scalers.x, own)
        teacher.notes.append(
            "warning: the teacher's scaler holds no statistics of the targets; their mean and scale are taken from "
            f"this table (R2 {restored:.2f}; {plain:.2g} as they are)"
        )
    elif plain < 0:
        _require_targets(y, given)


def _require_targets(y: np.ndarray, given: np.ndarray) -> None:
    """Refuse answers that are the labels but for a mean and a scale: those are missing from the scaler."""
    parts = [np.polyfit(t, label, 1) if np.ptp(t) > 0 else (0.0, 0.0) for t, label in zip(given.T, y.T)]
    scale, mean = (np.array(part) for part in zip(*parts))
    if r2_score(y, given * scale + mean) > _GOOD and (scale > 0).all():
        shown = [", ".join(f"{v:.4g}" for v in values) for values in (mean, scale)]
        raise ModelError(
            "the teacher's scaler holds no statistics of the targets, and its answers are standardized.",
            f"Add y_mean and y_scale to the scaler; the labels suggest {shown[0]} and {shown[1]}.",
        )


def _labelled(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    some = dataset.split.train[:_ROWS]
    return (dataset.x[some], dataset.y[some]) if len(some) else (dataset.x[:_ROWS], dataset.y[:_ROWS])


def compare_with_labels(teacher: Teacher, dataset: Dataset, *, asked: bool = False) -> None:
    """Add a warning to the teacher's notes where its answers do not fit the labels of the training rows.

    ``asked``: the statistics of the table were requested.

    Raises
    ------
    ModelError
        A teacher on standardized values whose scaler nobody gave, with answers that are nonsense.
    """
    x, y = _labelled(dataset)
    guessed = teacher.units == "standardized" and teacher.scalers is None
    fit = _fit(teacher, teacher.units, teacher.scalers or dataset.scalers(), x, y)
    other = "raw" if teacher.units == "standardized" else "standardized"
    elsewhere = _fit(teacher, other, dataset.scalers(), x, y) if fit < _POOR else -np.inf
    if elsewhere > max(fit + 0.3, 0):
        if asked:
            return
        teacher.notes.append(
            f"warning: the teacher's answers fit the labels with R2 {fit:.2g}, and with R2 {elsewhere:.2g} when it is "
            f"asked in {other} units: check --units {other}"
        )
    elif guessed and not asked and fit < _NONSENSE:
        raise ModelError(
            f"the teacher ({teacher.source}) is said to take standardized values, and standardized by the statistics "
            f"of this table its answers are worse than a constant (R2 {fit:.3g} on the training rows).",
            "Give the scaler it was trained with: --teacher-scaler FILE (or table, if this is what you want).",
        )
    elif guessed and not asked and fit < _GOOD:
        teacher.notes.append(
            "WARNING: nothing says how the teacher's inputs and outputs are standardized. The statistics of this "
            f"table are used, and its answers fit the labels with R2 {fit:.2g}. If it was trained on other rows, give "
            "the scaler of those: --teacher-scaler FILE"
        )
    elif guessed and not asked:
        teacher.notes.append(
            f"the teacher's rows are standardized by the statistics of this table (R2 {fit:.3g} against the labels); "
            "--teacher-scaler FILE gives it its own"
        )
    elif fit < 0:
        teacher.notes.append(
            "warning: the teacher's answers fit the labels of the training rows worse than a constant does (R2 "
            f"{fit:.2g}): check the order of the columns, the units and --units"
        )


def _fit(teacher: Teacher, units: str, scalers: Scalers, x: np.ndarray, y: np.ndarray) -> float:
    """R2 of the answers in these units; minus infinity where there are none."""
    try:
        own = x if units == "raw" else scalers.x.standardize(x)
        given = teacher._ask(own)
    except ModelError:
        return -np.inf
    given = given if units == "raw" else scalers.y.restore(given)
    if given.shape != y.shape or not np.isfinite(given).all():
        return -np.inf
    return r2_score(y, given)
