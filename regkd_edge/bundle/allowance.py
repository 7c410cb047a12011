"""How far an engine's answers may lie from those of its graph."""

from __future__ import annotations

import numpy as np

__all__ = ["allowed_difference"]

# Allowed RMS difference over the rows, per target, between an engine's outputs and its graph's: sums in another
# order, another tanh and fused scalers change only the last bits, so 1e-4 of a standard deviation is ample for FP32.
# In a lower precision a value near a rounding boundary may fall on the other side, which costs what the precision
# itself costs. So twice the graph's own distance from FP32 is allowed (over nine rows in ten: rows beyond the
# calibrated range carry no information about rounding), and never more than a quarter of a standard deviation.
_EXACT, _OWN, _MOST = 1e-4, 2.0, 0.25


def allowed_difference(
    exact: np.ndarray,  # [n, o] answers of the FP32 graph
    answers: np.ndarray,  # [n, o] answers of the graph that the engine is built from
) -> np.ndarray:  # [o]
    """Return the RMS difference from ``answers`` that an engine of that graph may have, in target units."""
    spread = exact.std(axis=0)
    spread = np.where(spread > 0, spread, np.maximum(np.abs(exact).max(axis=0), 1e-6))  # one row, or a dead output
    own = np.quantile(np.abs(answers - exact), 0.9, axis=0)
    return np.minimum(_EXACT * spread + _OWN * own, _MOST * spread)
