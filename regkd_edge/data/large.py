"""Tables whose rows stay in a file: the same table, and what is looked for in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..config import DataConfig
from .checks.ranges import coarse_or_constant, range_problem
from .checks.relations import copied_inputs, given_away
from .checks.suspicious import suspicious_values
from .columns import Columns
from .encode import Category
from .reading import TextFormat, streamed_frame
from .stored import fits_in_memory, is_large, moments_of
from .streaming import read_streamed
from .table import Table, check_values, require_dropped, said_of
from .wanted import parted

__all__ = ["large_table", "looked_through", "sample_of"]

_LOOKED = 4 << 20  # numbers of the rows that are looked at together


def sample_of(table: Table, count: int | None = None, width: int | None = None) -> np.ndarray:  # [n] int64
    """Rows, evenly spread over the first ``count``, in which is looked for what needs whole columns.

    ``width``: the columns that are looked at, by default all inputs.
    """
    count = len(table) if count is None else count
    return np.arange(0, count, max(1, -(-count * (width or table.d) // _LOOKED)))


def large_table(
    config: DataConfig, source: str | Path, form: TextFormat, texts: Sequence[str], folder: Path
) -> tuple[Table, list[Category]] | None:
    """Read a CSV or Parquet file whose rows do not fit in memory into a file of ``folder``; None for any other.

    Its words are inputs of 0 or 1 already.
    """
    file = streamed_frame(source, form, skip=config.drop, texts=texts)
    if file is None:
        return None
    rows, width = file.size(), len(file.frame.names)
    if fits_in_memory(rows, width):
        return None
    require_dropped(file.frame, config)
    wanted, inputs = parted(file.frame, config, aside_needed=True)
    found = read_streamed(file, config, form, inputs, wanted, folder)
    worded = {category.name for category in found.categories}
    coded = [name for name in config.categorical if name not in worded]
    columns = Columns.detect(found.x, found.names, config.whole, coded, found.groups)
    for name, low, high in zip(found.names, columns.low, columns.high):
        problem = range_problem(str(source), name, np.array([low, high]))
        if problem is not None:
            raise problem
    check_values(str(source), [], wanted, np.empty((len(found.y), 0)), found.y, varying=True)
    table = Table(
        found.x, found.y, found.names, wanted, str(source), found.notes, columns, aside=found.aside,
        large=is_large(rows, width),
    )  # fmt: skip
    some = sample_of(table)
    notes = suspicious_values(file.frame.dotted, table.x[some], table.y[some], found.names, wanted)
    if notes and len(some) < len(table):
        notes.insert(0, f"the table was looked through in {len(some):,} of its {len(table):,} rows")
    return replace(table, warnings=[*table.warnings, *notes]), found.categories


def looked_through(table: Table, categories: Sequence[Category], config: DataConfig) -> Table:
    """The same with notes on its inputs, and with their kinds if they are not known."""
    columns, warnings = table.columns, [*table.warnings, *map(said_of, categories)]
    if config.input_shape is None:
        columns = columns or Columns.detect(table.x, table.feature_names, config.whole, config.categorical)
        some = table.x[sample_of(table)]
        warnings += coarse_or_constant(moments_of(table.x), table.feature_names)
        warnings += copied_inputs(some, table.feature_names)
    warnings += given_away(
        table.x[sample_of(table)], table.y[sample_of(table)], table.feature_names, table.target_names
    )
    return replace(table, warnings=warnings, columns=columns)
