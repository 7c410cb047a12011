"""The inputs of a network out of a file that may hold anything besides."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from .reading import read_frame

__all__ = ["column_names", "read_inputs"]


def column_names(path: str | Path) -> list[str]:
    """The names of the columns of a table."""
    return read_frame(path).names


def read_inputs(
    path: str | Path,
    names: Sequence[str],
) -> np.ndarray:  # [n, d] float64, raw units
    """Read the named columns; others (targets, an index, text) are passed over.

    Raises
    ------
    DataError
        No such file or column, or a cell that is not a finite number.
    """
    frame = read_frame(path, only=names)
    for name in names:
        if name not in frame.names:
            every = column_names(path)
            near = difflib.get_close_matches(name, every, n=1)
            hint = f"Did you mean '{near[0]}'? " if near else ""
            raise DataError(f"'{path}' has no column '{name}'.", f"{hint}Give a column for each input, under its name.")
    for name in names:
        if name in frame.odd:
            text, (_, row) = min(frame.odd[name].texts.items(), key=lambda item: item[1][1])
            raise DataError(
                f"'{path}' {frame.place(row)}, column '{name}': met '{text[:60]}', expected a number.",
                "Correct that cell, or leave the row out.",
            )
    x = frame.values[:, [frame.names.index(name) for name in names]]
    bad = ~np.isfinite(x)
    if bad.any():
        row, column = (int(v) for v in np.argwhere(bad)[0])
        met = "nan or an empty cell" if np.isnan(x[row, column]) else f"{x[row, column]:g}"
        raise DataError(
            f"'{path}' {frame.place(row)}, column '{names[column]}': met {met}, expected a finite number.",
            "Fill in that cell, or leave the row out.",
        )
    return x
