"""Columns in which a dot may group the digits of whole numbers: ``1.234`` for 1234."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .cells import GROUPED, TextFormat

__all__ = ["dots_for_thousands"]

_FEWEST, _EVERY = 10, 20  # cells with a dot beside whole numbers, and cells of a column that has nothing else
_ZEROS = 0.04  # share of cells that end in 0 from which zeros were kept; of random digits it is a tenth
_PLAIN = re.compile(r"[+-]?\d+")
_POINT = re.compile(r"[+-]?\d*\.(\d+)")


def dots_for_thousands(
    names: Sequence[str], body: Sequence[Sequence[str]], form: TextFormat, separator: str
) -> dict[str, str]:
    """Return the columns whose cells read ``d.ddd``, with what speaks against three decimals.

    - Whole numbers from 100 to 999 stand between them without a dot. Three decimals throughout, zeros at the end kept,
      would have been written for whole numbers too.
    - No cell has anything else, zeros at the end are kept and none starts with 0, while another column drops such zeros: the
      program that wrote the file does not pad.
    - The same, semicolons part the cells, as where the comma is the decimal mark, and no column has decimals that are
      certain.
    """
    columns = {name: [row[j].strip() for row in body if len(row) == len(names) and row[j].strip()] for j, name in
               enumerate(names)}  # fmt: skip
    grouped = {name: [c for c in cells if GROUPED["."].fullmatch(c) and c.lstrip("+-")[0] != "0"] for name, cells in
               columns.items()}  # fmt: skip
    every = [name for name, cells in columns.items() if len(cells) >= _EVERY and len(grouped[name]) == len(cells)
             and _keeps_zeros(grouped[name]) and _vary(cells)]  # fmt: skip
    others = [cells for name, cells in columns.items() if name not in every]
    decimals = [_decimals(cells) for cells in others]
    dropped = any(len(lengths) > 1 for lengths in decimals)
    found = {}
    for name, cells in columns.items():
        if form.thousands.get(name) or form.thousands.get(""):
            continue
        whole = [cell for cell in cells if re.fullmatch(r"[+-]?\d{1,3}", cell)]
        mixed = len(grouped[name]) >= _FEWEST and any(abs(int(cell)) > 99 for cell in whole)
        if mixed and len(grouped[name]) + len(whole) == len(cells):
            found[name] = "mixes whole numbers above 99 with d.ddd values"
        elif name in every and dropped:
            found[name] = "has three digits after the dot in every cell, zeros at the end too, which other columns omit"
        elif name in every and separator == ";" and not any(decimals):
            found[name] = "has three digits after the dot in every cell, and no other column has decimals"
    return found


def _keeps_zeros(cells: Sequence[str]) -> bool:
    return sum(cell.endswith("0") for cell in cells) >= max(1, _ZEROS * len(cells))


def _vary(cells: Sequence[str]) -> bool:
    """Whether the digits after the dot vary: 1.000, 2.000, 3.000 are as good without them."""
    return len({cell.rpartition(".")[2] for cell in cells}) > 5


def _decimals(cells: Sequence[str]) -> set[int]:
    """How many digits stand after the dot, where every cell is a number without an exponent; else the empty set."""
    if not all(_PLAIN.fullmatch(cell) or _POINT.fullmatch(cell) for cell in cells):
        return set()
    found = [_POINT.fullmatch(cell) for cell in cells]
    return {len(match[1]) if match else 0 for match in found} if any(found) else set()
