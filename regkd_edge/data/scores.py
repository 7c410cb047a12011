"""The score of a regression, as in scikit-learn."""

from __future__ import annotations

import numpy as np

__all__ = ["r2_score"]


def r2_score(
    truth: np.ndarray,  # [n, o]
    answers: np.ndarray,  # [n, o]
) -> float:
    """Return R2, the mean over the outputs; an output of constant true values counts 1 if predicted exactly, else 0."""
    residual = ((truth - answers) ** 2).sum(0)
    spread = ((truth - truth.mean(0)) ** 2).sum(0)
    varies = spread > 0
    scores = np.where(varies, 1.0 - residual / np.where(varies, spread, 1.0), np.where(residual == 0, 1.0, 0.0))
    return float(scores.mean())
