"""Columns in which a dot may group the digits of whole numbers: ``1.234`` for 1234."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .cells import GROUPED, TextFormat

__all__ = ["dots_for_thousands"]

_FEWEST, _EVERY = 10, 20  # cells with a dot beside whole numbers, and cells of a column that has nothing else
_ZEROS = 0.04  # share of cells that end in 0 from which zeros were kept; of random digits it is a tenth
_WHOLE = 2  # different whole numbers above 99: one may be a mark for missing values


def dots_for_thousands(
    names: Sequence[str], body: Sequence[Sequence[str]], form: TextFormat, separator: str
) -> dict[str, str]:
    """Return the columns whose cells read ``d.ddd``, with what speaks against three decimals.

    - Whole numbers from 100 to 999 stand between them without a dot. Three decimals throughout, zeros at the end kept,
      would have been written for whole numbers too.
    - No cell has anything else, zeros at the end are kept and none starts
    with 0; semicolons part the cells, as where the
      comma is the decimal mark, and no other column has decimals. (Where one has them, the dot is a decimal mark.)
    """
    columns = {name: [row[j].strip() for row in body if len(row) == len(names) and row[j].strip()] for j, name in
               enumerate(names)}  # fmt: skip
    grouped = {name: [c for c in cells if GROUPED["."].fullmatch(c) and c.lstrip("+-")[0] != "0"] for name, cells in
               columns.items()}  # fmt: skip
    every = [name for name, cells in columns.items() if len(cells) >= _EVERY and len(grouped[name]) == len(cells)
             and _keeps_zeros(grouped[name]) and _vary(cells)]  # fmt: skip
    alone = separator == ";" and not any(
        "." in c or "," in c for n, cells in columns.items() if n not in every for c in cells
    )
    found = {}
    for name, cells in columns.items():
        if form.thousands.get(name) or form.thousands.get(""):
            continue
        whole = [cell for cell in cells if re.fullmatch(r"[+-]?\d{1,3}", cell)]
        mixed = len(grouped[name]) >= _FEWEST and len({cell for cell in whole if abs(int(cell)) > 99}) >= _WHOLE
        if mixed and len(grouped[name]) + len(whole) == len(cells):
            found[name] = "mixes whole numbers above 99 with d.ddd values"
        elif name in every and alone:
            found[name] = "has three digits after the dot in every cell, and no other column has decimals"
    return found


def _keeps_zeros(cells: Sequence[str]) -> bool:
    return sum(cell.endswith("0") for cell in cells) >= max(1, _ZEROS * len(cells))


def _vary(cells: Sequence[str]) -> bool:
    """Whether the digits after the dot vary: 1.000, 2.000, 3.000 are as good without them."""
    return len({cell.rpartition(".")[2] for cell in cells}) > 5
