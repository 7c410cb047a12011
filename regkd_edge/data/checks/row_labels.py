"""Columns that say which row it is: numbers of rows, identifiers, times."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

__all__ = ["column_that_counts", "is_time", "labels_of_rows"]

_LABEL = re.compile(
    r"^(index|idx|ids?|u?uid|guid|rows?|rowid|record|entry|line|serial|no|nr|num|number|sample|zeile|nummer|lfd.*|unnamed.*|"
    r"obs|observation)\W*$|(_|\b)(id|idx|index|uid|no|nr|rowid)\W*$",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"(^|[_\W\d])(time|times|timestamp|datetime|date|ts|epoch|unix|utc|zeit|zeitstempel|uhrzeit|datum|day|tag|jd)([_\W\d]|$)|"
    r"(time|zeit)(_?(ms|s|us|ns))?$|timestamp|^t$",
    re.IGNORECASE,
)
_EPOCH = 0.9e9, 2.2e9  # seconds since 1970, from 1998 to 2039; in ms, us and ns too
_FEWEST = 20  # rows
_GLANCE = 64  # first rows, which tell of most columns of a long table that they are no label


def column_that_counts(
    names: Sequence[str],
    values: np.ndarray,  # [N, c]
) -> list[str]:
    """Return the columns that number the rows: evenly rising, or all whole numbers from one of them on in any order."""
    n = len(values)
    found: list[str] = []
    if n < 10:
        return found
    with np.errstate(invalid="ignore", over="ignore"):
        glances = values[:_GLANCE]
        steps = np.diff(glances, axis=0)
        even = np.abs(steps - steps[0]).max(axis=0) <= 2e-9 * np.maximum(np.abs(values[0]), np.abs(values[-1]))
        whole = (glances == np.rint(glances)).all(axis=0) & (values.max(axis=0) == values.min(axis=0) + n - 1)
        candidate = (even | whole) & np.isfinite(steps).all(axis=0) & (steps[0] != 0)
    for j in np.flatnonzero(candidate).tolist():
        name, column = names[j], values[:, j]
        steps = np.diff(column[:_GLANCE])
        rising = np.abs(steps - steps[0]).max() <= 1e-9 * max(abs(column[0]), abs(column[-1]))
        if rising:
            line = column[0] + steps.mean() * np.arange(n)
            rising = bool(np.abs(column - line).max() <= 1e-6 * abs(steps[0]) * n)
        low = column.min()
        if rising or (low == np.rint(low) and column.max() == low + n - 1 and _distinct_whole(column)):
            found.append(name)
    return found


def _distinct_whole(column: np.ndarray) -> bool:
    return bool((column == np.rint(column)).all()) and len(np.unique(column)) == len(column)


def is_time(name: str, column: np.ndarray) -> bool:
    """Whether a column holds times, by its name and rising values,
    or by values that are seconds since 1970 or dates."""
    named = _TIME.search(_words(name)) is not None
    glance = column[:_GLANCE]
    if len(column) < 10 or not (named or _dates(glance) or _epoch(glance)) or not np.isfinite(column).all():
        return False
    if _dates(column) and len(np.unique(column)) >= 10:  # 1 number of 27 in that range is one
        return True
    low, high = float(column.min()), float(column.max())
    epoch = low < high and _epoch(column)
    if not (epoch or named):
        return False
    varied = len(np.unique(column)) > 0.5 * len(column)
    if epoch and (named or bool((np.diff(column) >= 0).all())) and varied:
        return True
    return named and (_dates(column) or (varied and bool((np.diff(column) >= 0).all()) and low < high))


def _words(name: str) -> str:
    """The words of a name apart: ``cellId`` as ``cell_Id``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)


def _like_times(glances: np.ndarray) -> np.ndarray:  # [n, c] -> bool [c]
    """Columns that may pass :func:`_dates` or :func:`_epoch`, by the range of their first rows."""
    with np.errstate(invalid="ignore"):
        low, high = glances.min(axis=0), glances.max(axis=0)
        found = (low >= 19000101) & (high <= 21001231)
        for unit in (1.0, 1e3, 1e6, 1e9):
            found |= (low > _EPOCH[0] * unit) & (high < _EPOCH[1] * unit)
    return found


def _epoch(column: np.ndarray) -> bool:
    """Whether all numbers are seconds since 1970, from 1998 to 2039, or milli-, micro- or nanoseconds."""
    low, high = float(column.min()), float(column.max())
    return any(_EPOCH[0] * unit < low <= high < _EPOCH[1] * unit for unit in (1.0, 1e3, 1e6, 1e9))


def _dates(column: np.ndarray) -> bool:
    """Whether whole numbers are dates such as 20240131."""
    if (column != np.rint(column)).any() or column.min() < 19000101 or column.max() > 21001231:
        return False
    month, day = column // 100 % 100, column % 100
    return bool(((month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)).all())


def labels_of_rows(
    names: Sequence[str],
    values: np.ndarray,  # [N, c]
) -> list[str]:
    """Return the columns that say which row it is: those that count, identifiers by name, and times.

    An identifier is a column named so whose whole numbers differ in every row.
    """
    counting = {*column_that_counts(names, values)}
    found = []
    times = _like_times(values[:_GLANCE])
    for j, name in enumerate(names):
        if name in counting:
            found.append(name)
        elif len(values) >= _FEWEST:
            words = _words(name)
            named = _LABEL.search(words) is not None
            if not (named or times[j] or _TIME.search(words)):
                continue  # most of 30,000 columns
            column = values[:, j]
            differs = named and np.isfinite(column).all() and _distinct_whole(column)
            if differs or is_time(name, column):
                found.append(name)
    return found if len(found) < len(names) else []  # an even axis may well be the only input of a curve
