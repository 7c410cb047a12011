"""One value among the readings of a column that is repeated, and that the other columns do not agree with.

A missing-value mark inside the range of the readings (0 of a thermometer, 85 of a DS18B20, 20 in a target) and a sensor
that got stuck look the same: one value far more often than its neighbours. Real tables repeat values too, a flow at
rest or a set-point. They differ in what the other columns say: rows that hold a reading of 20 resemble the rows at 19.9
and 20.1; rows where 20 stands for nothing resemble any row. So the column is predicted from the others, and the errors
in the rows of the value are compared with those in the rows next to it. A mark is a round number or a known one,
written by a program; a sensor is stuck for many rows on end. A value in more than a quarter of the rows is a state of
the plant.

A column of few levels (whole degrees, marks from 1 to 5) repeats every value. There a level is looked at that is far
more frequent than the levels beside it, or that stands apart behind a gap. There, and at an end of the range (a valve
at 100 %, no rain, a machine that is off), the other columns must follow the rest of the column well, and in the
rows beyond what is usual they must say of it what they say anywhere, as of any rows.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ..typed import missing_option
from .marks import MARKS

__all__ = ["disagreeing_values"]

_ROWS = 6000  # that are looked at
_LONG, _GLANCE = 100_000, 20_000  # rows from which a sample of so many says whether any value is frequent
_LEVELS = 30  # distinct values from which a column is finely resolved
_OFTEN, _ALONE = 5.0, 3.0  # times as often as 19 of 20 of the other values, and as the next frequent one
_LEAST, _MOST = 0.01, 0.25  # share of the rows
_RUN = 10  # rows on end that a sensor is stuck for
_RATIO = 2.0  # mean squared error over that of the rows next to the value
_SURE = 4.0  # standard errors of the logarithm of that ratio
_FEW, _EACH = 5, 8  # levels that a coarse column has at least, and rows of each in the mean
_BESIDE, _GAP = 1.4, 3.0  # times as often as the two levels on either side; or so many steps from the others
_HOLES = 0.25  # share of the steps between levels that may be longer than the others
_FOLLOWED = 0.5  # R2 of a coarse column by the others
_LIKE_ANY = (
    0.35,
    0.7,
)  # difference of what is predicted from that of any rows, in their spread; the least share of their variance
_PRODUCTS = 12  # columns up to which their products are predictors too
_BEST = 40  # columns that predict one of a wide table: those that follow it most closely


def disagreeing_values(
    x: np.ndarray,  # [N, d]
    y: np.ndarray,  # [N, o]
    inputs: Sequence[str],
    targets: Sequence[str],
    told: Collection[str] = (),
) -> list[str]:
    """Say which values are repeated in a column of readings and do not fit what the other columns say.

    ``told``: columns about which something was said already.
    """
    n = len(x)
    if n < 50 or x.shape[1] + y.shape[1] > 500:
        return []
    columns = [*x.T, *y.T]
    candidates = {j: found for j, column in enumerate(columns) if len(found := _repeated(column))}
    if not candidates:
        return []
    rows = np.arange(n) if n <= _ROWS else np.sort(np.random.default_rng(0).permutation(n)[:_ROWS])
    seen = np.column_stack([x[rows], y[rows]])
    seen = seen[np.isfinite(seen).all(axis=1)] if seen.shape[1] > _BEST + 1 else seen
    standard = _standard(seen) if seen.shape[1] > _BEST + 1 else None
    notes = []
    for j, marks in candidates.items():
        kind, name = ("input", inputs[j]) if j < len(inputs) else ("target", targets[j - len(inputs)])
        if name in told:
            continue
        looked, place = seen, j
        if standard is not None:
            alike = np.abs(standard[:, j] @ standard)
            alike[j] = np.inf
            looked, place = seen[:, np.argsort(-alike, kind="stable")[: _BEST + 1]], 0
        for mark in marks:
            if _disagrees(looked, place, mark):
                notes.append(_said(kind, name, columns[j], mark))
    return notes


def _repeated(column: np.ndarray) -> np.ndarray:
    """At most two values that are repeated far more than the others of a finely resolved column."""
    if not _may_repeat(column):
        return np.empty(0)
    column = column[np.isfinite(column)]
    distinct, counts = np.unique(column, return_counts=True)
    if _coarse(len(distinct), len(column)):
        return _frequent_levels(distinct, counts)
    if len(distinct) < _LEVELS:
        return np.empty(0)
    order = np.argsort(-counts, kind="stable")
    typical = np.sort(counts)[int(0.95 * (len(counts) - 1))]
    marks = []
    for place, next_place in zip(order[:2], order[1:3]):
        least = max(5, _LEAST * len(column), _OFTEN * typical, _ALONE * counts[next_place])
        if counts[place] < least:
            continue
        mark, at = distinct[place], column == distinct[place]
        round_number = mark == np.rint(mark) or mark == float(f"{mark:.1e}") or float(mark) in MARKS
        if counts[place] <= _MOST * len(column) and (round_number or _longest(at) >= max(_RUN, 0.3 * at.sum())):
            marks.append(mark)
    return np.array(marks)


def _may_repeat(column: np.ndarray) -> bool:
    """Whether a value can fill the least share of a long column, by a sample of its rows: half of it there, or more.

    Of 20,000 rows a value of that share fills 200 in the mean; fewer than 100 are seven standard errors away.
    """
    if len(column) < _LONG:
        return True
    drawn = np.random.default_rng(1).integers(0, len(column), _GLANCE)
    some = column[np.sort(drawn)]
    some = some[np.isfinite(some)]
    return not len(some) or bool(np.unique(some, return_counts=True)[1].max() >= 0.5 * _LEAST * len(some))


def _coarse(levels: int, rows: int) -> bool:
    """Whether a column repeats each of its values many times, as whole degrees do."""
    return levels >= _FEW and levels * _EACH <= rows


def _frequent_levels(distinct: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """At most two levels of a coarse column that are far more frequent than those beside them, or stand apart.

    The levels are multiples of one step. The end of a range may be frequent: counts of 0, a scale used to its end.
    """
    n, count = counts.sum(), len(distinct)
    steps = np.diff(distinct)
    step, found = np.median(steps), []
    if (steps > 1.01 * step).mean() > _HOLES or (steps < 0.99 * step).any():
        return np.empty(0)  # chosen levels, not a resolution
    for place in range(count):
        beside = np.delete(counts[max(0, place - 2) : place + 3], min(place, 2)).max()
        end = place in (0, count - 1)
        apart = end and steps[0 if place == 0 else -1] >= _GAP * step
        often = counts[place] >= max(_BESIDE * beside, beside + _SURE * np.sqrt(beside))
        if max(10, _LEAST * n) <= counts[place] <= _MOST * n and (apart or (often and not end)):
            found.append(place)
    return distinct[sorted(found, key=lambda place: -counts[place])[:2]]


def _disagrees(values: np.ndarray, j: int, mark: float) -> bool:
    """Whether the rows that hold ``mark`` are predicted worse than those whose value is nearest to it."""
    column = values[:, j]
    sound = np.isfinite(values).all(axis=1)
    at = sound & (column == mark)
    rest = np.flatnonzero(sound & (column != mark))
    if at.sum() < 5 or len(rest) < 40:
        return False
    features = _features(np.delete(values, j, axis=1))
    near = rest[
        np.argsort(np.abs(column[rest] - mark), kind="stable")[: max(20, min(2 * int(at.sum()), len(rest) // 4))]
    ]
    fitted = np.setdiff1d(rest, near[::2])  # half of the rows next to it are predicted, not fitted
    if len(fitted) < 3 * features.shape[1]:
        features = features[:, : max(1, len(fitted) // 3)]
    solved, *_ = np.linalg.lstsq(features[fitted], column[fitted], rcond=1e-8)
    predicted = features @ solved
    errors = (predicted - column) ** 2
    end = mark in (column[sound].min(), column[sound].max())
    if end or _coarse(len(np.unique(column)), len(column)):
        followed = errors[rest].mean() <= (1 - _FOLLOWED) * column[rest].var()
        if not followed or not _like_any_rows(column, predicted, at, rest, mark):
            return False
    apart, beside = float(errors[at].mean()), float(errors[near[::2]].mean())
    if beside <= 0:
        return apart > 0
    ratio = apart / beside
    return ratio > _RATIO and np.log(ratio) > _SURE * np.sqrt(2 / at.sum() + 2 / len(near[::2]))


def _like_any_rows(column: np.ndarray, predicted: np.ndarray, at: np.ndarray, rest: np.ndarray, mark: float) -> bool:
    """Whether the rows of a level beyond those that it should have are predicted as any rows are."""
    distinct, counts = np.unique(column[rest], return_counts=True)
    place = int(np.searchsorted(distinct, mark))
    usual = counts[max(0, place - 1) : place + 1].mean() if 0 < place < len(distinct) else 0.0
    beyond = max(0.0, 1 - usual / at.sum())
    level, spread = predicted[rest].mean(), predicted[rest].std()
    own = np.abs(column[rest] - mark) <= np.median(np.diff(distinct))
    inside = predicted[rest][own].std() if own.sum() > 5 else 0.0
    expected = beyond * level + (1 - beyond) * mark
    variance = beyond * spread**2 + (1 - beyond) * inside**2 + beyond * (1 - beyond) * (level - mark) ** 2
    off = abs(predicted[at].mean() - expected)
    enough = predicted[at].var() >= (_LIKE_ANY[1] - np.sqrt(2 / at.sum())) * variance  # less a standard error
    return bool(off <= (_LIKE_ANY[0] + 2 / np.sqrt(at.sum())) * spread and enough)


def _standard(values: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and spread 1, cut off where marks may stand; 0 where they do not vary."""
    if not len(values):
        return values
    values = np.clip(values, *np.percentile(values, [1, 99], axis=0))
    spread = values.std(axis=0)
    return (values - values.mean(axis=0)) / np.where(spread > 0, spread, np.inf)


def _features(others: np.ndarray) -> np.ndarray:
    """A constant, the columns, their squares and products; standardised, and cut off where marks may stand."""
    low, high = np.percentile(others[np.isfinite(others).all(axis=1)], [1, 99], axis=0)
    others = np.clip(np.nan_to_num(others), low, high)
    spread = others.std(axis=0)
    z = (others - others.mean(axis=0))[:, spread > 0] / spread[spread > 0]
    parts = [np.ones((len(z), 1)), z, z**2]
    if z.shape[1] <= _PRODUCTS:
        first, second = np.triu_indices(z.shape[1], 1)
        parts.append(z[:, first] * z[:, second])
    return np.concatenate(parts, axis=1)


def _said(kind: str, name: str, column: np.ndarray, mark: float) -> str:
    at = column == mark
    count, run = int(at.sum()), _longest(at)
    distinct, counts = np.unique(column[np.isfinite(column) & ~at], return_counts=True)
    together = f", {run} of them one after the other" if run >= max(5, 0.2 * count) else ""
    often = f"no other value occurs more than {counts.max()} times, and " if count > counts.max() else ""
    why = "a sensor that was stuck, or a mark for missing values" if together else "a mark for missing values"
    return (
        f"{kind} '{name}' has {mark:.10g} in {count:,} of {len(column):,} rows ({count / len(column):.1%}){together}; "
        f"{often}the other columns do not agree with it in these rows: "
        f"{why}? Then add: {missing_option(name, [mark])} --blanks drop"
    )


def _longest(at: np.ndarray) -> int:
    """The longest run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], at, [False]]).astype(np.int8)))
    return int((edges[1::2] - edges[::2]).max(initial=0))
