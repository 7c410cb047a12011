"""Cells to numbers: decimal and thousands marks, what means missing, and cells that are not numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

__all__ = [
    "EXACT",
    "GROUPED",
    "LONGEST",
    "TextFormat",
    "Missing",
    "NumberReader",
    "certain_decimal",
    "is_number",
    "shortened",
]

EXACT = 2.0**53  # float64 holds every whole number up to here
LONGEST = 400  # characters of a number: the longest double has fewer
_SHOWN = 60
_ENDS = {",": r"\.", ".": ",", "'": "[.,]", "space": "[.,]"}  # what may be the decimal mark beside a thousands mark
_BETWEEN = {",": ",", ".": r"\.", "'": "['\u2019]", "space": "[ \u00a0\u202f\u2009]"}
_LAKHS = r"|\d{1,2}(?:,\d{2})+,\d{3}"  # of two digits above the thousands, as India writes them
#: A number in groups of three digits, by thousands mark.
GROUPED = {
    m: re.compile(rf"[+-]?(?:\d{{1,3}}(?:{_BETWEEN[m]}\d{{3}})+{_LAKHS if m == ',' else ''})(?:{_ENDS[m]}\d*)?")
    for m in _ENDS
}
_COMMA = re.compile(r"[+-]?\d+(?:\.\d{3})*,\d+(?:[eE][+-]?\d+)?")
_POINT = re.compile(r"[+-]?\d*(?:,\d{3})*\.\d+(?:[eE][+-]?\d+)?")
_FORTRAN = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)[dD][+-]?\d+")  # a double of Fortran
_WHOLE = re.compile(r"[+-]?\d+")
_WORDS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True)
class Missing:
    """Values that mean missing: texts and numbers for every column, and those of single columns."""

    texts: frozenset[str] = frozenset()
    numbers: frozenset[float] = frozenset()
    columns: dict[str, Missing] = field(default_factory=dict)

    @classmethod
    def of(cls, marks: Sequence[str]) -> Missing:
        """``["-200", "NA", "flow=-999"]``: the last one for the column ``flow`` alone."""
        own: dict[str, list[str]] = {}
        everywhere = []
        for mark in marks:
            name, equals, value = mark.rpartition("=")
            if equals and name:
                own.setdefault(name.strip(), []).append(value)
            else:
                everywhere.append(mark)
        texts = frozenset(mark.strip() for mark in everywhere)
        numbers = frozenset(float(text) for text in texts if is_number(text) and math.isfinite(float(text)))
        return cls(texts, numbers, {name: cls.of(values) for name, values in own.items()})

    def in_column(self, name: str) -> Missing:
        """What means missing in the column ``name``."""
        own = self.columns.get(name)
        return self if own is None else Missing(self.texts | own.texts, self.numbers | own.numbers)


@dataclass(frozen=True)
class TextFormat:
    """How a text table is written; ``auto`` is told from its first lines.

    Parameters
    ----------
    separator : str
        One character, or ``auto``, ``comma``, ``semicolon``, ``tab``, ``bar``, ``space`` (any run of spaces and tabs).
    decimal : str
        ``.``, ``,`` or ``auto``.
    thousands : dict of str to str
        Thousands mark (``,``, ``.``, ``'`` or ``space``) by column; under the empty name that of all columns.
    missing : Missing
    header : bool
        Whether the first line names the columns; otherwise they are c1, c2, ...
    """

    separator: str = "auto"
    decimal: str = "auto"
    thousands: Mapping[str, str] = field(default_factory=dict)
    missing: Missing = Missing()
    header: bool = True

    def reader(self, name: str, decimal: str) -> NumberReader:
        """The reader of the column ``name`` in a file with that decimal mark."""
        thousands = self.thousands.get(name, self.thousands.get("", ""))
        return NumberReader("," if thousands == "." else decimal, thousands, self.missing.in_column(name))


class NumberReader:
    """Reads the cells of one column."""

    def __init__(self, decimal: str = ".", thousands: str = "", missing: Missing = Missing()) -> None:
        self.decimal, self.thousands, self.missing = decimal, thousands, missing
        self._groups = GROUPED[thousands] if thousands else None
        self.plain = not thousands and not missing.texts

    def column(self, cells: Sequence[str]) -> tuple[np.ndarray, list[int]]:
        """Return numbers [n], float64, and the places of the cells that are not; these and blank cells are NaN."""
        if self.plain:
            try:
                text = "\0".join(cells)
                if "_" not in text and (self.decimal == "." or "." not in text):
                    pieces = cells if self.decimal == "." else text.replace(",", ".").split("\0")
                    values = np.fromiter(map(float, pieces), np.float64, len(cells))
                    if not (np.abs(values) >= EXACT).any():
                        return self._blanked(values), []
            except ValueError:
                pass
        values, odd = np.empty(len(cells)), []
        for i, cell in enumerate(cells):
            value = self.number(cell)
            if value is None:
                odd.append(i)
            values[i] = math.nan if value is None else value
        return self._blanked(values), odd

    def _blanked(self, values: np.ndarray) -> np.ndarray:
        if self.missing.numbers:
            values[np.isin(values, list(self.missing.numbers))] = math.nan
        return values

    def number(self, cell: str) -> float | None:
        """The number in a cell, not-a-number for a blank one, None for anything else.

        A whole number that float64 cannot hold exactly is None too: it would be read as another one.
        """
        text = cell.strip()
        if not text or text in self.missing.texts:
            return math.nan
        text = text.replace("\u2212", "-")  # the minus sign of word processors
        if self._groups is not None and self._groups.fullmatch(text):
            text = re.sub(_BETWEEN[self.thousands], "", text)
        if self.decimal == ",":
            if "." in text:
                return None
            text = text.replace(",", ".")
        if "_" in text or len(text) > LONGEST:  # Python reads 1_000 as a number; here it is more likely a label
            return None
        try:
            value = float(text)
        except ValueError:
            if not _FORTRAN.fullmatch(text):
                return _WORDS.get(text.lower())
            value = float(text.lower().replace("d", "e"))
        if abs(value) >= EXACT and _WHOLE.fullmatch(text) and not (math.isfinite(value) and int(value) == int(text)):
            return None
        return value


def is_number(cell: str) -> bool:
    """Whether a cell is a number with a decimal point."""
    if "_" in cell:
        return False
    try:
        float(cell)
    except ValueError:
        return False
    return True


def certain_decimal(cells: Sequence[str]) -> str:
    """The decimal mark that the cells leave no doubt about, ``,`` or ``.``; the empty string where they do.

    ``37,900`` may be a thousands mark, ``0,5`` and ``37,90`` may not.
    """
    comma = any(
        "," in cell and _COMMA.fullmatch(cell) and (not GROUPED[","].fullmatch(cell) or cell.lstrip("+-")[0] == "0")
        for cell in cells
    )
    point = any(
        "." in cell and _POINT.fullmatch(cell) and (not GROUPED["."].fullmatch(cell) or cell.lstrip("+-")[0] == "0")
        for cell in cells
    )
    return "" if comma == point else "," if comma else "."


def shortened(text: str) -> str:
    """At most 60 characters of a cell or a line."""
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
