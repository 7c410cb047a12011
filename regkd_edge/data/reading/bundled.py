"""Real sets that come with scikit-learn, without a download."""

from __future__ import annotations

import numpy as np

from ...errors import NotAvailable
from .frame import Frame

__all__ = ["BUNDLED", "read_bundled"]

BUNDLED = ("digits", "diabetes")


def read_bundled(name: str) -> Frame:
    """Read one of :data:`BUNDLED` in raw units, with its target known."""
    try:
        from sklearn import datasets
    except ImportError:
        raise NotAvailable(
            f"the bundled set '{name}' comes with scikit-learn, which is not installed.",
            "Run: pip install scikit-learn.",
        ) from None
    if name == "digits":  # scanned 8x8 digits as a regression on the value, as in Zhou & Chiam 2023's image experiment
        bunch, targets = datasets.load_digits(), ["digit"]
        inputs = [f"pixel_{i}_{j}" for i in range(8) for j in range(8)]
    else:  # in raw units: scikit-learn's default is scaled on all rows, test rows too
        bunch, targets = datasets.load_diabetes(scaled=False), ["progression"]
        inputs = list(bunch.feature_names)
    values = np.column_stack([bunch.data, bunch.target]).astype(np.float64)
    return Frame(name, inputs + targets, values, known=targets)
