"""Parquet files, by pyarrow."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from ...errors import DataError, NotAvailable
from ...io.limits import INFLATED_BYTES
from .frame import Frame, exact_float64, text_column
from .layout import require_unique

__all__ = ["read_parquet"]

_RATIO = 100  # repeated values take almost no space in this format


def read_parquet(path: Path, skip: Collection[str] = ()) -> Frame:
    """Read the columns of a Parquet file; those of numbers as numbers, any others as texts."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise NotAvailable(
            "Parquet files are read by pyarrow, which is not installed.",
            "Run: pip install 'regkd-edge[data]', or give a CSV file.",
        ) from None
    try:
        facts = pq.read_metadata(path)
        announced = 8 * facts.num_rows * facts.num_columns
        if announced > max(INFLATED_BYTES, _RATIO * path.stat().st_size):
            raise DataError(
                f"'{path}' announces {announced:,} bytes of numbers, more than {_RATIO} times its size.",
                "Write it again without compression.",
            )
        names = pq.read_schema(path).names
        require_unique(path, names)
        wanted = [name for name in names if name not in skip]
        stored = pq.read_table(path, columns=wanted)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last one: names that are no text
        raise DataError(f"'{path}' is not a readable Parquet file: {error}.", "Write it again.") from None
    if not wanted or not len(stored):
        raise DataError(f"'{path}' has no rows.", "Give a file with data in it.")
    frame = Frame(str(path), wanted, np.full((len(stored), len(wanted)), np.nan))
    frame.left_out = sorted(set(names) - set(wanted))
    for j, name in enumerate(wanted):
        column, kind = stored.column(name), stored.schema.field(name).type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if pa.types.is_boolean(kind):
            column, kind = column.cast(pa.int8()), pa.int8()
        if pa.types.is_decimal(kind):
            column, kind = column.cast(pa.float64()), pa.float64()
        if pa.types.is_floating(kind):
            frame.values[:, j] = column.cast(pa.float64()).to_numpy()
        elif pa.types.is_integer(kind):
            valid = np.flatnonzero(np.asarray(column.is_valid()))
            frame.values[valid, j], odd = exact_float64(column.drop_null().to_numpy())
            if odd is not None:
                frame.odd[name] = odd
        elif not pa.types.is_null(kind):
            frame.texts[name] = ["" if cell is None else str(cell) for cell in column.to_pylist()]
            frame.odd[name] = text_column(frame.texts[name])
    return frame
