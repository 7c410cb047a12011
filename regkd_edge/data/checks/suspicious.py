"""Numbers that are not measurements: missing-value marks, saturated sensors, thousands marks, totals, row numbers.

Each finding names the column, the value, how often it occurs and what to type. The rules are made so that healthy
skewed, rounded, zero-inflated and designed columns pass; each rule says below why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..typed import missing_option, named_option
from .marks import MARKS
from .row_labels import labels_of_rows
from .spikes import disagreeing_values
from .summaries import summary_rows

__all__ = ["suspicious_values"]

_FAR_KNOWN, _FAR = 0.15, 0.35  # gap to the rest, as a share of the range of the rest
_OUTSIDE = 3.0  # the same, from which no distribution repeats one value
_LATTICE = 3  # a column whose rest repeats each value this often has levels, and one of them may stand apart
_LEVELS = 50  # at most so many
_NATURAL = {-100.0, -1.0, 0.0, 1.0, 100.0, 360.0}  # ends of ranges that values reach without being cut off
_AT_ONCE = 1 << 22  # numbers of a block of columns
_LISTED = 12  # findings of one kind that are listed


def suspicious_values(
    dotted: Mapping[str, str],  # column -> why its dot may be a thousands separator
    x: np.ndarray,  # [N, d]
    y: np.ndarray,  # [N, o]
    inputs: Sequence[str],
    targets: Sequence[str],
) -> list[str]:
    """Say which numbers of a table look like markers; not-a-number is passed over."""
    found = [
        f"column '{name}' {why}: a dot as thousands separator? Then add: {named_option('thousands', [name + '=.'])}"
        for name, why in dotted.items()
    ]
    kinds = [("input", inputs, x), ("target", targets, y)]
    told = set()
    for kind, names, values in kinds:
        for j in _worth_a_look(values):
            name, column = names[j], values[:, j]
            notes = _of_column(kind, name, column[np.isfinite(column)])
            told |= {name} if notes else set()
            found += notes
    found += disagreeing_values(x, y, inputs, targets, told)
    if len(x) <= 200_000:
        found += summary_rows([*inputs, *targets], np.column_stack([x, y]))
    found += [
        f"input '{name}' numbers the rows or their times, which carries no information about new rows unless time "
        f"itself is an input. To leave it out, add: {named_option('drop', [name])}"
        for name in labels_of_rows(inputs, x)
    ]
    if len(found) > _LISTED:
        found = [*found[:_LISTED], f"and {len(found) - _LISTED} more findings of this kind"]
    return found


def _worth_a_look(values: np.ndarray) -> list[int]:
    """Columns of [N, c] but those whose ends are distinct values with no wide gap: there :func:`_of_column` finds
    nothing, and a call for each of 100,000 columns takes seconds."""
    n, found = len(values), []
    if n < 10:
        return []
    step = max(1, _AT_ONCE // n)
    for begin in range(0, values.shape[1], step):
        block = np.sort(values[:, begin : begin + step], axis=0)
        with np.errstate(invalid="ignore", over="ignore"):
            plain = (np.diff(block[:5], axis=0) > 0).all(axis=0) & (np.diff(block[-5:], axis=0) > 0).all(axis=0)
            for size in (1, 2, 3):
                plain &= block[size] - block[size - 1] <= 3 * (block[-1] - block[size])
                plain &= block[-size] - block[-size - 1] <= 3 * (block[-size - 1] - block[0])
        found += (begin + np.flatnonzero(~(plain & np.isfinite(block[-1]) & np.isfinite(block[0])))).tolist()
    return found


def _of_column(kind: str, name: str, values: np.ndarray) -> list[str]:
    """Sentinels and saturation of one column."""
    if len(values) < 10:
        return []
    distinct, counts = np.unique(values, return_counts=True)
    notes = []
    for _ in range(3):
        marks = _sentinels(distinct, counts)
        if not len(marks):
            break
        rest = np.setdiff1d(np.arange(len(distinct)), marks)
        shown = ", ".join(f"{distinct[i]:.10g} in {counts[i]:,}" for i in marks)
        share = counts[marks].sum() / len(values)
        typed = missing_option(name, distinct[marks])
        lone = len(marks) == 1 and -10 < distinct[marks[0]] < 0 <= distinct[rest[0]]
        span = f"{distinct[rest[0]]:.6g} to {distinct[rest[-1]]:.6g}"
        span = span if lone else f"({span})"
        apart = "its one negative value; the others are" if lone else "far from the rest"
        notes.append(
            f"{kind} '{name}' has {shown} of {len(values):,} rows ({_percent(share)}), {apart} "
            f"{span}. If it means missing, add: {typed} --blanks drop"
        )
        distinct, counts = distinct[rest], counts[rest]
    for end, side in ((0, "smallest"), (-1, "largest")):
        if _saturated(distinct, counts, end):
            notes.append(
                f"{kind} '{name}' has its {side} value {distinct[end]:.10g} in {counts[end]:,} of {len(values):,} rows "
                f"({_percent(counts[end] / len(values))}): cut off or saturated there? To leave these rows out, add: "
                f"{missing_option(name, [distinct[end]])} --blanks drop"
            )
    return notes


def _percent(share: float) -> str:
    return f"{share:.1%}" if share < 0.095 else f"{share:.0%}"


def _sentinels(distinct: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Places of up to three values at one end that stand far from all others."""
    first, last = distinct[:4].tolist(), distinct[-4:].tolist()
    often = counts[:3].tolist(), counts[-3:].tolist()
    for low in (True, False):
        for size in (1, 2, 3):
            if len(distinct) < size + 2:
                continue
            gap = first[size] - first[size - 1] if low else last[-size] - last[-size - 1]
            span = last[-1] - first[size] if low else last[-size - 1] - first[0]
            if gap <= 3 * span and min(often[0][:size] if low else often[1][-size:]) < 3:
                continue  # as _stands_apart says of a single reading; most columns of a wide table end here
            ends = np.arange(size) if low else np.arange(len(distinct) - size, len(distinct))
            inner = distinct[size:] if low else distinct[:-size]
            inner_counts = counts[size:] if low else counts[:-size]
            if _stands_apart(distinct[ends], counts[ends], inner, inner_counts, gap):
                return ends
    return np.empty(0, dtype=int)


def _stands_apart(marks: np.ndarray, marked: np.ndarray, rest: np.ndarray, counts: np.ndarray, gap: float) -> bool:
    """Whether ``marks`` are not measurements of the quantity that ``rest`` measures."""
    span, n = rest[-1] - rest[0], counts.sum()
    levels = n >= _LATTICE * len(rest) and len(rest) <= _LEVELS
    known = all(float(mark) in MARKS for mark in marks)
    if marked.sum() > n or span <= 0:
        return False
    # One reading can be an outlier of any size; only an impossible one is not a reading.
    if marked.min() < 3 and not (known and gap > 3 * span and marked.sum() >= 1 and np.abs(marks).min() >= 99):
        return gap > 1000 * span and np.abs(marks).min() > 1e3
    if known:
        negative = bool((marks < 0).all() and rest[0] >= 0)
        if np.abs(marks).max() <= 9:  # -1 and -9 are numbers too: only as the one negative value of a count or a size
            return negative and (len(rest) >= 10 or gap > 2 * span)
        if negative:
            return gap > 0.02 * span
        if levels and np.abs(marks).max() < 1000:
            return gap > span  # 99 among the codes 1 to 5, not 99 among 10, 20, ..., 90
        return gap > _FAR_KNOWN * span
    if len(rest) < 6:
        return False
    # A value that skewed data repeat far out is still near its neighbours on the scale of their logarithm: doses 1, 2,
    # 5, 100; and a designed level may stand apart on any scale.
    positive = rest[rest > 0]
    if len(positive) and (marks > 0).all():
        logs, ends = np.log(positive[[0, -1]]), np.log(marks)
        gap_log = (ends.min() - logs[1]) if marks[0] > rest[0] else (logs[0] - ends.max())
        if gap_log < _FAR * (logs[1] - logs[0]) or (levels and gap_log < 2 * (logs[1] - logs[0])):
            return False
    elif levels and gap < _OUTSIDE * span:
        return False
    if (marks == 0).all():  # nothing flows, nothing falls: a natural value, even apart from the others
        return gap > 2 * span and marked.sum() < 0.2 * n
    if gap > _OUTSIDE * span:
        return True
    # Within reach of the others, it must be repeated more than they are.
    typical = np.sort(counts)[int(0.95 * (len(counts) - 1))]
    return marked.min() >= 2 * typical and gap > _FAR * span


def _saturated(distinct: np.ndarray, counts: np.ndarray, end: int) -> bool:
    """Whether an end of a finely resolved column is piled up: many times as often as the values beside it."""
    n = counts.sum()
    if len(distinct) < 50 or float(distinct[end]) in _NATURAL or counts[end] < max(5, 0.005 * n):
        return False
    # Many quantities rest at their smallest value most of the time, whatever unit it is in.
    if counts[end] > (0.5 if end == -1 else 0.2) * n or (end == 0 and distinct[0] <= 0):
        return False
    beside = counts[-21:-1] if end == -1 else counts[1:21]
    inner = counts[:-1] if end == -1 else counts[1:]
    # Values that pile up inside too (rounded readings, defaults) make the end nothing special; the other end may be cut
    # off as well, unless it is a value at which quantities rest.
    if float(distinct[-1 - end]) not in _NATURAL:
        inner = counts[1:-1]
    return bool(counts[end] >= 8 * beside.mean() and counts[end] > 3 * inner.max())
