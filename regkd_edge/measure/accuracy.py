"""Accuracy of predictions: RMSE, MAE, R2 and the largest error of each target, in its own unit; pooled ones second.

Figures of several targets cannot be added up: 171 cycles and 43 mAh have no sum. The pooled figures therefore divide
each target's errors by the standard deviation of its true values on the rows measured (RMSE: the root of the mean of
squares), and leave out a target whose true values do not vary. With one target they are that target's, in its own
unit. The record's ``unit`` states which. A mean of R2 is not given: a good target would hide a useless one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data.scores import spread_of
from ..errors import DataError
from ..io.words import name_and_unit
from .bootstrap import RESAMPLES, interval, resampled_means

__all__ = ["POOLED", "accuracy", "compare", "unit_of"]

POOLED = "standard deviations"  # the unit of pooled figures of several targets


def unit_of(name: str) -> str | None:
    """Return the unit that a column name states in brackets at its end: ``"capacity [mAh]"`` gives ``"mAh"``."""
    return name_and_unit(name)[1]


def accuracy(
    y_true: Any,  # [n, o]
    y_pred: Any,  # [n, o]
    target_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compute the accuracy of predictions against true values (labels, or the teacher's answers).

    Returns
    -------
    dict
        ``n``; ``targets``: per target ``name``, ``unit`` (see :func:`unit_of`), ``rmse``, ``mae``, ``r2`` (None if the
        true values do not vary) and ``max_error`` in the target's own unit; then the pooled ``rmse``, ``mae`` and
        ``max_error`` with their ``unit`` (the target's name, or :data:`POOLED`), and ``r2`` (None with several
        targets).
    """
    truth, prediction, names = _checked(y_true, y_pred, target_names)
    error = prediction - truth
    spread = spread_of(truth)
    targets = []
    for j, name in enumerate(names):
        e = error[:, j]
        mse = float(np.mean(e**2))
        targets.append(
            {
                "name": name,
                "unit": unit_of(name),
                "rmse": mse**0.5,
                "mae": float(np.mean(np.abs(e))),
                "r2": None if spread[j] == 0 else 1.0 - mse / float(spread[j]) ** 2,
                "max_error": float(np.abs(e).max()),
            }
        )
    if len(names) == 1:
        pooled = {key: targets[0][key] for key in ("rmse", "mae", "r2", "max_error")}
        return {"n": len(truth), "targets": targets, **pooled, "unit": names[0]}
    scaled = error[:, _pooled(truth)] / _units(truth)
    return {
        "n": len(truth),
        "targets": targets,
        "rmse": float(np.sqrt(np.mean(scaled**2))),
        "mae": float(np.mean(np.abs(scaled))),
        "r2": None,
        "max_error": float(np.abs(scaled).max()),
        "unit": POOLED,
    }


def compare(
    y_true: Any,  # [n, o]
    y_pred: Any,  # [n, o]
    y_reference: Any,  # [n, o]
    *,
    target_names: Sequence[str] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute the relative RMSE difference of ``y_pred`` from ``y_reference``, with a paired bootstrap interval.

    Returns
    -------
    dict
        ``targets``: per target ``name``, ``rmse``, ``rmse_reference``, ``relative`` (0.012: 1.2 % worse; None when the
        reference is exact), ``low`` and ``high`` of the interval; then the same pooled (see :func:`accuracy`), with
        ``level`` and ``resamples``.
    """
    truth, prediction, names = _checked(y_true, y_pred, target_names)
    _, reference, _ = _checked(y_true, y_reference, None)
    squares = [pooled_squares((p - truth) ** 2, truth) for p in (prediction, reference)]  # two of [n, o + 1]
    drawn = resampled_means(np.concatenate(squares, axis=1), resamples, seed)  # [resamples, 2 (o + 1)]
    *targets, pooled = (
        relative_difference(ours, theirs, drawn[:, j], drawn[:, len(names) + 1 + j], level)
        for j, (ours, theirs) in enumerate(zip(squares[0].mean(axis=0), squares[1].mean(axis=0)))
    )
    return {
        "targets": [{"name": name, **found} for name, found in zip(names, targets)],
        **pooled,
        "level": level,
        "resamples": len(drawn),
    }


def pooled_squares(
    squares: np.ndarray,  # [n, o] squared errors, in squared units
    truth: np.ndarray,  # [n, o]
) -> np.ndarray:  # [n, o + 1]
    """Return the squared errors with a last column that pools them; with one target it is that target's."""
    units = _units(truth) if truth.shape[1] > 1 else np.ones(1)
    pooled = squares[:, _pooled(truth)] / units**2
    return np.concatenate([squares, pooled.mean(axis=1, keepdims=True)], axis=1)


def relative_difference(
    ours: float, theirs: float, drawn_ours: np.ndarray, drawn_theirs: np.ndarray, level: float = 0.95
) -> dict[str, Any]:
    """Return ``rmse``, ``rmse_reference``, ``relative``, ``low`` and ``high`` from two mean squares and their draws."""
    found = {"rmse": float(np.sqrt(ours)), "rmse_reference": float(np.sqrt(theirs))}
    if theirs == 0:
        return {**found, "relative": None, "low": None, "high": None}
    ratios = np.sqrt(drawn_ours / np.where(drawn_theirs > 0, drawn_theirs, np.nan)) - 1
    low, high = interval(ratios, level)
    return {**found, "relative": found["rmse"] / found["rmse_reference"] - 1, "low": low, "high": high}


def _pooled(truth: np.ndarray) -> np.ndarray:  # [o] bool
    """Return which targets are pooled: those that vary, for the error of another has no standard deviations."""
    varies = spread_of(truth) > 0
    return varies | ~varies.any()


def _units(truth: np.ndarray) -> np.ndarray:  # [targets that are pooled]
    spread = spread_of(truth)[_pooled(truth)]
    return np.where(spread > 0, spread, 1.0)


def _checked(y_true: Any, y_pred: Any, names: Sequence[str] | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    truth, prediction = (np.asarray(a, dtype=np.float64) for a in (y_true, y_pred))
    truth, prediction = (a[:, None] if a.ndim == 1 else a for a in (truth, prediction))
    if truth.shape != prediction.shape or truth.ndim != 2 or len(truth) == 0:
        raise DataError(
            f"true values have shape {list(truth.shape)}, predictions {list(prediction.shape)}; expected the same "
            f"[n, o] with n >= 1.",
            "Compare predictions of the same rows.",
        )
    for what, values in (("true values", truth), ("predictions", prediction)):
        if not np.isfinite(values).all():
            row = int(np.nonzero(~np.isfinite(values).all(axis=1))[0][0])
            raise DataError(
                f"the {what} hold {values[row][~np.isfinite(values[row])][0]} in row {row}.",
                "Accuracy needs finite numbers.",
            )
    chosen = [f"target {j}" for j in range(truth.shape[1])] if names is None else list(names)
    if len(chosen) != truth.shape[1]:
        raise DataError(
            f"there are {len(chosen)} target names for {truth.shape[1]} targets.", "Give one name per target."
        )
    return truth, prediction, chosen
