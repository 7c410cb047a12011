"""The fast half of the text reader: tables of plain numbers by pyarrow, where it is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .cells import EXACT, TextFormat
from .frame import Frame
from .layout import SPACE, Layout
from .stream import opened

__all__ = ["read_numbers"]

_BLOCK = 2**22  # bytes that are parsed at a time
_SMALL = 2**20  # bytes of a file below which importing pyarrow takes longer than reading without it


def read_numbers(path: Path, layout: Layout, form: TextFormat, wanted: list[str], small: int = _SMALL) -> Frame | None:
    """Read the columns ``wanted``, or None where only the strict reader can judge.

    That is where pyarrow is absent, the file is small, a cell is not a plain number, a line is too long or too short, a
    whole number is beyond 2^53, or spaces part the columns.
    """
    plain = layout.separator != SPACE and not form.thousands and not form.missing.columns
    if not plain or layout.encoding.startswith("utf-16") or path.stat().st_size < small or not wanted:
        return None
    try:
        import pyarrow as pa
        from pyarrow import csv
    except ImportError:
        return None
    parts = []
    try:
        with opened(path) as stream:
            batches = csv.open_csv(
                pa.PythonFile(stream, mode="r"),
                csv.ReadOptions(block_size=_BLOCK, column_names=layout.names, skip_rows=layout.start),
                csv.ParseOptions(delimiter=layout.separator),
                csv.ConvertOptions(
                    check_utf8=False,
                    column_types=dict.fromkeys(wanted, pa.float64()),
                    include_columns=wanted,
                    null_values=["", *form.missing.texts],
                    true_values=[],
                    false_values=[],
                    decimal_point=layout.decimal,
                ),
            )
            for batch in batches:
                part = np.empty((batch.num_rows, len(wanted)))
                for j in range(len(wanted)):
                    part[:, j] = batch.column(j).to_numpy(zero_copy_only=False)
                if part.size and not (np.abs(part[~np.isnan(part)]) < EXACT).all():
                    return None
                parts.append(part)
    except (pa.ArrowException, OSError):
        return None
    if not parts:
        return None
    values = np.concatenate(parts)
    parts.clear()
    for missing in form.missing.numbers:
        values[values == missing] = np.nan
    return Frame(str(path), list(wanted), values, notes=list(layout.notes))
