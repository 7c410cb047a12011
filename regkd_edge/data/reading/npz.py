"""Arrays as tables: NPZ and NPY of NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import DataError
from ...io.arrays import check_texts
from ...io.arrays import read_npz as inflate
from ...io.words import counted
from .frame import Frame, Odd, exact_float64, text_column
from .layout import require_few, require_unique

__all__ = ["of_arrays", "of_columns", "read_npy", "read_npz"]

_HEADER_BYTES = 10_000  # of an NPY file, as NumPy has it


def read_npz(path: Path) -> Frame:
    """Read ``x`` [N, d] and ``y`` [N, o], with ``feature_names`` and ``target_names``, or one vector per column."""
    return of_arrays(path, inflate(path, kind=DataError))


def read_npy(path: Path) -> Frame:
    """Read a matrix [N, columns], its columns named c1, c2, ..., or a structured array with its own names."""
    try:
        with open(path, "rb") as stream:
            begin = stream.read(12)
        length = int.from_bytes(begin[8:12] if begin[6:7] > b"\1" else begin[8:10], "little")
        if length > _HEADER_BYTES:
            raise ValueError(f"its header has {length:,} bytes, expected at most {_HEADER_BYTES:,}")
        array = np.load(path, allow_pickle=False, mmap_mode="r")
        check_texts(array, "the array")
    except Exception as error:  # header, size, pickle refused
        raise DataError(
            f"'{path}' is not a readable NPY file: {str(error)[:200].strip('.')}.", "Save an array with numpy.save."
        ) from None
    if array.dtype.names:
        return of_columns(path, {name: np.asarray(array[name]) for name in array.dtype.names})
    if array.ndim != 2 or array.shape[1] < 2 or not len(array):
        raise DataError(
            f"'{path}' holds an array of shape {array.shape}, expected rows [N, columns].",
            "Save a matrix with the targets as columns of it, or an NPZ file with x and y.",
        )
    require_few(path, array.shape[1])
    return of_columns(path, {f"c{i}": np.asarray(column) for i, column in enumerate(array.T, start=1)})


def of_arrays(path: Path, arrays: dict[str, np.ndarray]) -> Frame:
    """Return the table that named arrays are: ``x`` and ``y``, or one vector per column."""
    if {"x", "y"} <= set(arrays):
        return _inputs_and_targets(path, arrays)
    if len(arrays) < 2 or any(a.ndim != 1 for a in arrays.values()) or len({len(a) for a in arrays.values()}) != 1:
        shapes = ", ".join(f"{key} {a.shape}" for key, a in list(arrays.items())[:8])
        raise DataError(
            f"'{path}' holds {shapes or 'nothing'}.", "Store x [N, d] and y [N, o], or one vector [N] a column."
        )
    return of_columns(path, arrays)


def _inputs_and_targets(path: Path, arrays: dict[str, np.ndarray]) -> Frame:
    parts = {"x": arrays["x"], "y": arrays["y"][:, None] if arrays["y"].ndim == 1 else arrays["y"]}
    names: list[str] = []
    for key, stored_names in (("x", "feature_names"), ("y", "target_names")):
        if parts[key].ndim != 2 or not np.issubdtype(parts[key].dtype, np.number):
            raise DataError(
                f"'{path}': array '{key}' has shape {parts[key].shape} and type {parts[key].dtype}, expected numbers "
                "[N, columns]."
            )
        width = parts[key].shape[1]
        given = arrays.get(stored_names, np.array([f"{key}{i}" for i in range(width)]))
        own = [str(name) for name in np.atleast_1d(given)]
        if len(own) != width:
            raise DataError(
                f"'{path}': {len(own)} {stored_names} for {width} columns of '{key}'.", "Store one name per column."
            )
        names += own
    if len(parts["x"]) != len(parts["y"]) or len(parts["x"]) == 0:
        raise DataError(
            f"'{path}': x has {counted(len(parts['x']), 'row')} and y {len(parts['y'])}, "
            "expected the same number, at least 1."
        )
    require_unique(path, names)
    frame = of_columns(path, dict(zip(names, [*parts["x"].T, *parts["y"].T])))
    frame.known = names[parts["x"].shape[1] :]
    return frame


def of_columns(path: Path, columns: dict[str, np.ndarray]) -> Frame:
    """Return the table of named vectors [N]."""
    length = len(next(iter(columns.values())))
    if not length:
        raise DataError(f"'{path}' has no rows.", "Give a file with data in it.")
    frame = Frame(str(path), list(columns), np.empty((length, len(columns))), typed=True)
    for j, (name, array) in enumerate(columns.items()):
        frame.values[:, j], odd = numbers_or_texts(
            frame, name, array, f"'{path}', column '{name}': met values of type {array.dtype}, expected numbers."
        )
        if odd is not None:
            frame.odd[name] = odd
    return frame


def numbers_or_texts(frame: Frame, name: str, array: np.ndarray, refusal: str) -> tuple[np.ndarray, Odd | None]:
    """Float64 values of a column of numbers or truth values; of texts, not-a-number and the texts themselves."""
    if array.dtype.kind in "UM" and array.ndim == 1:
        cells = [str(cell) for cell in array]
        frame.texts[name] = cells
        return np.full(len(cells), np.nan), text_column(cells)
    if array.ndim != 1 or not (np.issubdtype(array.dtype, np.number) or array.dtype == bool):
        raise DataError(refusal, "Encode text as numbers, or drop the column.")
    return exact_float64(array)
