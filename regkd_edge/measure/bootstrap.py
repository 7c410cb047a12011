"""Bootstrap over rows: the sampling distribution of a mean, for any number of columns on the same draws.

Rows are drawn with replacement (Efron 1979). All columns see the same draws, so differences between two networks
measured on the same rows are paired: how hard a row is cancels.
"""

from __future__ import annotations

import numpy as np

__all__ = ["RESAMPLES", "interval", "resampled_means"]

RESAMPLES = 2000
_AT_ONCE = 2_000_000  # drawn row numbers held in memory
_MOST_DRAWS = 10**8  # beyond, fewer resamples: the ends of the interval then vary by about 5 % of its width


def resampled_means(
    values: np.ndarray,  # [n, k]
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> np.ndarray:  # [resamples, k]
    """Return the column means of ``values`` over rows drawn with replacement;
    at least 400 resamples for long tables."""
    columns = [np.ascontiguousarray(column, dtype=np.float64) for column in np.asarray(values).T]
    n = len(values)
    resamples = min(resamples, max(400, _MOST_DRAWS // n))
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, len(columns)))
    block = max(1, min(resamples, _AT_ONCE // n))
    for start in range(0, resamples, block):
        count = min(block, resamples - start)
        drawn = rng.integers(0, n, size=(count, n)) + n * np.arange(count)[:, None]
        weights = np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n).astype(np.float64)
        for k, column in enumerate(columns):  # one product per column: equal columns give equal bits
            means[start : start + count, k] = weights @ column / n
    return means


def interval(
    draws: np.ndarray,  # [resamples] of a statistic
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the percentile interval of a bootstrap distribution; NaN draws are left out."""
    low, high = np.nanquantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
