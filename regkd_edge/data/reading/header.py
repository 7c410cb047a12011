"""The lines around the names of a table: titles above them, units below them, names in two lines."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .cells import LONGEST, is_number

__all__ = ["below_names", "is_title", "joined_names", "kind_of_cell", "names_rows"]

_DIGITS = 18  # of a number of a row at most
_ABOVE = 20  # lines below a title among which the names are sought


def kind_of_cell(cell: str) -> str:
    """``blank``, ``number`` (in any way of writing) or ``text``."""
    text = cell.strip()
    if not text:
        return "blank"
    if len(text) > LONGEST:  # the expression below takes the square of a length
        return "text"
    return "number" if is_number(text) or re.fullmatch(r"[+-]?[\d.,' ]*\d[\d.,]*", text) else "text"


def is_title(row: Sequence[str], below: Sequence[Sequence[str]], width: int) -> bool:
    """Whether a line above the names is not part of the table: one cell, or at
    most half of ``width`` and names further down.

    Spreadsheets fill the rest of such a line with blank cells. ``TOA5`` begins the files of Campbell loggers, whose
    first line describes the logger.
    """
    if width < 2 or not below:
        return False
    if row[0].strip() == "TOA5":
        return True
    filled = max((place for place, cell in enumerate(row, start=1) if cell.strip()), default=0)
    if filled == 1:
        return sum(bool(cell.strip()) for cell in below[0]) > 1 or len(row) == 1
    if 2 * filled > width + 1:
        return False
    for other in below[:_ABOVE]:
        kinds = [kind_of_cell(cell) for cell in other]
        if "number" in kinds and 2 * len(other) > width:
            return False
        if len(kinds) == width and set(kinds) == {"text"} and len(set(other)) == width:
            return True
    return False


def names_rows(cells: Sequence[str]) -> bool:
    """Whether cells name rows: texts, or numbers that count them. Else all columns would be shifted by one."""
    if not all(map(is_number, cells)):
        return True
    numbers = [int(cell) for cell in cells if cell.isdecimal() and len(cell) <= _DIGITS]
    return len(cells) > 1 and len(numbers) == len(cells) and all(b == a + 1 for a, b in zip(numbers, numbers[1:]))


def below_names(width: int, body: Sequence[Sequence[str]], lines: int = 3) -> int:
    """How many lines below the names (at most ``lines``) hold no number in any column of numbers:
    units, and the like."""
    for count in range(lines, 0, -1):
        rows = [row for row in body[count : count + 20] if len(row) == width]
        if len(rows) < 3:
            continue
        columns = [j for j in range(width) if all(kind_of_cell(row[j]) == "number" for row in rows)]
        kinds = [[kind_of_cell(row[j]) for j in columns if j < len(row)] for row in body[:count]]
        if columns and all(len(k) == len(columns) and "number" not in k and "text" in k for k in kinds):
            return count
    return 0


def joined_names(names: Sequence[str], second: Sequence[str]) -> list[str] | None:
    """Names in two lines, where the first one repeats its names (``inlet, inlet, pump``): both as one, else None."""
    if len(second) != len(names) or len(set(filter(None, names))) == sum(map(bool, names)):
        return None
    joined = [" ".join(filter(None, (above, below.strip()))) for above, below in zip(names, second)]
    return joined if len(set(joined)) == len(joined) and all(joined) else None
