"""A table of numbers with named inputs and targets, from a file or a bundled set."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import DataError, NotAvailable
from ..io.reading import archive_problem
from .columns import Columns
from .csv_reader import read_csv

__all__ = ["BUNDLED", "Table", "load_table"]

#: Real sets that come with scikit-learn, without a download.
BUNDLED = ("digits", "diabetes")

# Engines take raw values as float32: beyond this the values, squares or reciprocals leave its range.
_LARGEST, _SMALLEST = 1e30, 1e-30
# A column that varies by less than this share of its size keeps fewer than about 7 bits in float32.
_COARSE = 1e-5


@dataclass(frozen=True, eq=False)
class Table:
    """Rows in raw units.

    Parameters
    ----------
    x : float64 array [N, d]
    y : float64 array [N, o]
    feature_names, target_names : lists of str, lengths d and o
    source : str
        The file or bundled set it came from.
    warnings : list of str
        What is allowed but noteworthy (constant columns, columns that float32 resolves coarsely).
    labelled : bool
        Whether y holds labels; False where there are none and a teacher's answers stand in their place.
    columns : Columns, optional
        Kind of each input, with declared kinds; by default inferred from the rows alone.
    """

    x: np.ndarray
    y: np.ndarray
    feature_names: list[str]
    target_names: list[str]
    source: str
    warnings: list[str] = field(default_factory=list)
    columns: Columns | None = None
    labelled: bool = True

    @property
    def d(self) -> int:
        """Number of inputs."""
        return self.x.shape[1]

    @property
    def o(self) -> int:
        """Number of targets."""
        return self.y.shape[1]

    def __len__(self) -> int:
        return len(self.x)


def load_table(
    source: str | Path,
    target: Sequence[str] = (),
    *,
    whole: Sequence[str] = (),
    categorical: Sequence[str] = (),
) -> Table:
    """Read a table and divide its columns into inputs and targets.

    Parameters
    ----------
    source : str or path
        A CSV, Parquet (``.parquet``, ``.pq``) or NPZ file, or one of :data:`BUNDLED`. An NPZ file holds either ``x``
        [N, d] and ``y`` [N, o] (optionally ``feature_names`` and ``target_names``), or one vector [N] per column.
    target : sequence of str
        Names of the target columns, in the desired order. A bundled set and an NPZ file with ``y`` name their own;
        every other source needs this. All other columns are inputs.
    whole, categorical : sequences of str
        Inputs that are declared to be whole numbers, and codes; see :class:`Columns`.

    Raises
    ------
    DataError
        A missing file or column, text, NaN or infinity in a cell, a constant target, and the like.
    NotAvailable
        The library that reads this kind of file is not installed.
    """
    table = _load(source, target)
    return replace(table, columns=Columns.detect(table.x, table.feature_names, whole, categorical))


def _load(source: str | Path, target: Sequence[str]) -> Table:
    name = str(source)
    wanted = [target] if isinstance(target, str) else list(target)
    if name in BUNDLED:
        names, values, known = _bundled(name)
        return _table(name, names, values, wanted or known, known, lambda row: f"row {row + 1}")
    path = Path(source)
    if not path.exists():
        raise DataError(f"no file '{path}'.", _near_files(path))
    if path.is_dir():
        raise DataError(f"'{path}' is a folder, expected a data file.", "Give the path of a CSV, Parquet or NPZ file.")
    suffix = path.suffix.lower()
    if suffix == ".npz":
        names, values, known = _npz(path)
        return _table(str(path), names, values, wanted or known, known, lambda row: f"row {row + 1}")
    if suffix in (".parquet", ".pq"):
        names, values = _parquet(path)
        return _table(str(path), names, values, wanted, [], lambda row: f"row {row + 1}")
    names, values, lines = read_csv(path)
    return _table(str(path), names, values, wanted, [], lambda row: f"line {lines[row]}")


def _near_files(path: Path) -> str:
    folder = path.parent
    near = difflib.get_close_matches(path.name, [p.name for p in folder.iterdir()], n=1) if folder.is_dir() else []
    if near:
        return f"Did you mean '{folder / near[0]}'?"
    return f"Give the path of a CSV, Parquet or NPZ file, or a bundled set: {', '.join(BUNDLED)}."


def _table(
    source: str, names: list[str], values: np.ndarray, wanted: list[str], known: list[str], place: Callable[[int], str]
) -> Table:
    shown = ", ".join(names[:20]) + (f", ... ({len(names)} in all)" if len(names) > 20 else "")
    if not wanted:
        raise DataError(f"no target named for '{source}'.", f"Give --target with one or more of its columns: {shown}.")
    for i, name in enumerate(wanted):
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            remedy = f"Did you mean '{near[0]}'?" if near else f"Its columns are: {shown}."
            holding = next((n for n in names if "," in n and name in (part.strip() for part in n.split(","))), None)
            if holding is not None:
                remedy = f"""Write a name that holds a comma in double quotes: --target '"{holding}"'."""
            raise DataError(f"'{source}' has no column '{name}'.", remedy)
        if name in wanted[:i]:
            raise DataError(f"target '{name}' is named twice.", "Name each target once.")
    left_out = [
        name for name in known if name not in wanted
    ]  # a stored target that is not requested is not an input either
    inputs = [name for name in names if name not in wanted and name not in left_out]
    if not inputs:
        raise DataError(
            f"all {len(names)} columns of '{source}' are targets, expected at least one input.", "Name fewer targets."
        )
    column = {name: i for i, name in enumerate(names)}
    for name in inputs + wanted:
        _check_column(source, name, values[:, column[name]], place)
    x, y = values[:, [column[n] for n in inputs]], values[:, [column[n] for n in wanted]]
    warnings = [f"stored target '{name}' is not used" for name in left_out]
    warnings += [note for name, v in zip(inputs, x.T) if (note := _note(name, v))]
    for name, v in zip(wanted, y.T):
        if len(v) == 1:
            raise DataError(
                f"'{source}' has one row, expected enough for training, validation and test.", "Give more rows."
            )
        if v.min() == v.max():
            raise DataError(
                f"target '{name}' of '{source}' is constant ({v[0]:g}), expected values that vary.",
                "Choose another target or another file.",
            )
    return Table(np.ascontiguousarray(x), np.ascontiguousarray(y), inputs, wanted, source, warnings)


def _check_column(source: str, name: str, values: np.ndarray, place: Callable[[int], str]) -> None:
    bad = ~np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"'{source}' {place(row)}, column '{name}': met {values[row]:g}, expected a finite number ({int(bad.sum())} such cells in the column).",
            "Fill in or drop these rows.",
        )
    size, spread = np.abs(values).max(), values.max() - values.min()
    if size > _LARGEST or 0 < spread < _SMALLEST:
        met = f"values up to {size:g}" if size > _LARGEST else f"a spread of {spread:g}"
        raise DataError(
            f"column '{name}' of '{source}' has {met}, beyond the range of a float32 engine.",
            "Use another unit.",
        )


def _note(name: str, values: np.ndarray) -> str:
    spread = values.std()
    if values.min() == values.max():
        return f"input '{name}' is constant ({values[0]:g}) and carries no information"
    if spread < _COARSE * np.abs(values).max():
        return f"input '{name}' varies by only {spread / np.abs(values).max():.1e} of its size, which float32 engines resolve coarsely: subtract an offset first"
    return ""


def _bundled(name: str) -> tuple[list[str], np.ndarray, list[str]]:
    try:
        from sklearn import datasets
    except ImportError:
        raise NotAvailable(
            f"the bundled set '{name}' comes with scikit-learn, which is not installed.",
            "Run: pip install scikit-learn.",
        ) from None
    if name == "digits":  # scanned 8x8 digits as a regression on the value, as in Zhou & Chiam 2023's image experiment
        bunch, inputs, targets = (
            datasets.load_digits(),
            [f"pixel_{i}_{j}" for i in range(8) for j in range(8)],
            ["digit"],
        )
    else:  # in raw units: scikit-learn's default is scaled over all rows, including test rows
        bunch = datasets.load_diabetes(scaled=False)
        inputs, targets = list(bunch.feature_names), ["progression"]
    return inputs + targets, np.column_stack([bunch.data, bunch.target]).astype(np.float64), targets


def _npz(path: Path) -> tuple[list[str], np.ndarray, list[str]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
    except Exception as error:  # a damaged archive raises many types (zip, zlib, header, pickle refused)
        raise DataError(
            f"'{path}' is not a readable NPZ file: {archive_problem(path, error)}.",
            "Save plain number arrays with numpy.savez.",
        ) from None
    if {"x", "y"} <= set(arrays):
        parts = {"x": arrays["x"], "y": arrays["y"][:, None] if arrays["y"].ndim == 1 else arrays["y"]}
        names: list[str] = []
        for key, stored_names in (("x", "feature_names"), ("y", "target_names")):
            if parts[key].ndim != 2 or not np.issubdtype(parts[key].dtype, np.number):
                raise DataError(
                    f"'{path}': array '{key}' has shape {parts[key].shape} and type {parts[key].dtype}, expected numbers [N, columns]."
                )
            width = parts[key].shape[1]
            own = [
                str(n) for n in np.atleast_1d(arrays.get(stored_names, np.array([f"{key}{i}" for i in range(width)])))
            ]
            if len(own) != width:
                raise DataError(
                    f"'{path}': {len(own)} {stored_names} for {width} columns of '{key}'.", "Store one name per column."
                )
            names += own
        if len(parts["x"]) != len(parts["y"]) or len(parts["x"]) == 0:
            raise DataError(
                f"'{path}': x has {len(parts['x'])} rows and y {len(parts['y'])}, expected the same number, at least 1."
            )
        values = np.column_stack([parts["x"], parts["y"]])
        _check_unique(path, names)
        return names, _real(path, values), names[parts["x"].shape[1] :]
    if len(arrays) < 2 or any(a.ndim != 1 for a in arrays.values()) or len({len(a) for a in arrays.values()}) != 1:
        shapes = ", ".join(f"{key} {a.shape}" for key, a in list(arrays.items())[:8])
        raise DataError(
            f"'{path}' holds {shapes or 'nothing'}.", "Store x [N, d] and y [N, o], or one vector [N] per column."
        )
    for key, a in arrays.items():
        if not (np.issubdtype(a.dtype, np.number) or a.dtype == bool):
            raise DataError(
                f"'{path}', column '{key}': met values of type {a.dtype}, expected numbers.",
                "Encode text as numbers, or drop the column.",
            )
    values = np.column_stack(list(arrays.values()))
    if not len(values):
        raise DataError(f"'{path}' has no rows.", "Give a file with data in it.")
    return list(arrays), _real(path, values), []


def _parquet(path: Path) -> tuple[list[str], np.ndarray]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise NotAvailable(
            "Parquet files are read by pyarrow, which is not installed.",
            "Run: pip install 'regkd-edge[data]', or give a CSV file.",
        ) from None
    try:
        stored = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"'{path}' is not a readable Parquet file: {error}.", "Write it again.") from None
    names, columns = stored.column_names, []
    _check_unique(path, names)
    for name in names:
        kind = stored.schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise DataError(
                f"'{path}', column '{name}': met values of type {kind}, expected numbers.",
                "Encode text as numbers, or drop the column.",
            )
        columns.append(stored.column(name).cast(pa.float64(), safe=False).to_numpy() if not pa.types.is_boolean(kind)
                       else stored.column(name).cast(pa.int8()).cast(pa.float64()).to_numpy())  # fmt: skip
    if not columns or not len(columns[0]):
        raise DataError(f"'{path}' has no rows.", "Give a file with data in it.")
    return names, np.column_stack(columns).astype(np.float64)


def _check_unique(path: Path, names: list[str]) -> None:
    for i, name in enumerate(names):
        if name in names[:i]:
            raise DataError(
                f"'{path}': column '{name}' appears more than once.", "Rename or drop the duplicate columns."
            )


def _real(path: Path, values: np.ndarray) -> np.ndarray:
    if np.iscomplexobj(values):
        raise DataError(f"'{path}' holds complex numbers, expected real ones.")
    return values.astype(np.float64)
