"""The covariance of rows, also where they are fewer than the columns."""

from __future__ import annotations

import numpy as np

__all__ = ["shrunk_covariance"]


def shrunk_covariance(
    z: np.ndarray,  # [N, d], already centred with centred=True
    *,
    centred: bool = False,
) -> np.ndarray:  # [d, d]
    """Return the covariance shrunk towards a multiple of the identity by Ledoit and Wolf's rule (2004, J. Multivariate
    Analysis 88), which makes it positive definite with fewer rows than columns and leaves it alone with many.
    """
    z = np.asarray(z, dtype=np.float64)
    z = z if centred else z - z.mean(axis=0)
    n, d = z.shape
    sample = z.T @ z / n
    size = np.trace(sample) / d
    distance = ((sample**2).sum() - d * size**2) / d  # of the sample covariance from size * I
    square = z**2
    error = ((square.T @ square).sum() / n - (sample**2).sum()) / (n * d)  # of the sample covariance from the true one
    share = 0.0 if distance <= 0 else min(max(error, 0.0), distance) / distance
    return (1.0 - share) * sample + share * size * np.eye(d)
