"""A table of text that fits its terminal: whole numbers or fewer columns, never a cut one.

A terminal that cuts ``0.2086`` to ``0.2`` shows another number. So a column is shown whole or not at all; the columns
that do not fit are named below the table, and with ``wide`` they follow in further parts, each as wide as the terminal.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field

from .words import counted

__all__ = ["Column", "TextTable", "display_width", "fold", "per_target", "significant", "unbroken"]

_GAP = 2
_LEAST_TEXT = 14  # a text column is not folded into fewer cells
_LEAST_KEY = 16
_MOST_LINES = 3  # about so many for one text: a table of names in narrow columns cannot be read


_COMMAND = re.compile(r"(?<![^\s(])(regkd-edge|(CUDACXX=\S+ )?(\S*python\S* -m )?pip|sudo|uv pip) [a-z]\S* .*$")


@dataclass(frozen=True)
class Column:
    """A column of a :class:`TextTable`.

    Attributes
    ----------
    heading : str
        Folded at spaces.
    text : bool
        Left-aligned, and folded if it must be. Other columns hold numbers: right-aligned and never folded.
    rank : int
        The column with the highest rank is left out first; of equal ranks the last one.
    """

    heading: str
    text: bool = False
    rank: int = 0


@dataclass
class TextTable:
    """A table to print at any width. The first column names the row and is always shown.

    Attributes
    ----------
    columns : list of Column
    rows : list of list of str
    bold : set of int
        Rows to print bold on a terminal that can.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    bold: set[int] = field(default_factory=set)

    def lines(self, width: int | None, wide: bool = False) -> tuple[list[tuple[str, bool]], list[str]]:
        """Lay the table out.

        Parameters
        ----------
        width : int or None
            Cells per line; None for no limit.
        wide : bool
            Print the columns that do not fit in further parts instead of leaving them out.

        Returns
        -------
        lines : list of (str, bool)
            Each line, and whether it is bold.
        hidden : list of str
            Headings of the columns that were left out.
        """
        rest = list(range(1, len(self.columns)))
        lines: list[tuple[str, bool]] = []
        while True:
            shown = self._fitting(rest, width)
            lines += ([("", False)] if lines else []) + self._part([0, *shown], width)
            rest = [i for i in rest if i not in shown]
            if not wide or not rest:
                return lines, [self.columns[i].heading for i in rest]

    def _natural(self, i: int) -> int:
        heading = self.columns[i].heading if self.columns[i].text else ""
        widest = max((display_width(row[i]) for row in self.rows), default=0)
        return max(widest, display_width(heading), min(_longest_word(self.columns[i].heading), _LEAST_TEXT))

    def _least(self, i: int) -> int:
        natural = self._natural(i)
        if not self.columns[i].text:
            return natural
        return min(natural, _LEAST_KEY if i == 0 else _LEAST_TEXT)

    def _readable(self, i: int) -> int:
        return max(self._least(i), -(-self._natural(i) // _MOST_LINES) if self.columns[i].text else 0)

    def _fitting(self, among: list[int], width: int | None) -> list[int]:
        """Return the columns that fit beside the first one, at least one of ``among``."""
        shown = list(among)
        # Long names take the place of what can be left out (ranks above 0); what cannot takes theirs.
        for room, droppable in ((self._readable, 1), (self._least, 0)):
            while width is not None and len(shown) > 1:
                last = max(shown, key=lambda i: (self.columns[i].rank, i))
                if room(0) + sum(_GAP + room(i) for i in shown) <= width or self.columns[last].rank < droppable:
                    break
                shown.remove(last)
        return shown

    def _part(self, shown: list[int], width: int | None) -> list[tuple[str, bool]]:
        widths = {i: self._least(i) for i in shown}
        spare = None if width is None else width - sum(widths.values()) - _GAP * (len(shown) - 1)
        for wanted in (self._readable, self._natural):
            for i in shown:  # the first column, then the others: as wide as their texts where there is room
                more = wanted(i) - widths[i]
                more = more if spare is None else max(0, min(more, spare))
                widths[i] += more
                spare = None if spare is None else spare - more
        if spare is not None and spare < 0:  # narrower than one number beside a short name: fold the name further
            widths[shown[0]] = max(4, widths[shown[0]] + spare)
        lines = [(line, True) for line in self._line([self.columns[i].heading for i in shown], shown, widths, True)]
        lines.append(("  ".join("─" * widths[i] for i in shown), False))
        for number, row in enumerate(self.rows):
            lines += [(line, number in self.bold) for line in self._line([row[i] for i in shown], shown, widths)]
        return lines

    def _line(self, cells: list[str], shown: list[int], widths: dict[int, int], heading: bool = False) -> list[str]:
        folded = [fold(cell, widths[i]) if heading or self.columns[i].text else [cell] for cell, i in zip(cells, shown)]
        height = max(map(len, folded))
        lines = []
        for k in range(height):
            parts = []
            for i, cell in zip(shown, folded):
                at = k - (height - len(cell)) if heading else k  # headings stand on the rule
                content = cell[at] if 0 <= at < len(cell) else ""
                pad = " " * (widths[i] - display_width(content))
                parts.append(content + pad if self.columns[i].text else pad + content)
            lines.append((" " * _GAP).join(parts).rstrip())
        return lines


def display_width(text: str) -> int:
    """Return the cells that a terminal takes for a text: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in printable(text)
    )


def printable(text: str) -> str:
    """Return the text on one line without control characters, which would move the cursor or change colours."""
    return "".join(" " if c in "\n\t\r" else c for c in text if c in "\n\t\r" or unicodedata.category(c)[0] != "C")


def fold(text: str, width: int) -> list[str]:
    """Return the text in lines of at most ``width`` cells, broken at spaces,
    else after one of ``._-/:,``, else anywhere."""
    lines, rest = [], printable(text).strip()
    while display_width(rest) > width:
        cut = _prefix(rest, width)
        space = rest.rfind(" ", 1, cut + 1)
        mark = max(rest.rfind(c, 1, cut) for c in "._-/:,") + 1
        at = space if space > 0 else mark if mark > 1 else cut
        lines.append(rest[:at].rstrip())
        rest = rest[at:].lstrip()
    return [*lines, rest] if rest or not lines else lines


def unbroken(text: str, width: int | None) -> list[str]:
    """Return the text folded for a terminal, but for a command at its end, which stays one line to be copied."""
    text = printable(text)
    if width is None or display_width(text) <= width:
        return [text]
    command = _COMMAND.search(text)
    if command is None:
        return fold(text, width)
    before = text[: command.start()].rstrip()
    return [*(fold(before, width) if before else []), text[command.start() :]]


def significant(value: float, digits: int) -> str:
    """Return a measured number with so many significant digits, zeros included: 46.00 beside 45.99. Digits before the
    decimal point are all written, with commas; an exponent is used below 1e-4 and from 1e7, since nobody measures
    digits like those of 803,465,800."""
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    rounded = f"{value:.{digits - 1}e}"
    exponent = int(rounded.partition("e")[2])
    return f"{value:,.{max(digits - 1 - exponent, 0)}f}" if -4 <= exponent < 7 else rounded


def per_target(
    values: Sequence[float],  # [o] each in the unit of its target
    names: Sequence[str],  # [o]
    pooled: float | None = None,
    most: int = 4,
    digits: int = 4,
    against: tuple[Sequence[float], float] | None = None,  # [o] and pooled
) -> str:
    """Return an error of each target in its unit, and the pooled one second: ``72.8 (life), 23.4 (capacity), 0.128
    standard deviations (pooled)``. Of many targets the first ones are said. Beside each stands the error that it is
    compared ``against``, if one is given: ``72.8 against 65.1 (life)``."""
    names = list(names) if len(names) == len(values) else [f"target {j}" for j in range(len(values))]
    others, other = ([None] * len(values), None) if against is None else against
    figure = lambda *found: " against ".join(significant(value, digits) for value in found if value is not None)
    said = [f"{figure(value, beside)} ({name})" for value, beside, name in zip(values[:most], others, names)]
    if len(values) > most:
        said.append(counted(len(values) - most, "more target"))
    if pooled is not None and len(values) != 1:
        said.append(f"{figure(pooled, other)} standard deviations (pooled)")
    return ", ".join(said)


def _prefix(text: str, width: int) -> int:
    taken = 0
    for i, c in enumerate(text):
        taken += display_width(c)
        if taken > width:
            return max(i, 1)
    return len(text)


def _longest_word(text: str) -> int:
    return max((display_width(word) for word in text.split()), default=0)
