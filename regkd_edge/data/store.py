"""The data files of a run: the table with its split, and predictions of every row.

``data.npz`` holds x [N, d], y [N, o] in raw units and the row numbers train, validation, test; ``data.json`` the names
and what each input column is (:class:`Columns`).
``predictions.npz`` of a model holds y [N, o]: its predictions for all rows in the table's order, so that accuracy
can be reported without torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, RunFolderError
from ..io.arrays import read_npz
from ..io.command import command_line
from ..io.files import write_atomic, write_json
from ..io.reading import read_json_object
from ..run import RunFolder
from .columns import Columns
from .places import Places
from .scaler import Scaler, Scalers
from .split import Split
from .stored import Moments, StoredRows, ascending, is_stored, moments_of
from .table import Table

__all__ = ["Dataset", "load_dataset", "load_predictions", "save_dataset", "save_predictions"]

_FORMAT = 1
_AT_ONCE = 4 << 20  # numbers of rows in memory that are copied for their statistics
_MOMENTS = ("mean", "squares", "low", "high")
_PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Dataset:
    """A table with its split."""

    table: Table
    split: Split
    moments: Moments | None = None  # of the inputs of the training rows, where these stay in their file
    answers: np.ndarray | None = None  # [N, o] a teacher's to all rows, raw units, where they are known

    @property
    def x(self) -> np.ndarray:
        """All inputs, raw units, float64 [N, d]."""
        return self.table.x

    @property
    def y(self) -> np.ndarray:
        """All targets, raw units, float64 [N, o]."""
        return self.table.y

    @property
    def d(self) -> int:
        return self.table.d

    @property
    def input_shape(self) -> tuple[int, ...] | None:
        """Shape of a row that is a tensor, or None."""
        return self.table.input_shape

    @property
    def o(self) -> int:
        return self.table.o

    @cached_property
    def columns(self) -> Columns:
        """Kinds of the inputs, with the ranges and values of the training rows.

        Where there are no training rows (a bundle), those that were stored.
        """
        stored = self.table.columns
        if is_stored(self.x) and self.moments is not None:
            if stored is not None and self.input_shape is None:
                return stored  # observed in the training rows when it was stored
            found, names = self.moments, tuple(self.table.feature_names)
            kind = "whole" if found.whole else "continuous"
            return Columns(names, (kind,) * len(names), found.low, found.high, (None,) * len(names))
        if stored is None:
            kinds = Columns.detect if self.input_shape is None else Columns.of_tensors
            stored = kinds(self.x, self.table.feature_names)
        train = self.split.train
        return stored.observed(self.x[train]) if len(train) else stored

    def rows(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Inputs [n, d] and targets [n, o] of ``train``, ``validation`` or ``test``, raw units."""
        index = getattr(self.split, part)
        return self.x[index], self.y[index]

    def scalers(self, places: Places | None = None) -> Scalers:
        """Scalers learnt on the training rows only; a target that is constant there is a :class:`DataError`.

        ``places``: of rows that are images or signals, whose inputs have one scaler per channel.
        """
        train = self.split.train
        targets = moments_of(self.y, train) if is_stored(self.x) else None  # not copied where rows are many
        y = self.y[train] if targets is None else np.stack([targets.low, targets.high])
        for name, values in zip(self.table.target_names, y.T):
            if values.min() == values.max():
                raise DataError(
                    f"target '{name}' is constant ({values[0]:g}) over the {len(train)} training rows.",
                    "Use more rows or another seed.",
                )
        if targets is None and len(train) * self.d <= _AT_ONCE:
            x = self.x[train]
            return Scalers.fit(x, y) if places is None else Scalers(places.scaler(x), Scaler.fit(y))
        found = self.moments
        if found is None or found.count != len(train):
            found = moments_of(self.x, train)
        own = Scaler.fit(y) if targets is None else Scaler.of_moments(targets)
        return Scalers(Scaler.of_moments(found if places is None else found.pooled(places.channel)), own)


def save_dataset(run: RunFolder, table: Table, split: Split) -> list[Path]:
    """Write data.npz and data.json of a run, each atomically; return their paths.

    Inputs that are too many for memory go to ``x.npy`` in the type of their source, and the statistics of the training
    rows, taken in one pass, to data.npz.
    """
    arrays, names = run.file("data.npz"), run.file("data.json")
    inputs: dict[str, np.ndarray] = {"x": table.x}
    dataset, paths = Dataset(table, split), [arrays, names]
    if is_stored(table.x):
        found = moments_of(table.x, split.train)
        if table.columns is not None and table.input_shape is None:
            table = replace(table, columns=table.columns.observed(table.x.take(ascending(split.train))))
        dataset = Dataset(table, split, found)
        inputs = {name: getattr(found, name) for name in _MOMENTS}
        inputs["facts"] = np.array([found.count, found.whole], dtype=np.int64)
        table.x.write(run.file("x.npy"))
        paths.append(run.file("x.npy"))
    with write_atomic(arrays) as temporary:
        units = {} if split.units is None else {"units": split.units}
        parts = {name: getattr(split, name) for name in _PARTS}
        np.savez(temporary, y=table.y, **parts, **inputs, **units)
    write_json(
        names,
        {
            "format": _FORMAT,
            "source": table.source,
            "rows": len(table),
            "feature_names": table.feature_names,
            "target_names": table.target_names,
            "warnings": table.warnings,
            "split": split.counts(),
            **({"stored": True} if is_stored(table.x) else {}),
            "columns": dataset.columns.to_dict(),
            **({"input_shape": list(table.input_shape)} if table.input_shape is not None else {}),
            **({"units": True} if split.units is not None else {}),
            **({"rate": table.rate} if table.rate is not None else {}),
        },
    )
    return paths


def load_dataset(run: RunFolder) -> Dataset:
    """Load the files of :func:`save_dataset`; a missing, corrupt or contradictory one is a RunFolderError."""
    remedy = f"Run: {command_line('train-teacher', run.path, '--force')}"
    names = read_json_object(run.file("data.json"), remedy)
    stored, moments = names.get("stored") is True, None
    keys = (*((*_MOMENTS, "facts") if stored else ("x",)), *(("units",) if names.get("units") is True else ()))
    arrays = read_npz(run.file("data.npz"), (*keys, "y", *_PARTS), RunFolderError, remedy)
    if stored:
        arrays["x"], moments = _stored_inputs(run, arrays, remedy)
    problem = _problem(arrays, names)
    if problem:
        raise RunFolderError(f"the data of '{run.path}' (data.npz, data.json) are corrupt: {problem}.", remedy)
    x, y, features, targets = arrays["x"], arrays["y"], names["feature_names"], names["target_names"]
    try:
        columns = Columns.from_dict(names["columns"]) if "columns" in names else None
    except DataError as error:
        raise RunFolderError(f"'{run.file('data.json')}' is corrupt: {error.cause}", remedy) from None
    if columns is not None and list(columns.names) != features:
        raise RunFolderError(f"'{run.file('data.json')}' is corrupt: its column kinds name other inputs.", remedy)
    warnings = names.get("warnings", [])
    if not isinstance(warnings, list):
        raise RunFolderError(f"'{run.file('data.json')}' is corrupt: its warnings are not a list.", remedy)
    table = Table(
        x,
        y,
        [str(n) for n in features],
        [str(n) for n in targets],
        str(names.get("source", "")),
        [str(w) for w in warnings],
        columns,
        input_shape=tuple(names["input_shape"]) if names.get("input_shape") else None,
        rate=names.get("rate"),
    )
    return Dataset(
        table, Split(*(arrays[p].astype(np.int64, copy=False) for p in _PARTS), arrays.get("units")), moments
    )


def _stored_inputs(run: RunFolder, arrays: dict[str, np.ndarray], remedy: str) -> tuple[StoredRows, Moments]:
    try:
        x = StoredRows.read(run.file("x.npy"))
        fitting = all(arrays[name].shape == (x.shape[1],) for name in _MOMENTS) and arrays["facts"].shape == (2,)
        if not fitting or not all(np.isfinite(arrays[name]).all() for name in _MOMENTS):
            raise ValueError("its statistics do not fit it")
    except (OSError, ValueError) as error:
        raise RunFolderError(f"'{run.file('x.npy')}' is corrupt: {error}.", remedy) from None
    count, whole = arrays["facts"].tolist()
    return x, Moments(count, *(arrays[name] for name in _MOMENTS), whole=bool(whole))


def _problem(arrays: dict[str, np.ndarray], names: dict[str, Any]) -> str:
    x, y = arrays["x"], arrays["y"]
    if names.get("format") != _FORMAT:
        return f"format {names.get('format')!r}, expected {_FORMAT}"
    if not (x.ndim == y.ndim == 2 and x.dtype == y.dtype == np.float64 and len(x) == len(y) > 0):
        return (
            f"x is {x.shape} of {x.dtype} and y {y.shape} of {y.dtype}, "
            "expected two float64 tables with equal numbers of rows"
        )
    units = arrays.get("units")
    if units is not None and (units.shape != (len(x),) or not np.issubdtype(units.dtype, np.integer)):
        return f"units is {units.shape} of {units.dtype}, expected one whole number per row"
    if not ((is_stored(x) or np.isfinite(x).all()) and np.isfinite(y).all()):
        return "x or y holds a number that is not finite"
    for key, width in (("feature_names", x.shape[1]), ("target_names", y.shape[1])):
        if not isinstance(names.get(key), list) or len(names[key]) != width:
            return f"{key} does not name the {width} columns"
    shape = names.get("input_shape")
    if shape is not None and not (
        isinstance(shape, list)
        and shape
        and all(type(n) is int and n > 0 for n in shape)
        and math.prod(shape) == x.shape[1]
    ):
        return f"input_shape {shape!r} does not hold the {x.shape[1]} columns"
    if names.get("rate") is not None and not (isinstance(names["rate"], float) and names["rate"] > 0):
        return f"rate is {names['rate']!r}, expected a number above 0"
    parts = [arrays[p] for p in _PARTS]
    needed = parts[2:] if names.get("held_out_only") is True else parts  # a bundle holds no training rows
    if any(p.ndim != 1 or not np.issubdtype(p.dtype, np.integer) for p in parts) or not all(len(p) for p in needed):
        return "a part of the split is empty or holds no row numbers"
    return "" if _is_partition(parts, len(x)) else "its split is not a partition of its rows"


def _is_partition(parts: Sequence[np.ndarray], n: int) -> bool:
    """Whether every number from 0 to n - 1 is in one part, once."""
    if sum(map(len, parts)) != n or any(len(p) and (p.min() < 0 or p.max() >= n) for p in parts):
        return False
    seen = np.zeros(n, dtype=bool)
    for part in parts:
        seen[part] = True
    return bool(seen.all())


def save_predictions(
    path: str | Path,
    y: np.ndarray,  # [N, o] raw units
) -> Path:
    """Write a model's predictions for all rows of the table."""
    path = Path(path)
    with write_atomic(path) as temporary:
        np.savez(temporary, y=np.asarray(y, dtype=np.float64))
    return path


def load_predictions(path: str | Path, shape: tuple[int, int] | None = None) -> np.ndarray:
    """Read predictions [N, o], float64, raw units; another shape than ``shape`` is a :class:`RunFolderError`."""
    remedy = "Make it again with --force on the command that wrote it."
    y = read_npz(path, ("y",), RunFolderError, remedy)["y"]
    if y.ndim != 2 or y.dtype != np.float64 or (shape is not None and y.shape != tuple(shape)):
        raise RunFolderError(
            f"'{path}' holds predictions {y.shape} of {y.dtype}, expected "
            f"{tuple(shape) if shape else '[N, o]'} of float64.",
            remedy,
        )
    return y
