"""The report: everything a run measured, as one self-contained HTML page, one JSON file and one console table."""

from __future__ import annotations

from .collect import Report, collect
from .slower import two_parts_of
from .table import console_table
from .write import write_report

__all__ = ["Report", "collect", "console_table", "two_parts_of", "write_report"]
