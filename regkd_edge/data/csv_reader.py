"""A strict CSV reader: every cell is a number, and every error names its line and column."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Collection
from pathlib import Path

import numpy as np

from ..errors import DataError

__all__ = ["read_csv"]

_MOST = 60  # characters of a cell or a line shown in messages


def read_csv(path: Path, only: Collection[str] | None = None) -> tuple[list[str], np.ndarray, list[int]]:
    """Read a comma-separated file with one header line (UTF-8, a byte-order mark is allowed).

    Parameters
    ----------
    only : collection of str, optional
        The columns to read; the cells of the others may hold anything and become NaN.

    Returns
    -------
    names : list of str
    values : float64 array [N, columns]
        NaN and infinity pass here, with their line number; the table checks them.
    lines : list of int
        Line number of each row in the file.

    Raises
    ------
    DataError
        Empty file, header only, a header of numbers, duplicate or nameless columns, another separator, a line with
        a different number of cells, a cell that is not a number.
    """
    text = _text(path)
    if not text.strip():
        raise DataError(f"'{path}' is empty, expected a header line and rows.", "Give a CSV file with data in it.")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        names = [name.strip() for name in next(row for row in reader if any(cell.strip() for cell in row))]
        _check_header(path, names)
        read = [only is None or name in only for name in names]
        values, lines = [], []
        for row in reader:
            if not row or (len(row) == 1 and not row[0].strip()):
                continue  # a blank line
            if len(row) != len(names):
                raise _wrong_length(path, reader.line_num, names, row, text)
            try:
                values.append([_number(cell) if wanted else math.nan for cell, wanted in zip(row, read)])
            except ValueError:
                cells = [(name, cell) for name, cell, wanted in zip(names, row, read) if wanted]
                raise _bad_cell(path, reader.line_num, cells) from None
            lines.append(reader.line_num)
    except csv.Error as error:
        raise DataError(
            f"'{path}' line {reader.line_num} is not CSV: {error}.", "Fix that line, or export the file again."
        ) from None
    if not values:
        raise DataError(f"'{path}' has a header and no rows.", "Give a CSV file with data in it.")
    return names, np.array(values, dtype=np.float64), lines


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"'{path}' is not a UTF-8 text file (byte {error.start}).", "Export it as CSV in UTF-8."
        ) from None
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror or error}.", "Give a readable CSV file.") from None


def _check_header(path: Path, names: list[str]) -> None:
    if len(names) == 1:
        for separator, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if separator in names[0]:
                raise DataError(
                    f"'{path}' seems to be separated by {word}, expected commas.",
                    "Export it with commas (and decimal points).",
                )
        raise DataError(
            f"'{path}' has one column ('{names[0]}'), expected at least one input and one target.",
            "Give a file with more columns.",
        )
    if all(_is_number(name) for name in names):
        raise DataError(
            f"'{path}' starts with numbers ({names[0]}, {names[1]}, ...), expected a header line with column names.",
            "Add a header line.",
        )
    for place, name in enumerate(names, start=1):
        if not name:
            raise DataError(
                f"'{path}': column {place} has no name in the header.",
                "Name every column (an index column can be dropped).",
            )
        if name in names[: place - 1]:
            raise DataError(
                f"'{path}': column '{name}' appears more than once.", "Rename or drop the duplicate columns."
            )


def _wrong_length(path: Path, line: int, names: list[str], row: list[str], text: str) -> DataError:
    cut = len(row) < len(names) and not text.endswith(("\n", "\r")) and line == text.count("\n") + 1
    cause = f"'{path}' line {line} has {len(row)} cells, expected {len(names)} as in the header: read '{_shortened(','.join(row))}'."
    if cut:
        return DataError(cause, "The file ends there and seems truncated: copy it again.")
    return DataError(cause, "Fix that line (a missing value, or a comma inside a number).")


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST else text[:_MOST] + "..."


def _number(cell: str) -> float:
    if "_" in cell:  # Python reads 1_000 as a number; here it is more likely a label
        raise ValueError(cell)
    return float(cell)


def _is_number(cell: str) -> bool:
    try:
        _number(cell)
    except ValueError:
        return False
    return True


def _bad_cell(path: Path, line: int, cells: list[tuple[str, str]]) -> DataError:
    name, cell = next((name, cell) for name, cell in cells if not _is_number(cell))
    met = f"'{_shortened(cell.strip())}'" if cell.strip() else "an empty cell"
    remedy = "Encode text as numbers, or drop the column."
    if not cell.strip():
        remedy = "Fill in or drop the rows with missing values."
    elif _is_number(cell.replace(",", ".")):
        remedy = "Write numbers with a decimal point."
    return DataError(f"'{path}' line {line}, column '{name}': met {met}, expected a number.", remedy)
