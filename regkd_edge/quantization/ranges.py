"""Limits of a symmetric range from calibration values: min-max, percentile, entropy."""

from __future__ import annotations

import numpy as np

from ..errors import UserError

__all__ = ["METHODS", "check_method", "on_codes", "range_of"]

METHODS = ("output", "minmax", "percentile", "entropy")
_BINS, _LEVELS = 2048, 128
_STEPS = 254  # of codes -127 .. 127


def check_method(method: str, percentile: float) -> None:
    """Refuse a method or a percentile that does not exist."""
    if method not in METHODS:
        raise UserError(f"unknown calibration method '{method}'.", f"Use one of: {', '.join(METHODS)}.")
    if not 50 < percentile <= 100:
        raise UserError(f"percentile {percentile:g} is outside (50, 100].", "Give a value such as 99.99.")


def range_of(
    values: np.ndarray,  # any shape
    method: str,
    percentile: float = 99.99,
) -> float:
    """Return the largest absolute value without clipping; ``output`` starts its search from the full range."""
    size = np.abs(np.asarray(values, np.float64)).ravel()
    if method == "percentile":
        # "higher" rather than interpolated: with few values a percentile near 100 is the largest one, as it should be.
        return float(np.percentile(size, percentile, method="higher"))
    return _entropy(size) if method == "entropy" else float(size.max(initial=0.0))


def on_codes(
    values: np.ndarray,  # [m] distinct values of one input
    low: float,
    high: float,
) -> tuple[float, float]:
    """Return ``low .. high``, widened so that as many values as possible fall on codes of a symmetric 8-bit range.

    A feature that takes few values (a count, a switch, a quantized sensor) then loses nothing by rounding. The grid
    is the one of 127 to 254 steps between the ends that rounds the values with the least squared error. That error must
    be at most a quarter of the finest grid's, or the finest is kept: a smaller gain could be sampling noise.
    """
    inside = values[(values >= low) & (values <= high)]
    if high <= low or len(inside) > _STEPS + 1:
        return low, high
    counts = np.arange(_STEPS, _STEPS // 2 - 1, -1)
    at = (inside[None, :] - low) / (high - low) * counts[:, None]
    errors = np.mean(((at - np.rint(at)) / counts[:, None]) ** 2, axis=1)
    best = int(errors.argmin())
    if errors[best] > 0.25 * errors[0]:
        return low, high
    step = (high - low) / counts[best]
    centre = low + step * (counts[best] // 2)
    return centre - step * _STEPS / 2, centre + step * _STEPS / 2


def _entropy(size: np.ndarray) -> float:
    """Return the range whose 128-level histogram has least KL divergence (Migacz 2017, as in TensorRT)."""
    top = size.max(initial=0.0)
    if top == 0.0:
        return 0.0
    counts, edges = np.histogram(size, bins=_BINS, range=(0.0, top))
    # Exact zeros carry no information about where to clip, and half of ReLU's outputs are zeros.
    counts = counts.astype(np.float64)
    counts[0] = counts[1]
    best, best_divergence = top, np.inf
    for stop in range(_LEVELS, _BINS + 1, 16):
        kept = counts[:stop].copy()
        kept[-1] += counts[stop:].sum()
        if not kept.any():
            continue
        group = np.arange(stop) * _LEVELS // stop
        used = counts[:stop] > 0
        sums = np.bincount(group, counts[:stop], _LEVELS)
        filled = np.bincount(group, used, _LEVELS)
        spread = np.where(used, (sums / np.maximum(filled, 1))[group], 0.0)
        p, q = kept / kept.sum(), spread / max(spread.sum(), 1e-300)
        where = p > 0
        divergence = float(np.sum(p[where] * np.log(p[where] / np.maximum(q[where], 1e-12))))
        if divergence < best_divergence:
            best, best_divergence = edges[stop], divergence
    return float(best)
