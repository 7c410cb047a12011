"""Spreadsheets (xlsx, xls, xlsb, ods), by calamine, in a process of its own.

The library believes what a file announces: one cell in the last row and column takes all memory and ends the process.
So it runs in a child whose memory and time are limited by the size of the file.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from ...errors import DataError, NotAvailable
from ...io.limits import SHEET_BYTES, SHEET_RATIO, SHEET_SECONDS
from .cells import EXACT

__all__ = ["workbook_text"]

# Writes one line of JSON (the names of the sheets, which was read, or the error), then the sheet as CSV.
_READER = """
import csv, io, json, sys
from python_calamine import CalamineWorkbook
path, memory, seconds, exact = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
try:
    import resource
    with open("/proc/self/statm") as stream:
        used = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + memory, used + memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, OSError, ValueError):
    pass

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
        if sum(any(cell != "" for cell in row) for row in rows) > 1:
            out = io.StringIO()
            csv.writer(out, lineterminator="\\n").writerows([text(cell) for cell in row] for row in rows)
            read, content = name, out.getvalue()
            break
    head = {"names": names, "read": read}
except MemoryError:
    raise SystemExit(3)
except Exception as error:  # calamine's errors have no common base
    head, content = {"error": str(error).strip(".")}, ""
sys.stdout.buffer.write(json.dumps(head).encode() + b"\\n" + content.encode("utf-8", "replace"))
"""


def workbook_text(path: Path) -> tuple[bytes, list[str]]:
    """The first sheet with more than one row as comma-separated text that reads back to the same numbers, and notes."""
    if importlib.util.find_spec("python_calamine") is None:
        raise NotAvailable(
            "spreadsheets are read by python-calamine, which is not installed.",
            "Run: pip install 'regkd-edge[data]', or export the sheet as CSV.",
        )
    size = path.stat().st_size
    memory, seconds = SHEET_BYTES + SHEET_RATIO * size, SHEET_SECONDS + size // 2**18
    limits = [str(memory), str(seconds), str(int(EXACT))]
    done = subprocess.run([sys.executable, "-c", _READER, str(path), *limits], capture_output=True)
    if done.returncode:  # ended by the library itself, or by a limit
        raise DataError(
            f"'{path}' is not a readable spreadsheet: its {size:,} bytes need more than {memory / 2**20:,.0f} MiB or "
            f"{seconds} s of processor time.",
            "Export the sheet as CSV.",
        )
    head, _, content = done.stdout.partition(b"\n")
    found = json.loads(head)
    if "error" in found:
        raise DataError(f"'{path}' is not a readable spreadsheet: {found['error']}.", "Export the sheet as CSV.")
    if found["read"] is None:
        raise DataError(f"'{path}' has no rows.", "Give a spreadsheet with data in it.")
    others = [name for name in found["names"] if name != found["read"]]
    return content, [f"sheet '{found['read']}' was read, not: {', '.join(others[:5])}"] if others else []
