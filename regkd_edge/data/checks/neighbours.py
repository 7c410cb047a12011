"""Rows that know each other: grouped by a unit or one after the other in time, so that random held-out rows leak.

How it is judged: the five nearest neighbours (in standardised inputs) predict the target of held-out rows, once with
random tenths of the rows held out, once with tenths that lie together in the table or belong to one unit. Where
rows are independent both err alike. Where neighbours in the table share something that the inputs betray (a unit, a
time), the random tenths err less, and so will every network.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np

from ..stored import is_stored
from ..typed import named_option
from .levels import errors_of_levels
from .row_labels import is_time

__all__ = ["looks_grouped", "names_units"]

_ROWS, _BLOCKS, _FOLDS, _NEIGHBOURS = 3000, 30, 10, 5
_RATIO = 1.5  # squared error of blocks over that of random rows from which it is worth a warning
_DROP = 0.05  # loss of R2 below which a designed table in its order is only extrapolated
_SURE = 3.0  # standard errors, of the mean over the folds or of the share of units and pieces that are worse
_FULL = 0.8  # share of all combinations of levels that a grid has at least
_UNIT = re.compile(
    r"(^|[_\W])(unit|id|nr|no|number|subject|patient|person|user|cell|battery|engine|machine|device|serial|vehicle|car|"
    r"truck|asset|site|station|plant|well|pump|motor|bearing|batch|lot|run|experiment|trial|session|sample|group|"
    r"sn|serien|serie|ger(ae|\u00e4)t|pr(ue|\u00fc)fling|probe|versuch|messung|charge|maschine|anlage|wafer|coil|sensor|node|"
    r"board|dut|chip|die|rig|robot|drone|flight|trip|route|driver|ride|pack|module|animal|plot|field|tool|"
    r"participant|customer|specimen|household|building|turbine|part)s?(id|nr|no|name|num|number)?([_\W\d]|$)",
    re.IGNORECASE,
)


def looks_grouped(
    x: np.ndarray,  # [N, d]
    y: np.ndarray,  # [N, o]
    inputs: Sequence[str],
    repeats: np.ndarray,  # [N] int64, equal for equal rows: never on both sides here either
    seed: int = 0,
    groups: np.ndarray | None = None,  # [N] int64, of close rows
    times: Sequence[str] = (),  # inputs that are times
) -> str:
    """A warning that says how it was judged, or the empty string."""
    if len(x) < 60 or not repeats.max():
        return ""
    if times:  # the order of the table, where the table is shuffled
        column = list(inputs).index(times[0])
        order = np.argsort(x[:, column], kind="stable")
        x, y, repeats = x[order], y[order], repeats[order]
        groups = None if groups is None else groups[order]
    swept = not times and _grid(x)
    rows, blocks = _pieces(len(x), seed)
    x, y, repeats = x[rows], y[rows], repeats[rows]
    groups = None if groups is None else groups[rows]
    if not times and _one_axis(x, inputs):
        return ""
    spread = x.std(axis=0)
    z = ((x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)).astype(np.float32)
    rng = np.random.Generator(np.random.PCG64(seed))
    random = _folds(repeats, rng)
    unit = _unit_column(x, inputs)
    if unit is not None:
        units = np.unique(x[:, unit], return_inverse=True)[1].reshape(-1)
        others = np.delete(z, unit, axis=1)
        told, by = _compared(others, y, random, units, rng) or _compared(z, y, random, units, rng), "five nearest rows"
        if not told:
            levels = errors_of_levels(others.astype(np.float64), x[:, unit], units)
            told, by = _compared(z, y, random, units, rng, levels), "other inputs and the mean of its other rows"
        if told:
            return (
                f"rows of one '{inputs[unit]}' look alike: the {by} predict the target with {told} when "
                f"whole units of '{inputs[unit]}' are held out. Held-out figures are too good for new units: add "
                f"{named_option('group', [inputs[unit]])}"
            )
    if times:
        z = np.delete(z, [list(inputs).index(name) for name in times], axis=1)
    if groups is not None and z.shape[1]:
        count = len(np.unique(groups))
        told = _compared(z, y, random, groups, rng)
        if told:
            return (
                f"the rows form {count} tight groups, perhaps a unit or an operating point each: the five nearest rows "
                f"predict the target with {told} when whole groups are held out. Held-out figures are too good for new "
                "units: add --group COLUMN or --test-data FILE"
            )
    if swept:
        return ""
    told = z.shape[1] and (
        _compared(z, y, random, blocks, rng)
        or _compared(z, y, random, np.arange(len(z)) * _FOLDS // len(z), rng)  # units longer than a piece
    )
    if not told:
        return ""
    if times:
        shown = named_option("time", [times[0]])
        return (
            f"rows of one time ('{times[0]}') look alike: the five nearest rows predict the target with {told} when "
            "times that lie together are held out. Held-out figures are too good for new "
            f"times: add {shown} --split time"
        )
    return (
        "rows near each other in the table look alike (units, or times, one after the other): the five nearest rows "
        f"predict the target with {told} when rows that lie together are held out. Held-out figures are too good for "
        "new units or times: add --group COLUMN, --split time or --test-data FILE"
    )


def names_units(name: str) -> bool:
    """Whether the name of a column is that of a unit which rows come from: ``unit``, ``cell_id``, ``engineNo``."""
    return _UNIT.search(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)) is not None


def _pieces(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """At most 3,000 rows in 30 contiguous pieces, and the piece of each."""
    if n <= _ROWS:
        return np.arange(n), np.arange(n) * _BLOCKS // n
    length = _ROWS // _BLOCKS
    starts = np.linspace(0, n - length, _BLOCKS).astype(np.int64)
    return (starts[:, None] + np.arange(length)).reshape(-1), np.repeat(np.arange(_BLOCKS), length)


def _folds(units: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A fold for each row, whole units in one."""
    count = int(units.max()) + 1
    folds = rng.permutation(count) % min(_FOLDS, count)
    return folds[units]


def _one_axis(x: np.ndarray, inputs: Sequence[str]) -> bool:
    """Whether the rows are a curve in the order of its only input: rows that lie together are a stretch of the axis."""
    if x.shape[1] != 1 or is_time(inputs[0], np.sort(x[:, 0])):
        return False
    steps = np.diff(x[:, 0])
    return bool((steps >= 0).all() or (steps <= 0).all())


def _grid(x: np.ndarray) -> bool:
    """Whether the rows are (nearly) all combinations of the levels of their columns: they lie in the table as they were
    swept, and what rows that lie together share is the value of an input, which no new row lacks. Rows in a file are
    not looked through for it.
    """
    if is_stored(x):
        return False
    product, varied = 1, 0
    for column in x.T:
        levels = len(np.unique(column))
        product, varied = product * levels, varied + (levels > 1)
        if product * _FULL > len(x):
            return False
    return varied > 1 and len(np.unique(x, axis=0)) >= _FULL * product


def _unit_column(x: np.ndarray, inputs: Sequence[str]) -> int | None:
    """The first input whose name and values are those of a unit: repeated whole numbers."""
    for j, name in enumerate(inputs):
        if not names_units(name) or (x[:, j] != np.rint(x[:, j])).any():
            continue
        count = len(np.unique(x[:, j]))
        if 3 <= count <= len(x) // 3:
            return j
    return None


def _compared(
    z: np.ndarray,
    y: np.ndarray,
    random: np.ndarray,
    units: np.ndarray,
    rng: np.random.Generator,
    judge: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
) -> str:
    """``R2 0.99 when random rows are held out, -2.3`` where whole units err more beyond chance, else nothing.

    ``judge``: gives the errors of y for folds, in place of the nearest rows.
    """
    together = _folds(units, rng)
    judge = judge or (lambda y, folds: _errors(z, y, folds))
    errors = {name: judge(y, folds) for name, folds in (("random", random), ("together", together))}
    variance = y.var(axis=0)
    told = []
    for k in range(y.shape[1]):
        if variance[k] == 0:
            continue
        at_random, apart = errors["random"][:, k], errors["together"][:, k]
        by_fold, by_unit = (_means(apart - at_random, labels) for labels in (together, units))
        worse = 2 * int((by_unit > 0).sum()) - len(by_unit)
        sure = (
            by_fold.mean() > _SURE * by_fold.std(ddof=1) / np.sqrt(len(by_fold)) or worse > _SURE * len(by_unit) ** 0.5
        )
        worth = apart.mean() > _RATIO * at_random.mean() and apart.mean() - at_random.mean() > _DROP * variance[k]
        if sure and worth and at_random.mean() < 0.9 * variance[k]:
            told.append((1 - at_random.mean() / variance[k], 1 - apart.mean() / variance[k]))
    if not told:
        return ""
    best, worst = min(told, key=lambda pair: pair[1] - pair[0])
    return f"R2 {best:.2f} when random rows are held out, {worst:.2f}"


def _means(values: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean of the values of each label."""
    return np.bincount(labels, values)[np.unique(labels)] / np.unique(labels, return_counts=True)[1]


def _errors(z: np.ndarray, y: np.ndarray, folds: np.ndarray) -> np.ndarray:  # [n, o]
    """Squared error of each row, predicted by its nearest neighbours in other folds."""
    errors = np.empty_like(y)
    for fold in np.unique(folds):
        held = np.flatnonzero(folds == fold)
        seen = np.flatnonzero(folds != fold)
        distance = (z[seen] ** 2).sum(axis=1) - 2 * z[held] @ z[
            seen
        ].T  # the square of the held row is the same for all
        near = np.argpartition(distance, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
        errors[held] = (y[held] - y[seen][near].mean(axis=1)) ** 2
    return errors
