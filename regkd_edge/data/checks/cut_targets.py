"""Inputs that are the target cut into classes: a flag of failure, a quartile, a traffic light."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..typed import named_option

__all__ = ["cut_target"]

_LEVELS = 10  # classes at most
_ROWS, _FINELY = 20, 30  # rows of a class, and distinct values of the target, that a cut is told from
_BESIDE, _GAP, _DENSE = 10, 4.0, 3.0  # rows on either side; the gap, and the steps there, in steps of a class


def cut_target(
    x: np.ndarray,  # [N, d]
    y: np.ndarray,  # [N]
    inputs: Sequence[str],
    target: str,
) -> str:
    """Say which input looks like the target cut into classes, or the empty string.

    The classes lie one behind the other in the order of the target and touch: rows are as dense at the cut as elsewhere
    in a class. A switch that a target follows leaves a gap instead, or two thin ends that meet. Where it moves the
    target by 4 to 5 standard deviations of the rest, the ends look dense by chance in about one table of ten.
    """
    if x.shape[1] < 2 or len(np.unique(y)) < _FINELY:
        return ""
    order = np.argsort(y, kind="stable")
    rising = y[order]
    for name, column in zip(inputs, x[order].T):
        cuts = np.flatnonzero(column[1:] != column[:-1]) + 1
        if not 1 <= len(cuts) < _LEVELS or len(np.unique(column)) != len(cuts) + 1:
            continue
        ends = np.array([0, *cuts, len(y)])
        if np.diff(ends).min() >= _ROWS and all(_touches(rising, *ends[k : k + 3]) for k in range(len(cuts))):
            return (
                f"input '{name}' looks like target '{target}' cut into {len(cuts) + 1} classes, in every row. If it is "
                f"known only with the target, leave it out: {named_option('drop', [name])}"
            )
    return ""


def _touches(rising: np.ndarray, first: int, cut: int, last: int) -> bool:
    """Whether two classes, rows first to cut and cut to last, meet where rows are dense."""
    gap = rising[cut] - rising[cut - 1]
    if gap <= 0:  # equal targets in two classes
        return False
    below, above = rising[max(first, cut - _BESIDE) : cut], rising[cut : min(last, cut + _BESIDE)]
    beside = max(np.diff(below).mean(), np.diff(above).mean())
    usual = max(float(np.median(np.diff(rising[first:cut]))), float(np.median(np.diff(rising[cut:last]))))
    return bool(
        gap <= _GAP * beside and beside <= _DENSE * max(usual, (rising[last - 1] - rising[first]) / (last - first))
    )
