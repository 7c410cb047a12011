"""The fast half of the text reader: tables of plain numbers by pyarrow, where it is installed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from .cells import EXACT, TextFormat
from .frame import Frame
from .layout import SPACE, Layout
from .stream import LONGEST_LINE, opened

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


def _whole_lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield blocks of some megabytes that end with a line.

    Raises
    ------
    NotPlain
        A line that is longer than the longest of a table.
    """
    rest = b""
    while block := stream.read(_BLOCK):
        end = block.rfind(b"\n") + 1
        if len(rest) + (block.find(b"\n") if end else len(block)) > LONGEST_LINE:
            raise NotPlain
        if end:
            yield rest + block[:end]
            rest = block[end:]
        else:
            rest += block
    if rest:
        yield rest


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
        parse = csv.ParseOptions(delimiter=layout.separator)
        convert = csv.ConvertOptions(
            check_utf8=False,
            column_types=dict.fromkeys(wanted, pa.float64()),
            include_columns=wanted,
            null_values=["", *form.missing.texts],
            true_values=[],
            false_values=[],
            decimal_point=layout.decimal,
        )
        with opened(path) as stream:
            for place, lines in enumerate(_whole_lines(stream)):
                # pyarrow gets bytes, not the stream: a thread of its own that reads ahead through Python would abort
                # the process where Python ends in the meantime.
                skipped = 0 if place else layout.start
                read = csv.ReadOptions(block_size=len(lines) + 1, column_names=layout.names, skip_rows=skipped)
                batch = csv.read_csv(pa.BufferReader(lines), read, parse, convert)
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
