"""Text tables: read as a stream, strictly, every problem named by its line and column.

Where pyarrow is installed it reads what is plain numbers throughout, several times as fast; anything else it meets
hands the file to the reader here, whose answers are the same bit for bit.
"""

from __future__ import annotations

import contextlib
import csv
import io
import itertools
import math
from array import array
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO

import numpy as np

from ...errors import DataError
from ...io.words import counted
from .cells import TextFormat, shortened
from .fast import NotPlain, blocks_of_numbers, read_numbers
from .frame import Frame, Odd
from .header import kind_of_cell
from .layout import Layout, layout_of, parsed
from .stream import BROKEN, HEAD, check_unpacked, first_lines, lines_of, opened

__all__ = ["StreamedText", "read_delimited"]

_FOOTER = 20  # lines of a note below a table
_CHUNK = 8192  # rows that are converted at a time


def read_delimited(
    path: Path,
    form: TextFormat = TextFormat(),
    *,
    skip: Collection[str] = (),
    only: Collection[str] | None = None,
    texts: Collection[str] = (),
    content: bytes | None = None,
) -> Frame:
    """Read a text table, compressed or not.

    Parameters
    ----------
    content : bytes, optional
        What is read in place of the file's own bytes: the text that a spreadsheet became.
    skip, only : collections of str
        Columns that are not read at all, or the only ones that are.
    texts : collection of str
        Columns whose cells are kept as texts too.

    Raises
    ------
    DataError
        Not readable, nothing in it, no header line, a line with another number of cells.
    """
    source = _Source(path, content)
    with _readable(path):
        if content is None:
            check_unpacked(path)
        layout = _layout(source, form)
        wanted = [n for n in layout.names if n not in skip and (only is None or n in only)]
        kept = [name for name in wanted if name in texts]
        if content is None and not kept:
            numbers = read_numbers(path, layout, form, wanted)
            if numbers is not None:
                frame = _empty(source, layout, wanted, kept)
                frame.values = numbers.values
                return frame
        return _read(source, layout, form, wanted, kept)


class StreamedText:
    """A text table that is read in parts, each with what its cells hold; of the whole only the layout is in memory.

    Parameters
    ----------
    path : path
    form : TextFormat
    skip, texts : collections of str
        As of :func:`read_delimited`, whose errors and answers are the same.
    """

    def __init__(self, path: Path, form: TextFormat, skip: Collection[str] = (), texts: Collection[str] = ()) -> None:
        self._source, self._form = _Source(path, None), form
        with _readable(path):
            self._layout = _layout(self._source, form)
        wanted = [name for name in self._layout.names if name not in skip]
        self._texts = [name for name in wanted if name in texts]
        #: The table without its rows.
        self.frame = _empty(self._source, self._layout, wanted, self._texts)

    def size(self) -> int:
        """About how many rows there are, by the length of the first lines; a compressed file is unpacked once."""
        with _readable(self._source.path), self._source.opened() as stream:
            head = stream.read(HEAD)
            lines = max(1, head.count(b"\n"))
        return math.ceil(lines / max(1, len(head)) * check_unpacked(self._source.path))

    def parts(self) -> Iterator[Frame]:
        """Yield the rows from the first one on.

        Raises
        ------
        DataError
        """
        with _readable(self._source.path):
            yield from _chunks(self._source, self._layout, self._form, self.frame.names, self._texts)

    def plain_parts(self) -> Iterator[Frame]:
        """The same, several times as fast; ``NotPlain`` where only :meth:`parts` can judge."""
        if self._texts:
            raise NotPlain
        for values in blocks_of_numbers(self._source.path, self._layout, self._form, self.frame.names):
            yield Frame(self.frame.source, list(self.frame.names), values)


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except BROKEN as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"'{path}' cannot be read: {reason}.", "Give a readable file.") from None


def _layout(source: _Source, form: TextFormat) -> Layout:
    with source.opened() as stream:
        head, whole = first_lines(source.path, stream)
    return layout_of(source.path, head, whole, form)


@dataclass(frozen=True, eq=False)
class _Source:
    """A file, or the text that stands for it."""

    path: Path
    content: bytes | None

    def opened(self) -> IO[bytes]:
        return opened(self.path) if self.content is None else io.BytesIO(self.content)


def _read(source: _Source, layout: Layout, form: TextFormat, wanted: list[str], texts: list[str]) -> Frame:
    frame = _empty(source, layout, wanted, texts)
    parts, count = [], 0
    for part in _chunks(source, layout, form, wanted, texts):
        for name, odd in part.odd.items():
            frame.odd.setdefault(name, Odd()).join(odd, count)
        for name, cells in part.texts.items():
            frame.texts[name] += cells
        parts.append(part.values)
        count += len(part.values)
    if not parts:
        raise DataError(f"'{source.path}' has a header and no rows.", "Give a CSV file with data in it.")
    frame.values = np.concatenate(parts)
    return frame


def _empty(source: _Source, layout: Layout, wanted: list[str], texts: list[str]) -> Frame:
    """The table without its rows."""
    frame = Frame(str(source.path), list(wanted), np.empty((0, len(wanted))), notes=list(layout.notes))
    frame.left_out = sorted(set(layout.names) - set(wanted))
    frame.texts = {name: [] for name in texts}
    frame.dotted = {name: why for name, why in layout.dotted.items() if name in wanted}
    frame.lines = layout.left_out
    frame.place = lambda row: f"line {_line_of(source, layout, row)}"
    return frame


def _chunks(source: _Source, layout: Layout, form: TextFormat, wanted: list[str], texts: list[str]) -> Iterator[Frame]:
    """The rows in parts of some thousands."""
    column_of = {name: j for j, name in enumerate(layout.names)}
    index = [column_of[name] for name in wanted]
    readers = [form.reader(name, layout.decimal) for name in wanted]
    with source.opened() as stream:
        rows = _rows(source.path, layout, lines_of(source.path, stream, layout.encoding))
        while chunk := list(itertools.islice(rows, _CHUNK)):
            columns = list(zip(*chunk))
            part = Frame(str(source.path), list(wanted), np.empty((len(chunk), len(wanted))))
            for j, (name, reader) in enumerate(zip(wanted, readers)):
                cells = columns[index[j]]
                part.values[:, j], odd = reader.column(cells)
                for place in odd:
                    part.odd.setdefault(name, Odd()).add(cells[place].strip(), place)
                if name in texts:
                    marks = reader.missing.texts
                    part.texts[name] = ["" if (text := cell.strip()) in marks else text for cell in cells]
            yield part


def _rows(path: Path, layout: Layout, lines: Iterator[str], numbers: array[int] | None = None) -> Iterator[list[str]]:
    """Rows as long as the header, blank lines left out; ``numbers`` takes the line number of each."""
    width, count, last, ended = len(layout.names), 0, "", layout.start  # the line that the last row ends with

    def numbered() -> Iterator[str]:
        nonlocal count, last
        for line in lines:
            count += 1
            if count > layout.start:
                last = line
                yield line

    reader = parsed(numbered(), layout.separator, strict=True)
    try:
        for row in reader:
            ended = count
            if len(row) != width:
                if not row or (len(row) == 1 and not row[0].strip()):
                    continue
                if len(row) == width + 1 and not row[-1].strip():
                    row.pop()  # a separator at the end of the line
                else:
                    below = list(itertools.islice(lines, _FOOTER + 1))
                    cut = len(row) < width and not last.endswith(("\n", "\r")) and not below
                    raise _wrong_length(path, count, layout, row, below, cut)
            if numbers is not None:
                numbers.append(count)
            yield row
    except csv.Error as error:
        if count > ended + 1:
            raise DataError(
                f"'{path}' line {ended + 1} opens a quote, and its row is not over in line {count} ({error}).",
                "Close the quote in that line, or remove it.",
            ) from None
        raise DataError(
            f"'{path}' line {count} is not CSV: {error}.", "Correct that line, or export the file again."
        ) from None


def _wrong_length(path: Path, line: int, layout: Layout, row: list[str], below: list[str], cut: bool) -> DataError:
    """``below``: the lines that follow, ``_FOOTER`` of them and one more at most; ``cut``:
    it ends without a line end."""
    separator = layout.separator
    cause = (
        f"'{path}' line {line} has {counted(len(row), 'cell')}, expected {len(layout.names)} as in the header: read "
        f"'{shortened(separator.join(row))}'."
    )
    texts = len(row) == 1 and kind_of_cell(row[0]) == "text" and len(below) <= _FOOTER
    if texts and separator != " " and not any(separator in text for text in below):
        lines = "that line" if not below else f"the last {len(below) + 1} lines"
        return DataError(cause, f"Remove {lines} from the file if it is a note below the table, not a row.")
    if cut:
        return DataError(cause, "The file ends there, so it seems cut: copy it again.")
    inside = {",": "a comma inside a number or a text that is not quoted", " ": "a space inside a text"}
    return DataError(cause, f"Correct that line (a missing value, or {inside.get(separator, 'one cell too many')}).")


@lru_cache(maxsize=2)
def _lines_of_rows(source: _Source, layout: Layout) -> array[int]:
    """The line in which each row ends: one more pass over the file, for messages alone."""
    numbers: array[int] = array("q")
    with source.opened() as stream:
        for _ in _rows(source.path, layout, lines_of(source.path, stream, layout.encoding), numbers):
            pass
    return numbers


def _line_of(source: _Source, layout: Layout, row: int) -> int:
    return _lines_of_rows(source, layout)[row]
