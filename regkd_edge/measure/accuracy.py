"""Accuracy of predictions: RMSE, MAE, R2 and the largest error, per target and overall.

With one target the overall figures are that target's, in its own unit. With several, their units cannot be added up:
each target's errors are divided by the standard deviation of its true values on the rows measured, then averaged over
the targets (RMSE: the root of the mean of squares; R2: the mean). The record's ``unit`` states which.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DataError

__all__ = ["accuracy", "compare"]


def accuracy(
    y_true: Any,  # [n, o]
    y_pred: Any,  # [n, o]
    target_names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Compute the accuracy of predictions against true values (labels, or the teacher's answers).

    Returns
    -------
    dict
        ``n``, ``rmse``, ``mae``, ``r2`` (None if the true values do not vary), ``max_error``, ``unit`` (the target's
        name, or ``"standard deviations"``), and ``targets``: the same figures of each target in its own unit.
    """
    truth, prediction, names = _checked(y_true, y_pred, target_names)
    error = prediction - truth
    spread = truth.std(axis=0)
    targets = []
    for j, name in enumerate(names):
        e = error[:, j]
        mse = float(np.mean(e**2))
        targets.append(
            {
                "name": name,
                "rmse": mse**0.5,
                "mae": float(np.mean(np.abs(e))),
                "r2": None if spread[j] == 0 else 1.0 - mse / float(spread[j]) ** 2,
                "max_error": float(np.abs(e).max()),
            }
        )
    if len(names) == 1:
        return {
            "n": len(truth),
            **{k: v for k, v in targets[0].items() if k != "name"},
            "unit": names[0],
            "targets": targets,
        }
    unit = _units(truth)
    scores = [t["r2"] for t in targets]
    return {
        "n": len(truth),
        "rmse": float(np.sqrt(np.mean((error / unit) ** 2))),
        "mae": float(np.mean(np.abs(error / unit))),
        "r2": None if None in scores else float(np.mean(scores)),
        "max_error": float(np.abs(error / unit).max()),
        "unit": "standard deviations",
        "targets": targets,
    }


def compare(
    y_true: Any,  # [n, o]
    y_pred: Any,  # [n, o]
    y_reference: Any,  # [n, o]
    *,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Compute the relative RMSE difference of ``y_pred`` from ``y_reference``, with a bootstrap interval.

    The bootstrap is paired: rows are drawn with replacement and both RMSEs are taken on the same draw, so
    the difficulty of a row cancels.

    Returns
    -------
    dict
        ``rmse``, ``rmse_reference``, ``relative`` (0.012: 1.2 % worse; None when the reference is exact), ``low`` and
        ``high`` of the interval, ``level``, ``resamples``.
    """
    truth, prediction, names = _checked(y_true, y_pred, None)
    _, reference, _ = _checked(y_true, y_reference, None)
    unit = _units(truth) if len(names) > 1 else np.ones(1)
    ours, theirs = (np.mean(((p - truth) / unit) ** 2, axis=1) for p in (prediction, reference))  # [n]
    rmse, rmse_reference = float(np.sqrt(ours.mean())), float(np.sqrt(theirs.mean()))
    record = {
        "rmse": rmse,
        "rmse_reference": rmse_reference,
        "relative": None,
        "low": None,
        "high": None,
        "level": level,
        "resamples": resamples,
    }
    if rmse_reference == 0:
        return record
    rng = np.random.default_rng(seed)
    ratios = np.empty(resamples)
    n = len(truth)
    for start in range(0, resamples, 100):  # in blocks: 100 n numbers at once, not 2000 n
        draw = rng.integers(0, n, size=(min(100, resamples - start), n))
        below = theirs[draw].mean(axis=1)
        ratios[start : start + len(draw)] = np.sqrt(ours[draw].mean(axis=1) / np.where(below > 0, below, np.nan)) - 1
    low, high = np.nanquantile(ratios, [(1 - level) / 2, (1 + level) / 2])
    return {**record, "relative": rmse / rmse_reference - 1, "low": float(low), "high": float(high)}


def _units(truth: np.ndarray) -> np.ndarray:  # [o]
    spread = truth.std(axis=0)
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
