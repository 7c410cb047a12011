"""Inputs that give the target away, and inputs that are copies of each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from ..typed import named_option
from .cut_targets import cut_target

__all__ = ["copied_inputs", "given_away", "later_targets"]

_ROWS = 4000  # that are looked at
_RESOLVED = 12.0  # standard deviation of the target over the tolerance, below which agreement carries no information
_WITHIN = 4.0  # tolerances that the worst row may be off: least squares does not know which rows are rounded coarsely
_USUAL = 1.5  # root mean squares of the rounding that the median row may be off
_MOST_DIGITS = 12
_NOISE = 0.01  # of the target's spread that a copy in another unit is off by, rounded or measured twice
_FEW_ROWS, _LEVELS = 30, 10  # rows and distinct values from which an order is none by chance
_LATER, _SAME, _SELDOM = 3, 0.95, 0.5  # rows below; share of rows that agree, and in which the target is as before
_FIRST_LOOK = 100  # rows of which an input that holds later targets agrees in half at least, but for 1 time in 10^38
_EXACT = 1e-10  # a sum of numbers as they stand, but for the rounding of float64

# y itself, and what tables hold in place of it. Each with its derivative, which carries the rounding of y over.
_FORMS: dict[str, tuple[Callable[[np.ndarray], np.ndarray], Callable[[np.ndarray], np.ndarray]]] = {
    "": (lambda y: y, np.ones_like),
    "exp of ": (np.exp, np.exp),
    "log of ": (np.log, lambda y: 1 / y),
    "square of ": (np.square, lambda y: 2 * np.abs(y)),
    "root of ": (np.sqrt, lambda y: 0.5 / np.sqrt(y)),
    "reciprocal of ": (lambda y: 1 / y, lambda y: 1 / np.square(y)),
}


def given_away(
    x: np.ndarray,  # [N, d]
    y: np.ndarray,  # [N, o]
    inputs: Sequence[str],
    targets: Sequence[str],
) -> list[str]:
    """Say which targets are a sum of a few inputs to within the rounding of the table, or a plain function of one.

    A least-squares fit must agree in every row (a sample of at most 4,000) to half a unit in the last place of the
    target and of the inputs. Such a table needs no network, or the inputs were computed from the target.
    """
    x, y = _sample(x, y)
    n, d = x.shape
    if n < 2 * d + 10 or n < 20 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return []
    centre, scale = x.mean(axis=0), x.std(axis=0)
    varying = np.flatnonzero(scale > 1e-12 * np.abs(centre).max(initial=0))
    design = np.column_stack([(x[:, varying] - centre[varying]) / scale[varying], np.ones(n)])

    @cache
    def steps() -> np.ndarray:  # [n, varying], rounding of the standardised inputs
        return np.column_stack([_resolution(x[:, j]) for j in varying]) / scale[varying]

    notes = []
    for name, column in zip(targets, y.T):
        step = _resolution(column)
        for form, (function, slope) in _FORMS.items():
            if (form in ("log of ", "root of ", "reciprocal of ") and column.min() <= 0) or (
                form == "exp of " and column.max() > 50
            ):
                continue
            with np.errstate(all="ignore"):
                value, tolerance = function(column), 0.5 * step * slope(column)
            used = _few_that_fit(design, value, tolerance, steps)
            near = _nearly(x, column, inputs, name) if used is not None and len(used[0]) > 1 else ""
            if near:  # the other inputs only fit the rounding
                notes.append(near)
                break
            if used is not None:
                notes.append(
                    _said(name, form, [inputs[varying[j]] for j in used[0]], used[1] / scale[varying[used[0]]], d)
                )
                break
        else:
            note = (
                _nearly(x, column, inputs, name)
                or _product(x, column, inputs, name)
                or cut_target(x, column, inputs, name)
            )
            notes += [note] if note else []
    return notes


def _nearly(x: np.ndarray, y: np.ndarray, inputs: Sequence[str], target: str) -> str:
    """An input that is the target up to noise of 1 % of its spread, or that orders all rows as the target does.

    Only where two inputs or more are there: a table of one input may well be a curve.
    """
    if x.shape[1] < 2 or len(x) < _FEW_ROWS or len(np.unique(y)) < _LEVELS:
        return ""
    spread = y.std()
    for name, column in zip(inputs, x.T):
        if column.min() == column.max():
            continue
        z = column - column.mean()
        rest = (y - y.mean()) - z * (z @ (y - y.mean())) / (z @ z)
        if rest.std() <= _NOISE * spread:
            share = rest.std() / spread
            how = f"input '{name}' gives target '{target}' to within {share:.1g} of its spread by a straight line"
        elif _ordered(column, y):
            how = f"input '{name}' puts the rows in the order of target '{target}'"
        else:
            continue
        return (
            f"{how}: the target in another unit, or computed from it? What is known only with the target must not be "
            f"an input. To leave it out, add: {named_option('drop', [name])}"
        )
    return ""


def _product(x: np.ndarray, y: np.ndarray, inputs: Sequence[str], target: str) -> str:
    """Two or three inputs whose product or quotient is the target in every row, to the rounding of the table."""
    positive = np.flatnonzero(x.min(axis=0) > 0)
    if y.min() <= 0 or len(positive) < 2 or len(x) < 2 * len(positive) + 20:
        return ""
    logs, value = np.log(x[:, positive]), np.log(y)
    design = np.column_stack([logs - logs.mean(axis=0), np.ones(len(x))])
    powers, *_ = np.linalg.lstsq(design, value, rcond=1e-10)
    used = np.flatnonzero(np.abs(powers[:-1]) > 0.05)
    whole = np.rint(powers[used])
    if not 2 <= len(used) <= 3 or (np.abs(powers[used] - whole) > 0.02).any() or (whole == 0).any():
        return ""
    rest = value - logs[:, used] @ whole
    slack = _resolution(y) / y + sum(
        abs(power) * _resolution(x[:, positive[k]]) / x[:, positive[k]] for k, power in zip(used, whole)
    )
    off = np.abs(rest - np.median(rest))
    if (off > slack + 1e-9).any() or value.std() < _RESOLVED * np.median(slack):
        return ""
    names = [inputs[positive[k]] for k in used]
    shown = ", ".join(f"'{name}'" for name in names)
    return (
        f"inputs {shown} multiply and divide to target '{target}' in every row, to the last digit: this target needs "
        f"no network, or its inputs were computed from it. To leave them out, add: {named_option('drop', names)}"
    )


def _ordered(column: np.ndarray, y: np.ndarray) -> bool:
    """Whether the target rises, or falls, with a finely resolved input in every row."""
    levels = len(np.unique(column))
    if levels < _LEVELS:
        return False
    for sign in (1.0, -1.0):
        order = np.lexsort((sign * y, column))
        if (np.diff(sign * y[order]) >= 0).all():
            return True
    return False


def _few_that_fit(
    design: np.ndarray, value: np.ndarray, rounding: np.ndarray, steps: Callable[[], np.ndarray]
) -> tuple[list[int], np.ndarray] | None:
    """The inputs (and their factors) whose sum is ``value`` in every row; None where there are no few."""
    spread = value.std()
    if not np.isfinite(spread) or spread <= 0:
        return None
    factors, *_ = np.linalg.lstsq(design, value, rcond=1e-10)
    if np.abs(design @ factors - value).max() > _WITHIN / _RESOLVED * spread:
        return None
    used: list[int] = []
    for _ in range(3):  # without those that add nothing, the others become exact
        used = np.flatnonzero(np.abs(factors[:-1]) > 1e-3 * spread).tolist()
        if not 1 <= len(used) <= max(4, design.shape[1] // 2):
            return None
        factors = np.zeros(design.shape[1])
        factors[[*used, -1]], *_ = np.linalg.lstsq(design[:, [*used, -1]], value, rcond=1e-10)
    if np.abs(design @ factors - value).max() <= _EXACT * spread:  # whatever the table is rounded to
        return used, factors[used]
    slack = rounding + 0.5 * steps() @ np.abs(factors[:-1]) + 1e-9 * spread
    usual = np.sqrt((rounding**2 + (0.5 * steps()) ** 2 @ factors[:-1] ** 2) / 3) + 1e-9 * spread  # they seldom add up
    off = np.abs(design @ factors - value)
    if (off > _WITHIN * slack).any() or np.median(off / usual) > _USUAL or spread < _RESOLVED * np.median(slack):
        return None
    return used, factors[used]


def _said(target: str, form: str, names: list[str], factors: np.ndarray, d: int) -> str:
    sizes = np.abs(factors)
    alike = sizes.max() <= 1.001 * sizes.min()
    what = f"the {form}target '{target}'" if form else f"target '{target}'"
    shown = ", ".join(f"'{name}'" for name in names)
    if len(names) == 1:
        equal = not form and abs(sizes[0] - 1) < 1e-6
        told = f"input {shown} {'equals' if equal else 'is a multiple of'} {what} (up to a constant)"
    elif alike:
        told = f"inputs {shown} add up to {what}"
    else:
        told = f"a weighted sum of the inputs {shown} gives {what}"
    told += " in every row, to the last digit"
    if len(names) == d:
        return f"{told}: this target needs no network, or its inputs were computed from it"
    them = "it" if len(names) == 1 else "them"
    return (
        f"{told}: what is known only with the target must not be an input. To leave {them} out, add: "
        f"{named_option('drop', names)}"
    )


def _sample(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if len(x) <= _ROWS:
        return x, y
    rows = np.linspace(0, len(x) - 1, _ROWS).astype(np.int64)
    return x[rows], y[rows]


def _resolution(column: np.ndarray) -> np.ndarray:
    """One unit in the last place of each value, for columns of so many decimals or of so many significant digits."""
    fixed, largest = 0.0, float(np.abs(column).max(initial=0))
    for digits in range(-6, _MOST_DIGITS + 1):
        step = 10.0**-digits
        least = min(step, largest)  # a column of amperes below a microampere does not consist of zeros
        if (np.abs(column - np.rint(column / step) * step) <= 1e-12 * np.maximum(np.abs(column), least)).all():
            fixed = step
            break
    exponent = np.floor(np.log10(np.abs(np.where(column == 0, 1.0, column))))
    for digits in range(1, _MOST_DIGITS + 1):
        steps = 10.0 ** (exponent - digits + 1)
        if (np.abs(column - np.rint(column / steps) * steps) <= 1e-9 * steps).all():
            return np.maximum(fixed, np.where(column == 0, 0.0, steps))
    return np.full(len(column), fixed)


def later_targets(
    x: np.ndarray,  # [N, d]
    y: np.ndarray,  # [N, o]
    inputs: Sequence[str],
    targets: Sequence[str],
) -> list[str]:
    """Say which inputs hold the target of a row below: a forecast's answer, shifted the wrong way."""
    notes = []
    for target, column in zip(targets, y.T):
        for below in range(1, _LATER + 1):
            before, after = column[:-below], column[below:]
            if len(after) < _FEW_ROWS or len(np.unique(after)) < _LEVELS or (before == after).mean() > _SELDOM:
                continue
            few = np.linspace(0, len(after) - 1, min(len(after), _FIRST_LOOK)).astype(np.int64)
            near = np.flatnonzero((x[few] == after[few, None]).mean(axis=0) >= _SELDOM)
            for j in near.tolist():
                name, share = inputs[j], (x[:-below, j] == after).mean()
                if share >= _SAME:
                    row = "the next row" if below == 1 else f"the row {below} below"
                    notes.append(
                        f"input '{name}' is target '{target}' of {row} in {share:.0%} of the rows: where rows follow "
                        f"each other in time, it is known only later. To leave it out, add: "
                        f"{named_option('drop', [name])}"
                    )
    return notes


def copied_inputs(
    x: np.ndarray,  # [N, d]
    inputs: Sequence[str],
) -> list[str]:
    """Say which inputs are the same as another one in every row."""
    first: dict[bytes, list[int]] = {}
    for j, column in enumerate(x.T):
        if len(column):
            first.setdefault(np.ascontiguousarray(column[:: max(1, len(column) // 1000)]).tobytes(), []).append(j)
    notes = []
    for group in first.values():
        if len(group) > 1:
            low, high = x[:, group].min(axis=0), x[:, group].max(axis=0)  # NaN where a value is missing
            group = np.array(group)[np.isfinite(low) & np.isfinite(high) & (low != high)].tolist()
        copies = [inputs[j] for j in group[1:] if np.array_equal(x[:, j], x[:, group[0]])]
        if copies:
            shown = ", ".join(f"'{name}'" for name in copies)
            notes.append(
                f"input '{inputs[group[0]]}' is repeated as {shown}: one of them is enough, add: "
                f"{named_option('drop', copies)}"
            )
    return notes
