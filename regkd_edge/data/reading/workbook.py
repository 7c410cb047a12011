"""Spreadsheets (xlsx, xls, xlsb, ods), by calamine, in a process of its own.

The library believes what a file announces: one cell in the last row and column takes all memory and ends the process.
So it runs in a child whose memory and time are limited by the size of the file.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from ...errors import DataError, NotAvailable
from ...io.child import run_limited
from ...io.limits import SHEET_BYTES, SHEET_RATIO, SHEET_SECONDS
from .cells import EXACT

__all__ = ["workbook_text"]

# Writes one line of JSON (the names of the sheets, which was read, or the error), then the sheet as CSV.
_READER = """
import csv, io, json, sys
from python_calamine import CalamineWorkbook
path, exact = sys.argv[3], int(sys.argv[4])
limit(int(sys.argv[1]), int(sys.argv[2]))

def text(cell):
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < exact else repr(cell)
    return " ".join(str(cell).split())

try:
    book = CalamineWorkbook.from_path(path)
    names, read, content = book.sheet_names, None, ""
    for name in names:
        rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
        filled = [sum(cell != "" for cell in row) for row in rows]
        table = sum(count > 1 for count in filled) > 1  # not a page of notes
        if table or (read is None and sum(map(bool, filled)) > 1):
            out = io.StringIO()
            csv.writer(out, lineterminator="\\n").writerows([text(cell) for cell in row] for row in rows)
            read, content = name, out.getvalue()
        if table:
            break
    head = {"names": names, "read": read}
except MemoryError:
    raise SystemExit(3)
except Exception as error:  # calamine's errors have no common base
    head, content = {"error": str(error).strip(".")}, ""
sys.stdout.buffer.write(json.dumps(head).encode() + b"\\n" + content.encode("utf-8", "replace"))
"""


def workbook_text(path: Path) -> tuple[bytes, list[str]]:
    """Return the first table of a workbook as comma-separated text that reads back to the same numbers, and notes.

    It is the first sheet with two rows of two cells, else the first with two rows.
    """
    if importlib.util.find_spec("python_calamine") is None:
        raise NotAvailable(
            "spreadsheets are read by python-calamine, which is not installed.",
            "Run: pip install 'regkd-edge[data]', or export the sheet as CSV.",
        )
    size = path.stat().st_size
    memory, seconds = SHEET_BYTES + SHEET_RATIO * size, SHEET_SECONDS + size // 2**18
    written = run_limited(_READER, [path, int(EXACT)], memory, seconds)
    if written is None:  # ended by the library itself, or by a limit
        raise DataError(
            f"'{path}' is not a readable spreadsheet: its {size:,} bytes need more than {memory / 2**20:,.0f} MiB or "
            f"{seconds} s of processor time.",
            "Export the sheet as CSV.",
        )
    head, _, content = written.partition(b"\n")
    found = json.loads(head)
    if "error" in found:
        raise DataError(f"'{path}' is not a readable spreadsheet: {found['error']}.", "Export the sheet as CSV.")
    if found["read"] is None:
        raise DataError(f"'{path}' has no rows.", "Give a spreadsheet with data in it.")
    others = [name for name in found["names"] if name != found["read"]]
    return content, [f"sheet '{found['read']}' was read, not: {', '.join(others[:5])}"] if others else []
