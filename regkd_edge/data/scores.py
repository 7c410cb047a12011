"""The score of a regression, as in scikit-learn."""

from __future__ import annotations

import numpy as np

__all__ = ["r2_score", "r2_scores", "spread_of"]


def r2_score(
    truth: np.ndarray,  # [n, o]
    answers: np.ndarray,  # [n, o]
) -> float:
    """Return R2, the mean over the outputs; an output of constant true values counts 1 if predicted exactly, else 0."""
    return float(r2_scores(truth, answers).mean())


def r2_scores(
    truth: np.ndarray,  # [n, o]
    answers: np.ndarray,  # [n, o]
) -> np.ndarray:  # [o]
    """Return R2 of each output by itself; one of constant true values as in :func:`r2_score`."""
    residual = ((truth - answers) ** 2).mean(0)
    spread = spread_of(truth)
    varies = spread > 0
    return np.where(varies, 1.0 - residual / np.where(varies, spread, 1.0) ** 2, np.where(residual == 0, 1.0, 0.0))


def spread_of(
    values: np.ndarray,  # [n, o]
) -> np.ndarray:  # [o]
    """Return the standard deviation of each column, and exactly 0 where it is constant.

    The mean of ten times 0.1 is not 0.1: the deviation from it, 1.4e-17, must not divide anything.
    """
    return np.where(np.ptp(values, axis=0) > 0, values.std(axis=0), 0.0)
