"""What stands out in rows that were handed over, as Python warnings: what the command line says of a table."""

from __future__ import annotations

import warnings

from ..data import Dataset
from ..data.checks.relations import given_away
from ..data.checks.suspicious import suspicious_values
from ..data.stored import is_stored
from ..errors import DataWarning

__all__ = ["warn_of"]


def warn_of(data: Dataset) -> None:
    """Issue a :class:`DataWarning` per finding: marks for missing values, stuck sensors, copies of a target, ...

    Images, signals and rows that stay in their file are not looked at, nor are a teacher's answers.
    """
    table = data.table
    if table.input_shape is not None or is_stored(table.x):
        return
    y, targets = (table.y, table.target_names) if table.labelled else (table.y[:, :0], [])
    notes = suspicious_values({}, table.x, y, table.feature_names, targets)
    notes += given_away(table.x, y, table.feature_names, targets)
    for note in notes:
        warnings.warn(f"{note} (the options are those of the command line)", DataWarning, stacklevel=4)
