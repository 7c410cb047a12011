"""A table of numbers with named inputs and targets, from a file or a bundled set."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..config import DataConfig
from ..config.problems import validated
from ..errors import DataError
from .checks.problems import require_numbers
from .checks.ranges import coarse_or_constant, require_ranges
from .checks.relations import copied_inputs, given_away, later_targets
from .checks.row_labels import column_that_counts
from .checks.suspicious import suspicious_values
from .columns import Columns
from .encode import Category, expand, to_codes
from .reading import BUNDLED, Frame, read_frame
from .reading.examples import Cut
from .stored import is_stored, moments_of
from .typed import named_option
from .wanted import parted, shown

__all__ = [
    "BUNDLED", "Table", "check_values", "load_table", "no_row_left", "read_table", "require_dropped", "said_of",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Table:
    """Rows in raw units.

    Parameters
    ----------
    x : float64 array [N, d]
        Or a :class:`~regkd_edge.data.stored.StoredRows` that stands for one.
    y : float64 array [N, o]
    feature_names, target_names : lists of str, lengths d and o
    source : str
        The file or bundled set it came from.
    warnings : list of str
        What is allowed but noteworthy: constant columns, columns that float32 resolves coarsely, numbers that do
        not look like measurements.
    labelled : bool
        Whether y holds labels; False where there are none and a teacher's answers stand in their place.
    columns : Columns, optional
        Kind of each input, with declared kinds; by default inferred from the rows alone.
    aside : dict of str to list of str, length N
        Columns that are not inputs: the unit or the part of the split that a row belongs to.
    input_shape : tuple of int, optional
        Shape of a row that is a tensor (channels x length, channels x height x width, time x features): its numbers
        are the d columns in C order.
    cut : Cut, optional
        Where the examples are windows of recordings.
    rate : float, optional
        Samples per second of these recordings.
    large : bool
        Whether validation and test are limited to some thousand rows (:func:`~regkd_edge.data.stored.is_large`).
    """

    x: np.ndarray
    y: np.ndarray
    feature_names: list[str]
    target_names: list[str]
    source: str
    warnings: list[str] = field(default_factory=list)
    columns: Columns | None = None
    labelled: bool = True
    aside: dict[str, list[str]] = field(default_factory=dict)
    input_shape: tuple[int, ...] | None = None
    cut: Cut | None = None
    rate: float | None = None
    large: bool = False

    def take(self, rows: np.ndarray) -> Table:
        """The same with some of its rows."""
        return replace(
            self,
            x=self.x.take(rows) if is_stored(self.x) else self.x[rows],
            y=self.y[rows],
            aside={name: [cells[i] for i in rows] for name, cells in self.aside.items()},
            cut=None if self.cut is None else self.cut.take(rows),
        )

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


def load_table(source: str | Path, target: Sequence[str] = (), **options: Any) -> Table:
    """Read a table and divide its columns into inputs and targets.

    Parameters
    ----------
    source : str or path
        A text table (commas, semicolons, tabs, bars or spaces; also compressed), an Excel, Parquet, NPZ, NPY or MAT
        file, or one of :data:`BUNDLED`. An NPZ file holds either ``x`` [N, d] and ``y`` [N, o] (with ``feature_names``
        and ``target_names`` if wanted), or one vector [N] per column.
    target : sequence of str
        Names of the target columns, in the desired order. A bundled set and an NPZ file with ``y`` name their own;
        every other source needs this. All other columns are inputs.
    **options
        Fields of :class:`regkd_edge.config.DataConfig` that say how the table is read: ``drop``, ``missing``,
        ``blanks``, ``separator``, ``decimal``, ``thousands``, ``header``, ``whole``, ``categorical``.

    Raises
    ------
    DataError
        A missing file or column, text, not-a-number or infinity in a cell, a constant target, and the like.
    NotAvailable
        The library that reads this kind of file is not installed.
    """
    wanted = [target] if isinstance(target, str) else list(target)
    config = validated(DataConfig, {"data": str(source), "target": wanted, **options}, f"options of '{source}'")
    if config.blanks == "mean":
        raise DataError("blanks='mean' needs the training rows.", "Use prepare(), which splits the table first.")
    table, categories = read_table(config, source)
    return finished(table, categories, config)


def read_table(
    config: DataConfig, source: str | Path, like: list[Category] | None = None, folder: str | Path | None = None
) -> tuple[Table, list[Category]]:
    """Read one file as ``config`` says; words are codes still, and cells to be filled are not-a-number.

    Parameters
    ----------
    like : list of Category, optional
        The categories of another file, whose codes are used here too.
    folder : path, optional
        Where the rows of a table that is larger than memory may be stored; without it every table is read as a whole.
    """
    from .flattened import read_examples
    from .sources import holds_examples, text_format

    if holds_examples(config, source):
        if config.time:
            raise DataError(
                f"'{source}' holds examples without columns, and time names a column ('{config.time}').", "Omit --time."
            )
        return read_examples(config, source, held_out=like is not None), []
    aside = [name for name in (config.group, config.split_column, config.time) if name]
    held_out = like is not None
    form = text_format(config)
    texts = [*config.categorical, *aside]
    if folder is not None:
        from .large import large_table

        large = large_table(config, source, form, texts, Path(folder))
        if large is not None:
            return large
    frame = read_frame(source, form, skip=config.drop, texts=texts)
    if not held_out:
        require_dropped(frame, config)
    wanted, inputs = parted(frame, config, aside_needed=not held_out)
    aside = [name for name in aside if name in frame.names]
    beside = {name: _texts(frame, name) for name in aside}
    for name in aside:
        frame.without_column(name)
    categories = [to_codes(frame, name, like) for name in config.categorical if name in frame.odd]
    _in_order(frame, inputs + wanted)
    require_numbers(frame, wanted, config.blanks, lambda: _row_numbers(frame))
    rows = _with_values(frame, config, len(wanted))
    count = len(frame.values)
    warnings = list(frame.notes)
    if len(rows) < count:
        frame.values = frame.values[rows]
        beside = {name: [cells[i] for i in rows] for name, cells in beside.items()}
        warnings.append(f"{count - len(rows):,} of {count:,} rows with missing values are left out")
    d = len(inputs)
    x, y = np.ascontiguousarray(frame.values[:, :d]), np.ascontiguousarray(frame.values[:, d:])
    frame.values = np.empty((0, len(frame.names)))  # a view would keep the whole
    check_values(str(source), inputs, wanted, x, y, varying=not held_out)
    warnings += [f"stored target '{name}' is not used" for name in frame.known if name not in wanted]
    warnings += suspicious_values(frame.dotted, x, y, inputs, wanted)
    return Table(x, y, inputs, wanted, str(source), warnings, aside=beside), categories


def require_dropped(frame: Frame, config: DataConfig) -> None:
    """Refuse a column to be dropped that is not there."""
    unknown = [name for name in config.drop if name not in frame.left_out]
    if unknown:
        near = difflib.get_close_matches(unknown[0], frame.names, n=1)
        raise DataError(
            f"--drop names '{unknown[0]}', which is not a column of '{frame.source}'.",
            f"Did you mean '{near[0]}'?" if near else f"Its columns are: {shown(frame.names)}.",
        )


def _row_numbers(frame: Frame) -> list[str]:
    """Columns of whole numbers that count the rows; an even axis of times is left to the user."""
    counting = column_that_counts(frame.names, frame.values)
    return [name for name in counting if (frame.values[:2, frame.names.index(name)] % 1 == 0).all()]


def _in_order(frame: Frame, names: list[str]) -> None:
    """Keep the columns ``names`` in this order; nothing is copied where they stand so."""
    if names != frame.names:
        place = {name: j for j, name in enumerate(frame.names)}
        frame.values = frame.values[:, [place[name] for name in names]]
        frame.names = names


def finished(table: Table, categories: list[Category], config: DataConfig) -> Table:
    """Words become one input each, and every input gets its kind."""
    if table.input_shape is not None:
        from .flattened import notes_of_examples

        return replace(table, warnings=[*table.warnings, *notes_of_examples(table.x)])
    if is_stored(table.x):
        from .large import looked_through

        return looked_through(table, categories, config)
    x, names, groups = expand(table.x, table.feature_names, categories)
    worded = {category.name for category in categories}
    coded = [name for name in config.categorical if name not in worded]
    warnings = [*table.warnings, *map(said_of, categories)]
    if config.input_shape is not None:  # images or signals: no number is a code, and a constant one is a border
        columns = Columns.of_tensors(x, names)
        warnings += given_away(x, table.y, names, table.target_names)
        return replace(table, x=x, feature_names=names, warnings=warnings, columns=columns)
    warnings += coarse_or_constant(moments_of(x), names) + copied_inputs(x, names)
    warnings += given_away(x, table.y, names, table.target_names)
    warnings += later_targets(x, table.y, names, table.target_names)
    columns = Columns.detect(x, names, config.whole, coded, groups)
    return replace(table, x=x, feature_names=names, warnings=warnings, columns=columns)


def _texts(frame: Frame, name: str) -> list[str]:
    """The cells of a column as labels; equal numbers give equal labels however they were written."""
    values = frame.values[:, frame.names.index(name)]
    if name in frame.odd:
        return frame.texts[name]
    return ["" if np.isnan(value) else f"{value:.17g}" for value in values]


def _with_values(frame: Frame, config: DataConfig, targets: int) -> np.ndarray:
    """The rows that are kept: with ``drop`` those without a blank cell, with ``mean`` those with a target."""
    blank = np.isnan(frame.values[:, -targets:] if config.blanks == "mean" else frame.values).any(axis=1)
    rows = np.flatnonzero(~blank)
    if not len(rows):
        raise no_row_left(frame.source, frame.names[int(np.argmax(np.isnan(frame.values).sum(axis=0)))])
    return rows


def said_of(category: Category) -> str:
    """Say what the words of a column become."""
    shown = ", ".join(category.inputs[:4]) + (", ..." if len(category.inputs) > 4 else "")
    return f"input '{category.name}' becomes {len(category.inputs)} inputs of 0 or 1: {shown}"


def no_row_left(source: str, worst: str) -> DataError:
    """Every row has a blank cell, most of them in the column ``worst``."""
    return DataError(
        f"every row of '{source}' has a missing value (most of them in '{worst}').",
        f"Add: {named_option('drop', [worst])} (or --blanks mean).",
    )


def check_values(
    source: str, inputs: list[str], targets: list[str], x: np.ndarray, y: np.ndarray, varying: bool
) -> None:
    """Refuse columns beyond the range of float32 engines; where they should vary, constant targets."""
    require_ranges(source, inputs, x)
    require_ranges(source, targets, y)
    if not varying:
        return
    for name, v in zip(targets, y.T):
        if len(v) == 1:
            raise DataError(
                f"'{source}' has one row, expected enough for training, validation and test.", "Give more rows."
            )
        if v.min() == v.max():
            raise DataError(
                f"target '{name}' of '{source}' is constant ({v[0]:g}), expected values that vary.",
                "Choose another target or another file.",
            )
