"""The inputs of a network out of a file or folder that may hold anything besides."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..config import DataConfig
from ..errors import DataError
from .reading import read_frame
from .reading.recordings import SOUNDS
from .sources import kind_of_source, read_source

__all__ = ["NamedRows", "column_names", "read_inputs", "read_rows"]


@dataclass(frozen=True, eq=False)
class NamedRows:
    """Inputs of a network [n, d], and what says where each is from: the file, and the first sample of a window."""

    x: np.ndarray
    places: dict[str, list[str]] = field(default_factory=dict)


def read_rows(
    path: str | Path, names: Sequence[str], shape: Sequence[int] | None, config: DataConfig | None = None
) -> NamedRows:
    """Read inputs of a network: columns by their names, or examples of a shape as :mod:`.sources` reads them.

    Parameters
    ----------
    shape : sequence of int, optional
        That of an example of the training; None: a row of named columns.
    config : DataConfig, optional
        How the training's data were read. Without it a recording is cut into windows that lie side by side.

    Raises
    ------
    DataError
        As :func:`read_inputs`, or examples of another shape.
    """
    source = Path(path)
    arrays = source.suffix.lower() in (".npy", ".npz")
    if shape is None or not (
        source.is_dir() or arrays or source.suffix.lower() in SOUNDS or (config and config.window)
    ):
        return NamedRows(read_inputs(path, names))
    if not source.exists():
        raise DataError(f"no file or folder '{source}'.", "Give the path of an array, a recording or a folder.")
    config = config or DataConfig()
    signals = kind_of_source(source) not in ("array", "images")
    if signals and config.window is None:
        config = config.model_copy(update={"window": str(shape[-1])})
    config = config.model_copy(update={"labels": None, "resize": config.resize if not (signals or arrays) else None})
    examples, _ = read_source(config, source, labelled=False)
    if list(examples.shape) != list(shape):
        raise DataError(
            f"'{source}' holds examples of shape {list(examples.shape)}, expected {list(shape)} as in the training.",
            "Give examples of the shape of the training.",
        )
    x = np.asarray(examples.x, dtype=np.float64).reshape(len(examples), -1)
    if not np.isfinite(x).all():
        row = int(np.argmin(np.isfinite(x).all(axis=1)))
        raise DataError(f"'{source}': example {row} holds values that are not finite.", "Leave it out, or correct it.")
    places: dict[str, list[str]] = {"file": examples.names} if examples.names is not None else {}
    if examples.cut is not None:
        places = {
            "recording": [examples.cut.names[i] for i in examples.cut.recording],
            "first_sample": [str(start) for start in examples.cut.start],
        }
    return NamedRows(x, places)


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
