"""The cells of a column of times as numbers that put rows in order: seconds, dates
as loggers and spreadsheets write them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timezone

import numpy as np

from ..errors import DataError

__all__ = ["times_of"]

_CLOCK = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M:%S %p", " %I:%M %p")
_FORMS = ("%d.%m.%Y", "%d.%m.%y", "%Y/%m/%d", "%Y%m%d", "%d-%b-%Y", "%d %b %Y", "%b %d %Y", "%d/%m/%Y", "%m/%d/%Y")


def times_of(cells: Sequence[str], name: str) -> np.ndarray:  # [N] float64
    """Numbers that rise with the times in ``cells``: numbers as they are, dates in ISO 8601 and other common forms.

    Raises
    ------
    DataError
        A blank cell, a cell that does not hold a time, days and months that could be exchanged in every row.
    """
    blank = [row for row, cell in enumerate(cells) if not cell.strip()]
    if blank:
        raise DataError(
            f"column '{name}' holds no time in {len(blank):,} of {len(cells):,} rows (first in row {blank[0] + 1}).",
            "Fill in these cells, or leave the rows out.",
        )
    try:
        values = np.array([float(cell) for cell in cells])
        if np.isfinite(values).all():
            return values
    except ValueError:
        pass
    read = [times for times in (_iso(cells), *(_written(cells, form) for form in _FORMS)) if times is not None]
    if not read:
        odd = next((cell for cell in cells if _iso([cell]) is None), cells[0])
        raise DataError(
            f"column '{name}' holds {odd.strip()[:40]!r}, expected numbers or dates of one form in every row.",
            "Write times as numbers, or as 2024-01-31 12:00:00.",
        )
    if len(read) > 1 and not np.array_equal(np.argsort(read[0], kind="stable"), np.argsort(read[1], kind="stable")):
        raise DataError(
            f"column '{name}' holds dates such as {cells[0].strip()[:40]!r}, whose days and months could be exchanged.",
            "Write dates as 2024-01-31.",
        )
    return read[0]


def _iso(cells: Sequence[str]) -> np.ndarray | None:
    try:
        return np.array([_seconds(datetime.fromisoformat(_plain(cell))) for cell in cells])
    except (ValueError, OverflowError):
        return None


def _plain(cell: str) -> str:
    """What ``fromisoformat`` of Python 3.10 reads: Z as an offset, fractions of 3 or 6 digits."""
    text = re.sub(r"[Zz]$", "+00:00", cell.strip().replace(",", "."))
    return re.sub(r"\.(\d+)", lambda match: "." + match[1][:6].ljust(6, "0"), text)


def _written(cells: Sequence[str], form: str) -> np.ndarray | None:
    for clock in _CLOCK:
        try:
            return np.array(
                [_seconds(datetime.strptime(cell.strip().replace(", ", " "), form + clock)) for cell in cells]
            )
        except (ValueError, OverflowError):
            continue
    return None


def _seconds(time: datetime) -> float:
    return (time if time.tzinfo else time.replace(tzinfo=timezone.utc)).timestamp()
