"""In which units a teacher lives: the scaler it was trained with, and whether its answers fit the labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...data import Dataset, Scaler, Scalers
from ...data.scores import r2_scores
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
    names = dataset.table.target_names
    plain, restored = _worst(y, given, names), _worst(y, own.restore(given), names)
    if plain.r2 < 0 and restored.r2 > 0:
        teacher.scalers = Scalers(teacher.scalers.x, own)
        teacher.notes.append(
            "warning: the teacher's scaler holds no statistics of the targets; their mean and scale are taken from "
            f"this table ({restored}; {plain.r2:.2g} as they are)"
        )
    elif plain.r2 < 0:
        _require_targets(y, given)


def _require_targets(y: np.ndarray, given: np.ndarray) -> None:
    """Refuse answers that are the labels but for a mean and a scale: those are missing from the scaler."""
    parts = [np.polyfit(t, label, 1) if np.ptp(t) > 0 else (0.0, 0.0) for t, label in zip(given.T, y.T)]
    scale, mean = (np.array(part) for part in zip(*parts))
    if _worst(y, given * scale + mean).r2 > _GOOD and (scale > 0).all():
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
    names, table = dataset.table.target_names, dataset.scalers()
    own = teacher.scalers is not None
    guessed = teacher.units == "standardized" and not own
    fit = _fit(teacher, teacher.units, teacher.scalers or table, x, y, names)
    other = "raw" if teacher.units == "standardized" else "standardized"
    elsewhere = _fit(teacher, other, table, x, y, names) if fit.r2 < _POOR else _NONE
    by_table = _fit(teacher, "standardized", table, x, y, names) if own and fit.r2 < _GOOD else _NONE
    if elsewhere.r2 > max(fit.r2 + 0.3, 0):
        if asked:
            return
        teacher.notes.append(
            f"warning: the teacher's answers fit the labels with {fit}, and with {elsewhere} when it is "
            f"asked in {other} units: check --units {other}"
        )
    elif by_table.r2 > max(fit.r2 + 0.3, 0):
        teacher.notes.append(
            f"warning: with its own scaler the teacher's answers fit the labels with {fit}, and with {by_table} by the "
            "statistics of this table: check that scaler (--teacher-scaler FILE)"
        )
    elif guessed and not asked and fit.r2 < _NONSENSE:
        raise ModelError(
            f"the teacher ({teacher.source}) is said to take standardized values, and standardized by the statistics "
            f"of this table its answers are worse than a constant ({fit} on the training rows).",
            "Give the scaler it was trained with: --teacher-scaler FILE (or table, if this is what you want).",
        )
    elif guessed and not asked and fit.r2 < _GOOD:
        teacher.notes.append(
            "WARNING: nothing says how the teacher's inputs and outputs are standardized. The statistics of this "
            f"table are used, and its answers fit the labels with {fit}. If it was trained on other rows, give "
            "the scaler of those: --teacher-scaler FILE"
        )
    elif guessed and not asked:
        teacher.notes.append(
            f"the teacher's rows are standardized by the statistics of this table ({fit} against the labels); "
            "--teacher-scaler FILE gives it its own"
        )
    elif fit.r2 < 0:
        teacher.notes.append(
            "warning: the teacher's answers fit the labels of the training rows worse than a constant does "
            f"({fit}): check the order of the columns, the units and --units"
        )


class _Fit(NamedTuple):
    """R2 of the target that fits worst, and its name where there are several: a mean would hide a useless one."""

    r2: float
    target: str | None = None

    def __str__(self) -> str:
        return f"R2 {self.r2:.3g}" + (f" for '{self.target}', the worst" if self.target is not None else "")


_NONE = _Fit(-np.inf)


def _worst(y: np.ndarray, given: np.ndarray, names: Sequence[str] | None = None) -> _Fit:
    """The worst of the targets that vary, or of all where none does."""
    scores, varies = r2_scores(y, given), np.ptp(y, axis=0) > 0
    at = int(np.argmin(np.where(varies | ~varies.any(), scores, np.inf)))
    return _Fit(float(scores[at]), names[at] if names is not None and len(names) > 1 else None)


def _fit(teacher: Teacher, units: str, scalers: Scalers, x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> _Fit:
    """How the answers in these units fit; minus infinity where there are none."""
    try:
        own = x if units == "raw" else scalers.x.standardize(x)
        given = teacher._ask(own)
    except ModelError:
        return _NONE
    given = given if units == "raw" else scalers.y.restore(given)
    if given.shape != y.shape or not np.isfinite(given).all():
        return _NONE
    return _worst(y, given, names)
