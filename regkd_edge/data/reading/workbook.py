"""Spreadsheets (xlsx, xls, xlsb, ods), by calamine."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from ...errors import DataError, NotAvailable
from .cells import EXACT

__all__ = ["workbook_text"]


def workbook_text(path: Path) -> tuple[bytes, list[str]]:
    """The first sheet with more than one row as comma-separated text that reads back to the same numbers, and notes."""
    try:
        from python_calamine import CalamineWorkbook
    except ImportError:
        raise NotAvailable(
            "spreadsheets are read by python-calamine, which is not installed.",
            "Run: pip install 'regkd-edge[data]', or export the sheet as CSV.",
        ) from None
    try:
        book = CalamineWorkbook.from_path(str(path))
        names = book.sheet_names
        for name in names:
            rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
            if sum(any(cell != "" for cell in row) for row in rows) > 1:
                others = [other for other in names if other != name]
                notes = [f"sheet '{name}' was read, not: {', '.join(others[:5])}"] if others else []
                text = io.StringIO()
                csv.writer(text, lineterminator="\n").writerows([_text(cell) for cell in row] for row in rows)
                return text.getvalue().encode(), notes
    except Exception as error:  # calamine's errors have no common base
        raise DataError(
            f"'{path}' is not a readable spreadsheet: {str(error).strip('.')}.", "Export the sheet as CSV."
        ) from None
    raise DataError(f"'{path}' has no rows.", "Give a spreadsheet with data in it.")


def _text(cell: Any) -> str:
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < EXACT else repr(cell)
    return " ".join(str(cell).split())
