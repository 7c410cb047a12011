"""A few real inputs out of a CSV, for their correlation, means and ranges."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..data.csv_reader import read_csv
from ..errors import DataError

__all__ = ["like_rows"]


def like_rows(path: str, names: Sequence[str]) -> np.ndarray:  # [n, d] raw units
    """Return the named columns of a CSV of real inputs; other columns (targets, an index, text) are ignored."""
    columns, values, lines = read_csv(Path(path), only=names)
    for name in names:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, n=1)
            hint = f"Did you mean '{near[0]}'? " if near else ""
            raise DataError(f"'{path}' has no column '{name}'.", f"{hint}Give one column per input, under its name.")
    x = values[:, [columns.index(name) for name in names]]
    bad = ~np.isfinite(x)
    if bad.any():
        row, column = (int(v) for v in np.argwhere(bad)[0])
        raise DataError(
            f"'{path}' line {lines[row]}, column '{names[column]}': met {x[row, column]:g}, expected a finite number.",
            "Fill in or drop that row.",
        )
    return x
