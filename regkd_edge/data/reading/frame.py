"""What every reader gives: named columns of numbers, and what stood where no number was."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ...errors import DataError
from .cells import EXACT, LONGEST

__all__ = ["Frame", "Odd", "exact_float64", "row_place", "text_column"]

_DISTINCT = 1000  # texts of a column that are remembered


@dataclass
class Odd:
    """Cells of one column that are not numbers: how many, and which texts, each with its count and its first row.

    ``what``: what they all are, where the file itself says that they are neither numbers nor texts.
    """

    count: int = 0
    texts: dict[str, list[int]] = field(default_factory=dict)
    more: bool = False  # further texts were met and not remembered
    rows: array[int] = field(default_factory=lambda: array("q"))
    what: str = ""

    def add(self, text: str, row: int) -> None:
        """Count one cell; of a text that is too long for a number its beginning is remembered."""
        text = text[: LONGEST + 1]
        self.count += 1
        self.rows.append(row)
        if text in self.texts:
            self.texts[text][0] += 1
        elif len(self.texts) < _DISTINCT:
            self.texts[text] = [1, row]
        else:
            self.more = True

    def join(self, later: Odd, rows: int) -> None:
        """Count the cells of further rows, the first of which is row ``rows`` here."""
        for text, (count, row) in later.texts.items():
            if text in self.texts:
                self.texts[text][0] += count
            elif len(self.texts) < _DISTINCT:
                self.texts[text] = [count, rows + row]
            else:
                self.more = True
        self.count += later.count
        self.what = self.what or later.what
        self.more = self.more or later.more
        self.rows.extend(rows + row for row in later.rows)


def row_place(row: int) -> str:
    """Where a row stands in a source without lines."""
    return f"row {row + 1}"


@dataclass
class Frame:
    """A table as it was read.

    Parameters
    ----------
    source : str
    names : list of str, length c
    values : float64 array [N, c]
        Not-a-number where a cell is blank, means missing, or is not a number.
    odd : dict of str to Odd
        The cells that are not numbers, by column.
    texts : dict of str to list of str, length N
        The cells of the columns that were requested as texts.
    known : list of str
        Targets that the file itself names.
    place : callable(row) -> str
        Where a row stands in the file, such as ``line 7``.
    notes : list of str
        How the file was read, where that is not a matter of course.
    left_out : list of str
        Columns of the file that are not here.
    dotted : dict of str to str
        Columns whose dot may be a thousands separator, with what says so.
    lines : list of (int, list of str)
        Number and cells of the lines below the names that were left out.
    typed : bool
        Whether the file says of every column what it holds, so that a decimal mark is a matter of one column of texts.
    counted : (int, int array [c]), optional
        Where ``values`` holds only the rows to be spoken of: rows of the table, and finite numbers by column.
    """

    source: str
    names: list[str]
    values: np.ndarray  # [N, c]
    odd: dict[str, Odd] = field(default_factory=dict)
    texts: dict[str, list[str]] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)
    place: Callable[[int], str] = row_place
    notes: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    dotted: dict[str, str] = field(default_factory=dict)
    lines: list[tuple[int, list[str]]] = field(default_factory=list)
    typed: bool = False
    counted: tuple[int, np.ndarray] | None = None

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return len(self.values) if self.counted is None else self.counted[0]

    def numbers(self) -> dict[str, int]:
        """Cells that hold a finite number, by column."""
        counts = np.isfinite(self.values).sum(axis=0) if self.counted is None else self.counted[1]
        return dict(zip(self.names, counts.tolist()))

    def without_rows(self, empty: np.ndarray) -> None:
        """Leave out the rows where ``empty`` [N] is True; places stay those of the file."""
        kept, place, new = np.flatnonzero(~empty), self.place, np.cumsum(~empty) - 1
        for odd in self.odd.values():  # a row with such a cell is not empty
            odd.rows = array("q", new[np.array(odd.rows, dtype=np.int64)].tolist())
            odd.texts = {text: [count, int(new[row])] for text, (count, row) in odd.texts.items()}
        self.values = self.values[kept]
        self.texts = {name: [cells[i] for i in kept] for name, cells in self.texts.items()}
        self.place = lambda row: place(int(kept[row]))

    def take(self, rows: Sequence[int]) -> None:
        """Keep some rows, in the order given; places stay those of the file."""
        kept, place, new = list(rows), self.place, {row: i for i, row in enumerate(rows)}
        self.values = self.values[kept]
        self.texts = {name: [cells[i] for i in kept] for name, cells in self.texts.items()}
        self.place = lambda row: place(int(kept[row]))
        for name, odd in list(self.odd.items()):
            odd.rows = array("q", [new[row] for row in odd.rows if row in new])
            odd.texts = {text: [count, new[row]] for text, (count, row) in odd.texts.items() if row in new}
            odd.count = len(odd.rows)
            if not odd.texts:
                del self.odd[name]

    def without_column(self, name: str) -> None:
        """Leave out one column."""
        keep = [i for i, other in enumerate(self.names) if other != name]
        self.values, self.names = self.values[:, keep], [self.names[i] for i in keep]
        self.odd.pop(name, None)
        self.texts.pop(name, None)
        self.left_out.append(name)


def exact_float64(array: np.ndarray) -> tuple[np.ndarray, Odd | None]:
    """A column as float64; whole numbers that float64 would change become not-a-number and are counted."""
    if np.iscomplexobj(array):
        raise DataError("met complex numbers, expected real ones.", "Store real and imaginary parts as two columns.")
    values = np.array(array, dtype=np.float64)
    if not np.issubdtype(array.dtype, np.integer) or not (np.abs(values) >= EXACT).any():
        return values, None
    odd = Odd()
    for row in np.flatnonzero(np.abs(values) >= EXACT):
        if int(values[row]) != int(array[row]):
            odd.add(str(array[row]), int(row))
            values[row] = np.nan
    return values, odd if odd.count else None


def text_column(cells: list[str]) -> Odd:
    """A column of texts, counted."""
    odd = Odd()
    for row, cell in enumerate(cells):
        if cell.strip():
            odd.add(cell.strip(), row)
    return odd
