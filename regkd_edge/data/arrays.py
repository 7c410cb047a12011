"""Rows from memory: arrays, torch tensors and data frames as float64 rows with column names."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import DataError
from ..io.memory import require_memory
from ..io.words import counted
from .reading.examples import element_names
from .split import Split
from .store import Dataset
from .table import Table

__all__ = ["as_rows", "as_targets", "dataset_of", "require_room", "require_shape", "shape_of"]

_MANY = 1 << 26  # numbers from which the free memory is looked at first
_EXACT = 2**53  # beyond it not every whole number is exact in float64


def shape_of(values: Any) -> list[int]:
    """Return the shape of anything array-like, for messages."""
    if hasattr(values, "shape"):
        return list(values.shape)
    try:
        return list(np.shape(values))
    except ValueError:  # rows of unequal length
        return [len(values)]


def require_room(x: Any) -> None:
    """Refuse rows [n, ...], a memory-mapped array as well, that do not fit in memory as float64 beside a copy."""
    shape = getattr(x, "shape", ())
    if math.prod(shape) >= _MANY:
        require_memory(
            2 * 8 * math.prod(shape),
            f"x of shape {list(shape)}, which is read as a whole,",
            "Rows of a file stay in it: regkd-edge distill RUN --teacher-from TEACHER --data x.npy --labels y.npy "
            "(numpy.save writes such files), or give fewer rows.",
            DataError,
        )


def as_rows(
    x: Any,
    *,
    names: Sequence[str] | None = None,
    width: int | None = None,
    shape: Sequence[int] | None = None,
    what: str = "x",
) -> tuple[np.ndarray, list[str] | None]:
    """Return rows ``[n, d]`` as float64, and the names of their columns if they have any.

    Parameters
    ----------
    x : array-like, torch tensor, or data frame of pandas or polars, [n, d]
        A data frame is recognised by its ``columns``; neither library is imported here.
    names : sequence of str, optional
        The required columns, in order. A data frame is reordered and may have further columns; other rows have no names
        and must have this number of columns.
    width : int, optional
        The required number of columns if there are no names. Rows that are
        tensors of as many numbers are flattened in C order.
    shape : sequence of int, optional
        Shape of a row that is a tensor: ``[n, *shape]`` is taken too, and flattened in C order.
    what : str
        What the rows are, for messages.

    Raises
    ------
    DataError
        Another rank or width, no rows, text or objects, numbers that are not finite, missing columns, or whole numbers
        that are not exact in float64.
    """
    found = None
    if _is_frame(x):
        found = [str(name) for name in x.columns]
        _require_unique(found, what)
        x = _frame_values(x, found, names, what)
        found = list(names) if names is not None else found
    elif hasattr(x, "detach"):  # a torch tensor, on any device, in any mode
        x = (
            x.detach().cpu().numpy()
            if str(getattr(x, "dtype", "")) != "torch.bfloat16"
            else x.detach().float().cpu().numpy()
        )
    values = _numbers(x, what)
    expected = len(names) if names is not None else width
    if shape is not None and values.ndim > 2:
        values = _flattened(values, shape, what)
    elif values.ndim > 2 and expected == math.prod(values.shape[1:]):  # what is flat reads images and signals flat
        values = values.reshape(len(values), -1)
    if values.ndim != 2:
        remedy = "Give a table [n, d]" + (
            f": x[:, None] for one input, x[None, :] for one row of {len(values)} inputs." if values.ndim == 1 else "."
        )
        raise DataError(f"{what} has shape {list(values.shape)}, expected 2 dimensions [n, d].", remedy)
    if expected is not None and values.shape[1] != expected:
        raise DataError(
            f"{what} has shape {list(values.shape)}: {values.shape[1]} columns, expected {expected}{_listed(names)}.",
            "Give the columns of the training, in order.",
        )
    if not len(values):
        raise DataError(f"{what} has shape {list(values.shape)}: it has no rows.", "Give at least one row.")
    _require_finite(values, found or names, what)
    return values, found


def as_targets(y: Any, rows: int, *, width: int | None = None, what: str = "y") -> tuple[np.ndarray, list[str] | None]:
    """Return targets ``[n, o]`` as float64 and their names; ``[n]`` is one target.

    Raises
    ------
    DataError
        As :func:`as_rows`, or another number of rows than ``rows``.
    """
    named = getattr(y, "name", None)
    if hasattr(y, "to_numpy") and not hasattr(y, "columns"):  # a series
        y = y.to_numpy()
    if not _is_frame(y) and len(shape_of(y)) == 1:
        y = y[:, None] if hasattr(y, "detach") else np.asarray(y)[:, None]
    values, names = as_rows(y, width=width, what=what)
    if len(values) != rows:
        raise DataError(
            f"{what} has {counted(len(values), 'row')} and x has {rows:,}.",
            "Give one target per row, in the same order.",
        )
    return values, names or ([str(named)] if isinstance(named, str) and values.shape[1] == 1 else None)


def dataset_of(
    x: Any,  # [n, d]
    y: Any,  # [n, o] or [n]
    *,
    labelled: bool = True,
    validation: float | tuple[Any, Any] = 0.15,
    seed: int = 0,
    feature_names: Sequence[str] | None = None,
    target_names: Sequence[str] | None = None,
    input_shape: Sequence[int] | None = None,
) -> Dataset:
    """Return rows in memory as a :class:`Dataset` of training and validation rows; it holds no test rows.

    Parameters
    ----------
    labelled : bool
        Whether y holds labels; False if it holds a teacher's answers.
    validation : float or (x, y)
        The share of the rows that selects the best state, at least one row; or separate rows.
    input_shape : sequence of int, optional
        Shape of a row that is a tensor; that of ``x`` where it has more than 2 dimensions.
    """
    if input_shape is None and not _is_frame(x) and len(shape_of(x)) > 2:
        input_shape = shape_of(x)[1:]
    inputs, names = as_rows(x, names=feature_names, shape=input_shape)
    require_shape(input_shape, inputs.shape[1], "x")
    targets, labels = as_targets(y, len(inputs))
    numbered = [f"x{j}" for j in range(inputs.shape[1])] if input_shape is None else element_names(tuple(input_shape))
    names = list(feature_names or names or numbered)
    plain = ["y"] if targets.shape[1] == 1 else [f"y{j}" for j in range(targets.shape[1])]
    labels = list(target_names or labels or plain)
    empty = np.arange(0, dtype=np.int64)
    if isinstance(validation, tuple):
        held, _ = as_rows(validation[0], names=names, shape=input_shape, what="x of validation")
        answers, _ = as_targets(validation[1], len(held), width=targets.shape[1], what="y of validation")
        order = np.arange(len(inputs) + len(held))
        parts = Split(order[: len(inputs)], order[len(inputs) :], empty)
        inputs, targets = np.concatenate([inputs, held]), np.concatenate([targets, answers])
    else:
        if not 0 < validation < 1:
            raise DataError(
                f"validation is {validation}, expected a share between 0 and 1, or rows (x, y).",
                "Give a share such as validation=0.15.",
            )
        parts = _validation_split(len(inputs), validation, seed)
    shape = None if input_shape is None else tuple(int(n) for n in input_shape)
    table = Table(inputs, targets, names, labels, "memory", [], labelled=labelled, input_shape=shape)
    return Dataset(table, parts)


def _validation_split(n: int, share: float, seed: int) -> Split:
    count = max(1, round(n * share))
    if n - count < 2:
        raise DataError(
            f"{n} rows are too few: {count} of them select the best state, which leaves {n - count} to train on, "
            "expected at least 2.",
            "Give more rows.",
        )
    order = np.random.Generator(np.random.PCG64(seed)).permutation(n).astype(np.int64)
    return Split(order[count:], order[:count], order[:0])


def _is_frame(x: Any) -> bool:
    return hasattr(x, "columns") and hasattr(x, "shape") and not isinstance(x, np.ndarray)


def _require_unique(names: list[str], what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{what} has the column '{twice[0]}' more than once.", "Rename or drop the duplicate columns.")


def _frame_values(frame: Any, found: list[str], names: Sequence[str] | None, what: str) -> np.ndarray:
    """Return the required columns of a data frame, each as numbers."""
    wanted = list(names) if names is not None else found
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(
            f"{what} lacks the column{'s' if len(missing) > 1 else ''} {', '.join(map(repr, missing[:6]))}; it has"
            f"{_listed(found)}.",
            "Give a data frame with the columns of the training.",
        )
    keys = {str(key): key for key in frame.columns}
    columns = [_numbers(np.asarray(frame[keys[name]]), f"column '{name}' of {what}") for name in wanted]
    return np.stack(columns, axis=1) if columns else np.empty((len(frame), 0))


def _numbers(x: Any, what: str) -> np.ndarray:
    """Return any array of numbers as float64, with exact values."""
    try:
        values = np.asarray(x)
    except ValueError as error:  # ragged lists
        raise DataError(
            f"{what} is not an array of numbers: {str(error).rstrip('.')}.", "Give rows of equal length."
        ) from None
    if values.dtype.kind in "OUS":
        try:
            values = np.array(values.tolist(), dtype=np.float64) if values.dtype.kind == "O" else None
        except (TypeError, ValueError):
            values = None
        if values is None:
            flat = np.asarray(x).reshape(-1)
            met = next(
                (v for v in flat if not isinstance(v, (int, float, np.number, bool))), flat[0] if len(flat) else ""
            )
            met = met.item() if isinstance(met, np.generic) else met
            raise DataError(
                f"{what} holds {met!r} of type {type(met).__name__}, expected numbers.",
                "Encode text and categories as numbers, or drop the column.",
            )
    if values.dtype.kind not in "biuf":
        raise DataError(f"{what} is of type {values.dtype}, expected real numbers.", "Convert it to float64.")
    if values.dtype.kind in "iu" and values.size and (values.max() > _EXACT or values.min() < -_EXACT):
        raise DataError(
            f"{what} holds {values.flat[int(np.argmax(np.abs(values.astype(np.float64))))]}, beyond 2**53: float64 "
            "does not hold such whole numbers exactly.",
            "Drop the column if it is an identifier, or subtract an offset.",
        )
    return values.astype(np.float64)


def require_shape(shape: Sequence[int] | None, width: int, what: str) -> None:
    """Refuse the shape of a row that does not hold its ``width`` numbers."""
    if shape is not None and int(np.prod(shape)) != width:
        raise DataError(
            f"a row of {what} has {width} numbers, and the input shape {_times(shape)} holds {int(np.prod(shape))}.",
            "Give a shape whose sizes multiply to the number of columns (--input-shape, input_shape= in Python).",
        )


def _flattened(values: np.ndarray, shape: Sequence[int], what: str) -> np.ndarray:  # [n, *shape] -> [n, d]
    if list(values.shape[1:]) != list(shape):
        raise DataError(
            f"{what} has shape {list(values.shape)}, expected rows of shape {_times(shape)}.",
            "Give rows of the shape of the training.",
        )
    return values.reshape(len(values), int(np.prod(shape)))


def _times(shape: Sequence[int]) -> str:
    return "x".join(str(n) for n in shape)


def _require_finite(values: np.ndarray, names: Sequence[str] | None, what: str) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        row, column = (int(v) for v in np.argwhere(bad)[0])
        where = f"column '{names[column]}'" if names is not None and len(names) > column else f"column {column}"
        raise DataError(
            f"{what} of shape {list(values.shape)} holds {values[row, column]} in row {row}, {where} "
            f"({int(bad.sum())} such values in all).",
            "Fill in or drop these rows.",
        )


def _listed(names: Sequence[str] | None) -> str:
    if not names:
        return ""
    return f" ({', '.join(list(names)[:8])}{', ...' if len(names) > 8 else ''})"
