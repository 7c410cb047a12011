"""The fast half of the text reader: tables of plain numbers by pyarrow, where it is installed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from .cells import EXACT, TextFormat
from .frame import Frame
from .layout import SPACE, Layout
from .stream import opened

__all__ = ["NotPlain", "blocks_of_numbers", "read_numbers"]

_BLOCK = 2**22  # bytes that are parsed at a time
_SMALL = 2**20  # bytes of a file below which importing pyarrow takes longer than reading without it


class NotPlain(Exception):
    """Only the strict reader can judge this file."""


def read_numbers(path: Path, layout: Layout, form: TextFormat, wanted: list[str]) -> Frame | None:
    """Read the columns ``wanted``, or None where :func:`blocks_of_numbers` says :class:`NotPlain`."""
    try:
        parts = list(blocks_of_numbers(path, layout, form, wanted))
    except NotPlain:
        return None
    if not parts:
        return None
    values = np.empty((sum(map(len, parts)), len(wanted)))
    end = len(values)
    while parts:  # each is given back before the next one is copied
        part = parts.pop()
        values[end - len(part) : end] = part
        end -= len(part)
    return Frame(str(path), list(wanted), values, notes=list(layout.notes))


class _ReadAhead:
    """A stream that pyarrow's own thread reads ahead: it is empty from the end of the block on, whatever is left.

    A thread that still reads the rest of a refused file while Python ends would abort the process.
    """

    closed = False  # pyarrow looks at it

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._lock, self._over = stream, threading.Lock(), False

    def read(self, size: int = -1) -> bytes:
        with self._lock:
            return b"" if self._over else self._stream.read(size)

    def __enter__(self) -> _ReadAhead:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._over = True


def blocks_of_numbers(path: Path, layout: Layout, form: TextFormat, wanted: list[str]) -> Iterator[np.ndarray]:
    """Yield the rows of the columns ``wanted`` as float64 blocks [n, c], some megabytes of text each.

    Raises
    ------
    NotPlain
        At any block: pyarrow is absent, the file is small, a cell is not a plain number, a line is too long or too
        short, a whole number is beyond 2^53, or spaces part the columns.
    """
    plain = layout.separator != SPACE and not form.thousands and not form.missing.columns
    if not plain or layout.encoding.startswith(("utf-16", "utf-32")) or path.stat().st_size < _SMALL or not wanted:
        raise NotPlain
    try:
        import pyarrow as pa
        from pyarrow import csv
    except ImportError:
        raise NotPlain from None
    try:
        with opened(path) as stream, _ReadAhead(stream) as ahead:
            batches = csv.open_csv(
                pa.PythonFile(ahead, mode="r"),
                csv.ReadOptions(block_size=_BLOCK, column_names=layout.names, skip_rows=layout.start),
                csv.ParseOptions(delimiter=layout.separator),
                csv.ConvertOptions(
                    check_utf8=False,
                    column_types=dict.fromkeys(wanted, pa.float64()),
                    include_columns=wanted,
                    null_values=["", *form.missing.texts],
                    true_values=[],
                    false_values=[],
                    decimal_point=layout.decimal,
                ),
            )
            for batch in batches:
                part = np.empty((batch.num_rows, len(wanted)))
                for j in range(len(wanted)):
                    part[:, j] = batch.column(j).to_numpy(zero_copy_only=False)
                if part.size and not (np.abs(part[~np.isnan(part)]) < EXACT).all():
                    raise NotPlain
                for missing in form.missing.numbers:
                    part[part == missing] = np.nan
                yield part
    except (pa.ArrowException, OSError):
        raise NotPlain from None
