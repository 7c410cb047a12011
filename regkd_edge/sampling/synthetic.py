"""Calibration inputs without rows, drawn from what is known of each feature."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Scaler
from ..errors import DataError
from .describe import InputDescription

__all__ = ["LEVELS", "KnownInputs", "described_inputs", "known_inputs", "summary_of_inputs", "synthetic_rows"]

# Levels of the stored quantiles: every 4 %, and closer towards the ends, where heavy tails are.
_TAIL = np.array([0.0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02])
LEVELS = np.concatenate([_TAIL, np.arange(0.04, 0.97, 0.04), 1.0 - _TAIL[::-1]])
_DEGREES = 4.0
_FEW = 64  # maximum number of distinct values that are stored individually
_WIDEST = 64  # maximum number of features with a stored correlation: d^2 numbers


@dataclass(frozen=True, eq=False)
class KnownInputs:
    """Knowledge of a student's inputs.

    Attributes
    ----------
    description : InputDescription
        Mean, deviation, range, whole numbers, constants; the correlation of the normal scores if known.
    quantiles : float64 [q, d] or None
        Quantiles of each feature at fixed levels, closer towards the ends; raw units.
    values : tuple, for each feature float64 [m] or None
        All values of a feature that takes few of them (a count, a switch, a quantized sensor).
    """

    description: InputDescription
    quantiles: np.ndarray | None = None
    values: tuple[np.ndarray | None, ...] = ()


def summary_of_inputs(
    x: np.ndarray,  # [n, d] raw units
    ends: tuple[np.ndarray, np.ndarray] | None = None,
) -> dict[str, Any]:
    """Return the summary of training rows stored with a student: quantiles, whole-number columns, values of columns
    that take few, correlation of the ranks.

    It holds a few numbers per feature and no rows; calibration uses it in place of rows.

    Parameters
    ----------
    ends : (low [d], high [d]), optional
        The ranges of all rows, where ``x`` is a sample of them.
    """
    x = np.asarray(x, np.float64)
    if ends is not None:
        x = np.concatenate([x, np.stack(ends)])
    summary: dict[str, Any] = {
        "quantiles": np.quantile(x, LEVELS, axis=0).tolist(),
        "integer": (x == np.round(x)).all(axis=0).tolist(),
    }
    distinct = [np.unique(column) for column in x.T]
    summary["values"] = [v.tolist() if len(v) <= min(_FEW, len(x) // 4) else None for v in distinct]
    if 1 < x.shape[1] <= _WIDEST and len(x) > 2:
        ranks = x.argsort(axis=0).argsort(axis=0) - (len(x) - 1) / 2.0
        ranks[:, x.min(axis=0) == x.max(axis=0)] = 0.0
        norm = np.sqrt((ranks**2).sum(axis=0))
        spearman = (ranks.T @ ranks) / np.maximum(np.outer(norm, norm), 1e-12)
        correlation = 2.0 * np.sin(
            np.pi / 6.0 * spearman
        )  # correlation of the normal scores with this rank correlation
        summary["correlation"] = np.round(correlation, 4).tolist()
    return summary


def described_inputs(scaler: Scaler, described: str | Path) -> KnownInputs:
    """Return what a YAML file says of the inputs of a student with this scaler."""
    description = InputDescription.from_yaml(described)
    if description.d != len(scaler.mean):
        raise DataError(
            f"'{described}' describes {description.d} inputs, and the student takes {len(scaler.mean)}.",
            "Describe each input once, in order.",
        )
    return KnownInputs(description)


def known_inputs(scaler: Scaler, summary: dict[str, Any] | None) -> KnownInputs:
    """Combine a scaler and the summary of :func:`summary_of_inputs`, if there is one."""
    description = InputDescription.from_scaler(scaler)
    if summary is None:
        return KnownInputs(description)
    quantiles = np.asarray(summary["quantiles"], float)
    if quantiles.shape != (len(LEVELS), len(scaler.mean)):
        raise DataError(
            f"the summary of the inputs has quantiles {list(quantiles.shape)}, expected "
            f"{[len(LEVELS), len(scaler.mean)]}.",
            "Distil the student again.",
        )
    low, high = quantiles[0], quantiles[-1]
    correlation = summary.get("correlation")
    if correlation is not None:
        # After rounding and ranking it may not be positive definite; a constant feature has no correlation.
        values, vectors = np.linalg.eigh(np.asarray(correlation, float) * (1 - np.eye(len(low))) + np.eye(len(low)))
        correlation = (vectors * np.maximum(values, 1e-3)) @ vectors.T
        diagonal = np.sqrt(np.diag(correlation))
        correlation = correlation / np.outer(diagonal, diagonal)
    # A constant column has scale 1 in a scaler, and its mean may be another teacher's; its range identifies it.
    varies = high > low
    description = replace(
        description,
        low=low,
        high=high,
        mean=np.where(varies, description.mean, low),
        sd=np.where(varies, description.sd, 0.0),
        integer=np.asarray(summary["integer"], bool),
        correlation=correlation,
    )
    values = tuple(
        None if v is None else np.asarray(v, float) for v in summary.get("values", ())
    )  # older students have none
    return KnownInputs(description, quantiles, values)


def synthetic_rows(known: KnownInputs, n: int, seed: int = 0) -> np.ndarray:  # [n, d] float32, raw units
    """Draw the described inputs: normal scores with the known correlation, mapped by each feature's known quantiles.

    The scores of every second row are scaled together (Student's t, 4 degrees of freedom): extremes of different
    inputs coincide more often than in a normal copula, and an unseen range would be clipped. Without quantiles the
    scores are scaled by mean and deviation (Gaussian features), inside the range if one is known.
    """
    description = known.description
    rng = np.random.default_rng(seed)
    z = rng.standard_normal((n, description.d))
    if known.quantiles is None:
        return description.inputs(z).astype(np.float32)
    if description.correlation is not None:
        z = z @ np.linalg.cholesky(description.correlation).T
    z[1::2] /= np.sqrt(rng.chisquare(_DEGREES, (len(z[1::2]), 1)) / _DEGREES)
    share = (z.argsort(axis=0).argsort(axis=0) + 0.5) / n  # ranks make the n values cover each distribution
    share = (share - share.min(axis=0)) / np.maximum(share.max(axis=0) - share.min(axis=0), 1e-12) if n > 1 else share
    x = np.column_stack([np.interp(share[:, j], LEVELS, known.quantiles[:, j]) for j in range(description.d)])
    for j, values in enumerate(known.values):
        if values is not None:
            x[:, j] = nearest(x[:, j], values)
    return description.restrict(x).astype(np.float32)


def nearest(
    x: np.ndarray,  # [n]
    values: np.ndarray,  # [m] sorted
) -> np.ndarray:  # [n]
    """Return for each number the closest of ``values``."""
    if len(values) == 1:
        return np.full_like(x, values[0])
    right = np.clip(np.searchsorted(values, x), 1, len(values) - 1)
    return np.where(x - values[right - 1] <= values[right] - x, values[right - 1], values[right])
