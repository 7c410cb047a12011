"""Tables larger than memory: a CSV or Parquet file is read once, in parts, into a file of float64 rows.

The rows, their order and the refusals are those of a table in memory.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..config import DataConfig
from ..errors import DataError
from .checks.problems import require_numbers
from .checks.ranges import LARGEST, range_problem
from .encode import Category, expand
from .reading import (
    Frame,
    Odd,
    StreamedParquet,
    StreamedText,
    TextFormat,
    empty_rows,
    leave_out_nameless,
    mark_missing,
    note_on_empty,
)
from .reading.fast import NotPlain
from .stored import StoredRows

__all__ = ["Streamed", "read_streamed"]

_REPORTED = 100_000  # rows with a problem after which the reading stops
_FIRST = 1000  # rows that a message looks at beside those with a problem


@dataclass(eq=False)
class Streamed:
    """Rows [N, d] in a file, with the words of a category as columns of 0 or 1, and what belongs to them.

    Parameters
    ----------
    x : StoredRows [N, d]
    y : float64 array [N, o]
    names : list of str, length d
    aside : dict of str to list of str, length N
    categories : list of Category
    groups : list of tuples of int
        Columns of x that are the words of one category.
    notes : list of str
    """

    x: StoredRows
    y: np.ndarray
    names: list[str]
    aside: dict[str, list[str]]
    categories: list[Category]
    groups: list[tuple[int, ...]]
    notes: list[str]


def read_streamed(
    file: StreamedText | StreamedParquet,
    config: DataConfig,
    form: TextFormat,
    inputs: Sequence[str],
    targets: Sequence[str],
    folder: Path,
) -> Streamed:
    """Read a table into a file of ``folder`` that goes when the rows are no longer in use.

    Raises
    ------
    DataError
        What a table in memory is refused for; blank cells to be filled, which need the rows in memory; a full disk.
    """
    if config.blanks == "mean":
        raise DataError(
            f"'{file.frame.source}' is larger than memory, and blank cells are filled in memory alone.",
            "Use --blanks drop, or fill the cells in the file.",
        )
    with contextlib.suppress(
        NotPlain
    ):  # known at any row: what was written until then goes, with the error that holds it
        return _Reading(file, config, form, list(inputs), list(targets), folder).of(file.plain_parts())
    words = _words(file, config, form)
    return _Reading(file, config, form, list(inputs), list(targets), folder, words).of(file.parts())


def _words(file: StreamedText | StreamedParquet, config: DataConfig, form: TextFormat) -> list[Category]:
    """The words of the columns that are declared categorical, by a pass over the file; none of a column of codes."""
    if not config.categorical:
        return []
    found: dict[str, set[str]] = {name: set() for name in config.categorical}
    worded = set()
    for part in file.parts():
        mark_missing(part, form)
        worded |= set(part.odd)
        for name, words in found.items():
            words |= set(part.texts.get(name, ()))
    return [Category.of(file.frame.source, name, words) for name, words in found.items() if name in worded]


@dataclass(eq=False)
class _Reading:
    """One pass over the file."""

    file: StreamedText | StreamedParquet
    config: DataConfig
    form: TextFormat
    inputs: list[str]
    targets: list[str]
    folder: Path
    categories: list[Category] = field(default_factory=list)
    nameless: list[str] | None = None  # columns that are left out, known after the first part
    notes: list[str] = field(default_factory=list)
    read: int = 0  # rows of the file so far
    empty: int = 0  # of them, without a cell that holds anything
    bad: int = 0  # of them, with a problem
    blank: np.ndarray | int = 0  # [c] cells of each column without a number
    shown: list[tuple[np.ndarray, Frame]] = field(default_factory=list)  # rows for a message, and where they are
    beyond: dict[str, list[np.ndarray]] = field(default_factory=dict)  # values out of range, by column

    def of(self, parts: Iterator[Frame]) -> Streamed:
        """Read all parts."""
        config, x = self.config, None
        labels = {name: _Labels() for name in (config.group, config.split_column, config.time) if name}
        names: list[str] = []
        groups: list[tuple[int, ...]] = []
        ys: list[np.ndarray] = []
        for part in parts:
            kept = self._kept(part, labels)
            if self.bad > _REPORTED:
                break
            if self.bad:
                continue  # all that is wrong is said, and nothing is stored
            values = part.values[kept]
            block, names, groups = expand(values[:, : len(self.inputs)], self.inputs, self.categories)
            x = StoredRows.empty(self.folder, block.shape[1]) if x is None else x
            if len(block):
                x.append(block)
            ys.append(values[:, len(self.inputs) :].copy())
            for one in labels.values():
                one.keep(kept)
        if self.bad or x is None or not len(x):
            self._refuse()
        if x is None or not len(x):
            raise self._nothing()
        for name, values in self.beyond.items():
            if (problem := range_problem(self.file.frame.source, name, np.concatenate(values))) is not None:
                raise problem
        whole = self.read - self.empty
        notes = [*self.file.frame.notes, *self.notes]
        notes += [note_on_empty(self.empty)] if self.empty else []
        left = whole - len(x)
        notes += [f"{left:,} of {whole:,} rows with missing values are left out"] if left else []
        aside = {name: one.cells() for name, one in labels.items()}
        return Streamed(x, np.concatenate(ys), names, aside, self.categories, groups, notes)

    def _kept(self, part: Frame, labels: dict[str, _Labels]) -> np.ndarray:  # bool [n]
        """Bring a part into the order of inputs and targets, and say which of its rows are kept."""
        place = np.arange(self.read, self.read + len(part.values))
        first = not self.read
        self.read += len(part.values)
        mark_missing(part, self.form)
        if self.nameless is None:
            before = list(part.names)
            leave_out_nameless(part)
            self.nameless, self.notes = [name for name in before if name not in part.names], list(part.notes)
            self.inputs = [name for name in self.inputs if name not in self.nameless]
        for name in self.nameless:
            if name in part.names:
                part.without_column(name)
        empty = empty_rows(part)
        if empty.any():
            part.without_rows(empty)
            place = place[~empty]
            self.empty += int(empty.sum())
        for name, one in labels.items():
            one.take(part, name)
            part.without_column(name)
        for category in self.categories:
            part.values[:, part.names.index(category.name)] = category.codes(part.texts[category.name])
            part.odd.pop(category.name, None)
        number = {name: j for j, name in enumerate(part.names)}
        order = [number[name] for name in (*self.inputs, *self.targets)]
        part.values, part.names = part.values[:, order], [part.names[j] for j in order]
        blank = np.isnan(part.values)
        self.blank = self.blank + blank.sum(axis=0)
        bad = np.isinf(part.values).any(axis=1)
        for name in part.names:
            bad[np.array(part.odd[name].rows if name in part.odd else (), dtype=np.int64)] = True
        gaps = blank.any(axis=1)
        bad |= gaps & (self.config.blanks == "refuse")
        self.bad += int(bad.sum())
        told = bad | ((np.arange(len(bad)) < _FIRST) & first)
        if told.any():
            some = Frame(
                part.source, list(part.names), part.values, {n: o for n, o in part.odd.items() if n in part.names}
            )
            some.take(np.flatnonzero(told).tolist())
            self.shown.append((place[told], some))
        large = np.abs(part.values) > LARGEST
        for j in np.flatnonzero(large.any(axis=0)):
            self.beyond.setdefault(part.names[j], []).append(part.values[large[:, j] & ~gaps, j])
        return ~gaps

    def _refuse(self) -> None:
        """Say what is wrong with the rows read so far."""
        if not self.shown:
            return
        place = np.concatenate([rows for rows, _ in self.shown])
        names = [*self.inputs, *self.targets]
        frame = Frame(self.file.frame.source, names, np.concatenate([some.values for _, some in self.shown]))
        begin = 0
        for rows, some in self.shown:
            for name, odd in some.odd.items():
                frame.odd.setdefault(name, Odd()).join(odd, begin)
            begin += len(rows)
        infinite = np.isinf(frame.values).sum(axis=0)
        frame.counted = self.read - self.empty, self.read - self.empty - self.blank - infinite
        frame.place = lambda row: self.file.frame.place(int(place[row]))
        try:
            require_numbers(frame, self.targets, self.config.blanks)
        except DataError as error:
            if self.bad > _REPORTED:
                cause = f"{error.cause} The reading stopped after {self.read:,} rows."
                raise DataError(cause, error.remedy) from None
            raise

    def _nothing(self) -> DataError:
        names, source = [*self.inputs, *self.targets], self.file.frame.source
        if not self.read - self.empty:
            return DataError(f"'{source}' has a header and no rows.", "Give a CSV file with data in it.")
        from .table import no_row_left

        return no_row_left(source, names[int(np.argmax(self.blank))])


@dataclass(eq=False)
class _Labels:
    """The cells of a column that is not an input, as labels: one object per distinct cell."""

    texts: list[str] = field(default_factory=list)
    odd: bool = False  # a cell is not a number: then all are labels as they stand
    known: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, str] = field(default_factory=dict)  # how the number in a cell is written
    _part: list[str] = field(default_factory=list)

    def take(self, part: Frame, name: str) -> None:
        """The cells of the next part."""
        self.odd = self.odd or name in part.odd
        written = ["" if np.isnan(v) else f"{v:.17g}" for v in part.values[:, part.names.index(name)]]
        cells = part.texts.get(name, written)
        self._part = [self.known.setdefault(cell, cell) for cell in cells]
        if not self.odd:
            self.numbers.update(zip(self._part, written))

    def keep(self, kept: np.ndarray) -> None:  # bool [n]
        """Those of its rows that are kept."""
        self.texts += [cell for cell, wanted in zip(self._part, kept.tolist()) if wanted]

    def cells(self) -> list[str]:
        """All of them; equal numbers give equal labels however they were written."""
        return self.texts if self.odd else [self.numbers[cell] for cell in self.texts]
