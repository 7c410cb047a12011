"""Rows that are no measurements: totals, means and other statistics of the rows above or below them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["summary_rows"]

_ENDS = 8  # rows at each end that may be statistics
_COLUMNS = 2  # columns that must agree
_FINELY = 20  # distinct values of a column of readings
_SAMPLE, _WIDEST = 1000, 1000  # rows that tell the digits, and columns up to which statistics are sought
_STATISTICS: tuple[tuple[str, Callable[[np.ndarray], np.ndarray]], ...] = (
    ("mean", lambda rest: rest.mean(axis=0)),
    ("median", lambda rest: np.median(rest, axis=0)),
    ("standard deviation", lambda rest: rest.std(axis=0)),
    ("standard deviation", lambda rest: rest.std(axis=0, ddof=1)),
    ("smallest values", lambda rest: rest.min(axis=0)),
    ("largest values", lambda rest: rest.max(axis=0)),
    ("number", lambda rest: np.full(rest.shape[1], float(len(rest)))),
)
_FINE = 0.1  # rounding of a statistic over the spread of its column, from which agreement is chance


def summary_rows(names: Sequence[str], values: np.ndarray) -> list[str]:  # [N, c]
    """Say which rows at the ends are totals, means and the like, and which rows add up those above them.

    A row of means agrees with the mean of the others in every column that varies, to its own last digit: a centre point
    of a designed experiment agrees in the inputs alone. Smallest and largest values are only told beside such a row.
    """
    n = len(values)
    if n < 5 or n > 200_000 or values.shape[1] > _WIDEST or not np.isfinite(values).all():
        return []
    empty = _of_one_value(values)
    if empty:
        return [empty]
    varying = np.flatnonzero(values.min(axis=0) < values.max(axis=0))
    if len(varying) < _COLUMNS:
        return []
    for place in ("last", "first"):
        ordered = values if place == "last" else values[::-1]
        found = _statistics(ordered[:, varying])
        if found:
            many = len(found) > 1
            rows = f"{len(found)} rows are" if many else "row is"
            j = next(j for j in found[-1][1])
            return [
                f"the {place} {rows} the {', '.join(dict.fromkeys(kind for kind, _ in found))} of all others in "
                f"{len(found[-1][1])} columns ('{names[varying[j]]}': {ordered[-1, varying[j]]:.10g}): no measurement"
                f"{'s' * many}? Remove {'them' if many else 'it'} from the file"
            ]
    return _subtotals(names, values)


def _of_one_value(values: np.ndarray) -> str:
    """Rows that hold one and the same number in every column: samples that were lost, or marks for missing ones."""
    if values.shape[1] < 3 or sum(len(np.unique(column)) >= _FINELY for column in values.T) < 3:
        return ""  # a few levels meet by chance
    rows = np.flatnonzero(values.min(axis=1) == values.max(axis=1))
    if not 3 <= len(rows) <= 0.5 * len(values):
        return ""
    distinct, counts = np.unique(values[rows, 0], return_counts=True)
    value, count = distinct[np.argmax(counts)], int(counts.max())
    if count < 3:
        return ""
    first = rows[values[rows, 0] == value][0] + 1
    return (
        f"{count:,} of {len(values):,} rows hold {value:.10g} in every column (first: row {first}): lost samples, or a "
        "state at rest? Remove them from the file if they are not measurements"
    )


def _statistics(values: np.ndarray) -> list[tuple[str, np.ndarray]]:
    """What the last rows are and in which columns; empty where they are no statistics, a sum or a mean among them."""
    steps = _last_digits(values[:-_ENDS] if len(values) > 2 * _ENDS else values)
    for count in range(min(_ENDS, len(values) - 4), 0, -1):
        rest = values[: len(values) - count]
        kinds = [_statistic(rest, row, steps) for row in values[len(values) - count :]]
        told = [kind for kind in kinds if kind is not None]
        if len(told) == count and {"sum", "mean"} & {kind for kind, _ in told}:
            return told
    return []


def _statistic(rest: np.ndarray, row: np.ndarray, steps: np.ndarray) -> tuple[str, np.ndarray] | None:
    """The statistic of ``rest`` that ``row`` holds: a sum in some columns, others in every one."""
    rounded = np.where(steps > 0, steps, 0.0) * (1 + np.sqrt(len(rest)))  # it was added up before the rows were rounded
    equal = np.abs(row - rest.sum(axis=0)) <= 1e-6 * np.abs(rest).sum(axis=0) + rounded
    hit = np.flatnonzero(equal & ((row > rest.max(axis=0)) | (row < rest.min(axis=0))))
    if len(hit) >= _COLUMNS:
        return "sum", hit
    own = _last_digits(row[None])  # a mean may be written with fewer or with more digits than the readings
    half = 0.5 * np.minimum(own, np.where(steps > 0, 10 * steps, own)) + 1e-9 * np.abs(rest).max(axis=0)
    spread = rest.std(axis=0)
    if not (half <= _FINE * spread).any():
        return None
    for name, of in _STATISTICS:
        if abs(row[0] - of(rest[:, :1])[0]) <= half[0] and (np.abs(row - of(rest)) <= half).all():
            return name, np.arange(len(row))
    return None


def _last_digits(values: np.ndarray) -> np.ndarray:  # [c]
    """One unit in the last decimal place of each column (of a sample of its rows);
    0 where there is no end of digits."""
    values = values[:: max(1, len(values) // _SAMPLE)]
    steps, largest = np.zeros(values.shape[1]), np.abs(values).max(axis=0, initial=0)
    for digits in range(6, -4, -1):
        step = 10.0**-digits
        least = np.minimum(step, largest)
        whole = np.abs(values - np.rint(values / step) * step) <= 1e-9 * np.maximum(np.abs(values), least)
        steps[whole.all(axis=0)] = step
    return steps


def _subtotals(names: Sequence[str], values: np.ndarray) -> list[str]:
    """Rows that are the sum of all rows since the one before, in every column, at least twice."""
    sums, steps = np.zeros(values.shape[1]), _last_digits(values)
    size, rows, since = np.zeros(values.shape[1]), [], 0
    for i, row in enumerate(values):
        if since >= 2 and (np.abs(row - sums) <= 0.5 * steps + 1e-9 * size).all() and (row != 0).any():
            rows.append(i)
            sums, size, since = np.zeros_like(sums), np.zeros_like(size), 0
            continue
        sums, size, since = sums + row, size + np.abs(row), since + 1
    if len(rows) < 2:
        return []
    shown = ", ".join(str(i + 1) for i in rows[:5]) + (", ..." if len(rows) > 5 else "")
    return [
        f"rows {shown} are the sums of the rows above them in all {len(names)} columns: no "
        "measurements? Remove them from the file"
    ]
