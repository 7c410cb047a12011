"""What float32 engines make of a column: values beyond their range, and values that they resolve coarsely."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...errors import DataError
from ..stored import Moments
from ..typed import missing_option

__all__ = ["COARSE", "LARGEST", "coarse_or_constant", "range_problem", "require_ranges"]

# Engines take raw values as float32: beyond this the values, squares or reciprocals leave its range.
LARGEST, _SMALLEST = 1e30, 1e-30
# A column that varies by less than this share of its size keeps fewer than about 7 bits in float32.
COARSE = 1e-5


def range_problem(source: str, name: str, values: np.ndarray) -> DataError | None:
    """What puts a column beyond the range of a float32 engine; None where nothing does."""
    if np.isnan(values).all():
        return None
    low, high = np.nanmin(values), np.nanmax(values)
    size, spread = max(abs(low), abs(high)), high - low
    if size > LARGEST or 0 < spread < _SMALLEST:
        if size > LARGEST:
            count = int((np.abs(values) > LARGEST).sum())
            worst = values[np.nanargmax(np.abs(values))]
            return DataError(
                f"column '{name}' of '{source}' has values up to {size:g} ({count} beyond {LARGEST:g}), beyond the "
                "range of a float32 engine.",
                f"Add {missing_option(name, [worst])} --blanks drop if it means missing, or use another unit.",
            )
        return DataError(
            f"column '{name}' of '{source}' has a spread of {spread:g}, beyond the range of a float32 engine.",
            "Use another unit.",
        )
    return None


def require_ranges(source: str, names: Sequence[str], values: np.ndarray) -> None:  # [N, c]
    """Refuse the first column that is beyond the range of a float32 engine, as :func:`range_problem` says."""
    low, high = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)  # nan only where all are
    with np.errstate(invalid="ignore", over="ignore"):
        spread = high - low
        odd = (np.maximum(np.abs(low), np.abs(high)) > LARGEST) | ((spread > 0) & (spread < _SMALLEST))
    for j in np.flatnonzero(odd).tolist():
        problem = range_problem(source, names[j], values[:, j])
        if problem is not None:
            raise problem


def coarse_or_constant(found: Moments, names: Sequence[str]) -> list[str]:
    """Notes on the inputs that carry nothing, or little once they are float32."""
    notes = []
    for name, low, high, spread in zip(names, found.low, found.high, found.deviation):
        size = max(abs(low), abs(high))
        if low == high:
            notes.append(f"input '{name}' is constant ({low:g}) and carries no information")
        elif spread < COARSE * size:
            notes.append(
                f"input '{name}' varies by only {spread / size:.1e} of its size, which float32 engines resolve "
                "coarsely: subtract an offset first"
            )
    return notes
