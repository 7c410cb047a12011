"""Arrays of any rank: NPY, and NPZ with ``x`` [N, ...]; uncompressed ones are mapped into memory, not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import DataError
from ...io.arrays import archive_problem, read_npz
from ...io.limits import COLUMNS, MAPPED_BYTES
from ...io.mapped import map_npy, map_npz, npz_entries
from ...io.regular import file_problem
from .examples import Examples
from .frame import Frame
from .npz import numbers_or_texts

__all__ = ["array_shape", "read_label_array", "read_tensors"]

_PLAIN = "Save real numbers with numpy.save or numpy.savez."


def array_shape(path: Path) -> tuple[int, ...] | None:
    """Return the shape of the array of an NPY file, or of ``x`` in an NPZ file, from the header alone.

    None where it cannot be told; what is wrong is said when the file is read.
    """
    try:
        if file_problem(path, MAPPED_BYTES) is not None:
            return None
        if path.suffix.lower() == ".npy":
            return map_npy(path).shape
        stored = npz_entries(path).get("x")
        return None if stored is None else stored.shape
    except Exception:  # NumPy and zipfile raise one of a dozen kinds for a damaged file
        return None


def read_tensors(path: Path, labels: Frame | None) -> Examples:
    """Read examples [N, ...].

    An NPZ file holds ``x`` [N, ...]; ``y`` [N] or [N, o] (with ``target_names``, if wanted) and any further vectors [N]
    are columns beside it. An NPY file holds x alone.

    Parameters
    ----------
    labels : Frame, optional
        Columns beside the examples, one row each, in their order.

    Raises
    ------
    DataError
        Another content, Python objects, a wrong number of labels.
    """
    problem = file_problem(path, MAPPED_BYTES)
    if problem is not None:
        raise DataError(f"'{path}' cannot be read: {problem}.", _PLAIN)
    x, columns, known = _npy(path) if path.suffix.lower() == ".npy" else _npz(path)
    if x.dtype.kind not in "biuf":
        raise DataError(f"'{path}': x is of type {x.dtype}, expected real numbers.", _PLAIN)
    if x.ndim < 2 or 0 in x.shape:
        raise DataError(
            f"'{path}': x has the shape {x.shape}, expected examples [N, ...] with at least one of each.", _PLAIN
        )
    width = int(np.prod(x.shape[1:], dtype=np.int64))
    if width > COLUMNS:
        raise DataError(
            f"'{path}': an example {x.shape[1:]} has {width:,} numbers, expected at most {COLUMNS:,}.",
            "The first axis counts the examples; make them smaller otherwise.",
        )
    beside = _beside(path, len(x), columns, known)
    return Examples(str(path), x, beside if labels is None else _joined(path, beside, labels))


def read_label_array(path: Path) -> Frame:
    """Read labels [N] or [N, o] from an NPY file, called ``y`` or ``y0``, ``y1``, ..."""
    if not path.is_file():
        raise DataError(f"no file '{path}'.", "Give the path of the labels.")
    y, _, _ = _npy(path)
    if y.ndim not in (1, 2) or y.dtype.kind not in "biuf" or 0 in y.shape:
        raise DataError(f"'{path}' holds an array {y.shape} of {y.dtype}, expected labels [N] or [N, o].", _PLAIN)
    columns = {"y": y} if y.ndim == 1 else {f"y{j}": column for j, column in enumerate(y.T)}
    return _beside(path, len(y), {name: np.asarray(column) for name, column in columns.items()}, list(columns))


def _npy(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray], list[str]]:
    try:
        return map_npy(path), {}, []
    except Exception as error:  # header, size, pickle refused
        raise DataError(f"'{path}' is not a readable NPY file: {str(error)[:200].strip('.')}.", _PLAIN) from None


def _npz(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray], list[str]]:
    try:
        entries = npz_entries(path)
        x = map_npz(path, "x")
    except Exception as error:  # header, size, pickle refused
        raise DataError(f"'{path}' is not a readable NPZ file: {archive_problem(path, error)}.", _PLAIN) from None
    if "x" not in entries:
        raise DataError(
            f"'{path}' holds {', '.join(list(entries)[:8]) or 'nothing'}, expected an array x [N, ...].",
            "Store the examples as x.",
        )
    stored = read_npz(path, [name for name in entries if name != "x" or x is None], DataError, _PLAIN)
    x = stored.pop("x") if x is None else x
    names = [str(name) for name in np.atleast_1d(stored.pop("target_names", np.empty(0, str)))]
    columns: dict[str, np.ndarray] = {}
    known: list[str] = []
    for key, array in stored.items():
        if array.ndim == 2 and key == "y":
            own = names or [f"y{j}" for j in range(array.shape[1])]
            if len(own) != array.shape[1]:
                raise DataError(f"'{path}': {len(own)} target_names for y of {array.shape[1]} columns.")
            columns |= dict(zip(own, array.T))
            known += own
        elif array.ndim == 1 and len(array) == len(x):
            name = names[0] if key == "y" and len(names) == 1 else key
            columns[name] = array
            known += [name] if key == "y" else []
        elif key == "y":
            raise DataError(
                f"'{path}': x has the shape {x.shape} and y {array.shape}, expected y of {len(x):,} rows.",
                "Store one target, or one row of targets, per example.",
            )
    return x, columns, known


def _beside(path: Path, count: int, columns: dict[str, np.ndarray], known: list[str]) -> Frame:
    frame = Frame(str(path), list(columns), np.empty((count, len(columns))), known=known)
    for j, (name, array) in enumerate(columns.items()):
        frame.values[:, j], odd = numbers_or_texts(
            frame, name, array, f"'{path}': array '{name}' is of type {array.dtype}, expected numbers or texts."
        )
        if odd is not None:
            frame.odd[name] = odd
    return frame


def _joined(path: Path, own: Frame, labels: Frame) -> Frame:
    """The columns of the labels, and those of the file that have other names."""
    count = len(own.values)
    if len(labels.values) != count:
        raise DataError(
            f"'{path}' holds {count:,} examples and '{labels.source}' {len(labels.values):,} "
            "rows, expected one row per example.",
            "Give the labels in the order of the examples.",
        )
    kept = [j for j, name in enumerate(own.names) if name not in labels.names]
    names = [own.names[j] for j in kept]
    if kept:
        labels.values = np.column_stack([labels.values, own.values[:, kept]])
    labels.names = [*labels.names, *names]
    labels.odd |= {name: own.odd[name] for name in names if name in own.odd}
    labels.texts |= {name: own.texts[name] for name in names if name in own.texts}
    labels.known = labels.known or [name for name in own.known if name in names]
    return labels
