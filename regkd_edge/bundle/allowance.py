"""How far an engine's answers may lie from those of its graph."""

from __future__ import annotations

import numpy as np

__all__ = ["allowed_difference"]

# How far an engine's answers may lie from what its graph means, as RMS over the rows, of each target: sums in another
# order, another tanh and fused scalers change the last bits only, so 1e-4 of a standard deviation is ample for FP32.
# In a lower precision a value near a rounding boundary falls to the other side: that costs what the precision itself
# costs, so twice the graph's own distance to FP32 is allowed (that of nine rows in ten: rows beyond the calibrated
# range say nothing about rounding), and never more than a quarter of a standard deviation.
_EXACT, _OWN, _MOST = 1e-4, 2.0, 0.25


def allowed_difference(
    exact: np.ndarray,  # [n, o] answers of the FP32 graph
    answers: np.ndarray,  # [n, o] answers of the graph that the engine is built from
) -> np.ndarray:  # [o]
    """RMS difference to ``answers`` up to which an engine counts as that graph, in target units."""
    spread = exact.std(axis=0)
    spread = np.where(spread > 0, spread, np.maximum(np.abs(exact).max(axis=0), 1e-6))  # one row, or a dead output
    own = np.quantile(np.abs(answers - exact), 0.9, axis=0)
    return np.minimum(_EXACT * spread + _OWN * own, _MOST * spread)
