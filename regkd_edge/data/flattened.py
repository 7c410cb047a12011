"""From arrays, recordings and images to a :class:`Table` whose rows are flattened examples of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..config import DataConfig
from ..errors import DataError
from ..io.memory import require_memory
from .checks.problems import require_numbers
from .checks.ranges import COARSE, LARGEST, range_problem
from .reading.examples import Cut, Examples, element_names
from .sources import columns_aside, only_column, read_source, require_column, texts_of
from .stored import StoredRows, fits_in_memory, is_large, moments_of
from .table import Table

__all__ = ["joined_cut", "notes_of_examples", "read_examples"]

_BLOCK = 1 << 22  # numbers that are checked at a time


def read_examples(config: DataConfig, source: str | Path, held_out: bool = False) -> Table:
    """Read one source of examples as ``config`` says; ``held_out``: it is the test data.

    Raises
    ------
    DataError
        Labels that do not fit, files that cannot be read, examples of different shapes, values that are not finite.
    """
    path = Path(source)
    if not path.exists():
        raise DataError(f"no file or folder '{path}'.", "Give the path of an array, a recording or a folder.")
    for option in ("whole", "categorical"):
        if getattr(config, option):
            raise DataError(f"--{option} is about columns of a table, and '{path}' holds none.", f"Omit --{option}.")
    if config.blanks == "mean":
        raise DataError(f"--blanks mean fills columns of a table, and '{path}' holds none.", "Use --blanks drop.")
    examples, rate = read_source(config, path, held_out)
    known = examples.beside.known
    frame, source = examples.beside, examples.source
    unknown = [name for name in config.drop if name not in frame.left_out and name in frame.names]
    for name in unknown:
        frame.without_column(name)
    wanted = list(config.target) or [name for name in known if name not in config.drop]
    wanted = wanted or only_column(config, frame, columns_aside(config))
    for name in wanted:
        require_column(frame, "target", name)
    beside = {}
    for name in columns_aside(config):
        if name in frame.names or not held_out:
            require_column(frame, "group" if name == config.group else "split-column", name)
            beside[name] = texts_of(frame, name)
    for name in [name for name in frame.names if name not in wanted]:
        frame.without_column(name)
    if examples.cut is None:
        require_numbers(frame, wanted, config.blanks)
    y = frame.values if frame.names == wanted else frame.values[:, [frame.names.index(name) for name in wanted]]
    whole = ~np.isnan(y).any(axis=1)
    finite = _finite(examples)
    if not finite.all() and config.blanks != "drop":
        row = int(np.argmin(finite))
        raise DataError(
            f"'{source}': {int((~finite).sum()):,} of {len(finite):,} examples hold values that are not finite (first: "
            f"example {row}).",
            "Correct them, or leave these examples out: --blanks drop.",
        )
    whole &= finite
    kept = None if len(whole) and whole.all() else np.flatnonzero(whole)  # None: all, which are not copied
    warnings = list(examples.notes)
    if kept is not None:
        what = "windows" if examples.cut is not None else "examples"
        warnings.append(f"{len(y) - len(kept):,} of {len(y):,} {what} with missing values are left out")
    x: np.ndarray | StoredRows
    if _stays_in_file(examples):
        x = StoredRows(examples.x, kept)
    else:
        if kept is not None:
            examples.take(kept)
        x = np.ascontiguousarray(examples.x, dtype=np.float64).reshape(len(examples), -1)
    y = np.ascontiguousarray(y if kept is None else y[kept])
    _check_targets(source, wanted, y, varying=not held_out)
    if kept is not None:
        beside = {name: [cells[i] for i in kept] for name, cells in beside.items()}
    shape = examples.shape
    return Table(
        x, y, element_names(shape), wanted, source, warnings, aside=beside,
        input_shape=shape if len(shape) > 1 else None,
        cut=examples.cut, rate=rate,
        large=isinstance(x, StoredRows) and is_large(len(examples), int(np.prod(shape))),
    )  # fmt: skip


def notes_of_examples(x: np.ndarray | StoredRows) -> list[str]:  # [N, d]
    """What is noteworthy about the values of examples; equal ones throughout are a :class:`DataError`."""
    found = moments_of(x)
    constant = found.low == found.high
    if constant.all():
        raise DataError("all examples are equal, expected values that vary.", "Give other examples.")
    notes = []
    if constant.any():
        notes.append(f"{int(constant.sum()):,} of {len(constant):,} numbers of an example never change")
    size = float(max(np.abs(found.low).max(), np.abs(found.high).max()))
    spread = float(np.sqrt((found.deviation**2 + (found.mean - found.mean.mean()) ** 2).mean()))
    if spread < COARSE * size:
        notes.append(
            f"the examples vary by only {spread / size:.1e} of their size, which float32 engines resolve coarsely: "
            "subtract an offset first"
        )
    return notes


def _stays_in_file(examples: Examples) -> bool:
    """Whether the examples are too many for memory and lie in a file in an order that can be read by rows."""
    large = not fits_in_memory(len(examples), int(np.prod(examples.shape)))
    if large and isinstance(examples.x, np.memmap) and examples.x.flags.c_contiguous:
        return True
    if large:
        require_memory(
            20 * examples.x.size,
            f"reading {len(examples):,} examples of '{examples.source}'",
            "Save them with numpy.save or numpy.savez in C order, uncompressed: then they stay in their file.",
            DataError,
        )
    return False


def _finite(examples: Examples) -> np.ndarray:  # bool [N]
    """Which examples hold finite values alone; beyond the range of a float32 engine is a :class:`DataError`."""
    x, finite = examples.x, np.ones(len(examples.x), dtype=bool)
    step = max(1, _BLOCK // max(1, int(np.prod(examples.shape))))
    if x.dtype.kind not in "f":
        return finite
    rows = StoredRows(x) if _stays_in_file(examples) else None
    for begin in range(0, len(x), step):
        part = x[begin : begin + step] if rows is None else rows.raw(slice(begin, begin + step))
        part = part.reshape(-1, int(np.prod(examples.shape)))
        finite[begin : begin + step] = np.isfinite(part).all(axis=1)
        with np.errstate(invalid="ignore"):
            large = np.abs(part) > LARGEST
        if (large & np.isfinite(part)).any():
            row = begin + int(np.argmax((large & np.isfinite(part)).any(axis=1)))
            raise DataError(
                f"'{examples.source}': example {row} has values beyond {LARGEST:g}, the range of a float32 engine.",
                "Use another unit.",
            )
    return finite


def _check_targets(source: str, names: Sequence[str], y: np.ndarray, varying: bool) -> None:
    for name, values in zip(names, y.T):
        problem = range_problem(source, name, values)
        if problem is not None:
            raise problem
        if varying and values.min() == values.max():
            raise DataError(
                f"target '{name}' of '{source}' is constant ({values[0]:g}), expected values that vary.",
                "Choose another target or another file.",
            )


def joined_cut(one: Table, other: Table) -> Cut | None:
    """Windows of two sources as one."""
    if one.cut is None or other.cut is None:
        return None
    if one.rate != other.rate:
        raise DataError(
            f"'{one.source}' has {one.rate:g} samples per second and '{other.source}' {other.rate:g}.",
            "Resample them to one rate.",
        )
    return one.cut.joined(other.cut)
