"""Post-training quantization of a chain: ranges by the output's error, then corrections, each kept only if it helps.

The calibration points are split: a correction is fitted on two thirds and accepted by the output's error on the other
third, so that no correction is kept that only fitted noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..config import CORRECTIONS
from ..graph.chain import Chain
from ..graph.formats import FORMATS
from .calibration import Calibration
from .corrections import correct_biases, correct_output, round_all, round_layer, search_ranges
from .equalize import clip_inputs, equalize
from .plan import Plan, nearest_plan
from .ranges import on_codes, range_of
from .splitting import MARGIN, split_layers
from .threads import threads_for

__all__ = ["CORRECTIONS", "CorrectedPlan", "plan_layers"]

_WORTH = 0.9  # a correction that costs an operator at run time must take a tenth of the squared error away


@dataclass
class CorrectedPlan:
    """A plan, and the corrections tried: ``(correction, relative RMS error before, after, kept)``."""

    plan: Plan
    tried: list[tuple[str, float, float, bool]] = field(default_factory=list)

    @property
    def kept(self) -> list[str]:
        """Names of the corrections in the plan."""
        return list(dict.fromkeys(name for name, _, _, kept in self.tried if kept))

    def record(self) -> list[dict[str, Any]]:
        """Return JSON-able records of all corrections tried, with the relative RMS error before and after."""
        return [
            {"name": name, "before": before, "after": after, "kept": kept} for name, before, after, kept in self.tried
        ]


def plan_layers(
    chain: Chain,
    rows: np.ndarray,  # [n, d] raw units
    forms: Sequence[str],
    *,
    method: str = "output",
    percentile: float = 99.99,
    corrections: Sequence[str] = CORRECTIONS,
    tolerance: np.ndarray | None = None,  # [o] target units
) -> CorrectedPlan:
    """Quantize the layers of ``chain`` to ``forms``.

    Parameters
    ----------
    method : one of :data:`~regkd_edge.quantization.ranges.METHODS`
        How the ranges of the data are chosen. ``output`` searches them by the output's error.
    corrections : subset of :data:`CORRECTIONS`
        What may be tried.
    tolerance : float64 [o], optional
        RMS change of each output that is allowed, in target units: with correction ``split`` and method ``output``,
        INT8 layers get data or weights in two parts where the change is larger.
        :data:`~regkd_edge.quantization.calibration.TOLERANCE` of the outputs' deviation by default.
    """
    points = Calibration.split(chain, rows, tolerance=tolerance)
    # Clipping is a gamble on how often the tails come back, so that a way without it is tried too.
    ways = (True, False) if method == "output" else (False,)

    def make(names: Sequence[str]) -> CorrectedPlan:
        outcomes = [_one_way(chain, rows, points, names, method, percentile, corrections, search) for search in ways]
        return min(outcomes, key=lambda outcome: points.error(outcome.plan, held=True))

    with threads_for(chain):
        outcome = make(forms)
        return split_layers(outcome, make, points) if "split" in corrections and method == "output" else outcome


def _one_way(
    chain: Chain, rows: np.ndarray, points: Calibration, forms: Sequence[str], method: str, percentile: float,
    corrections: Sequence[str], search: bool
) -> CorrectedPlan:  # fmt: skip
    """Apply the corrections one after another; ``search`` lets ranges clip by the error of the output."""
    ranges = [range_of(a, method, percentile) for a in chain.activations(rows)[0]]
    ranges = [MARGIN * r if FORMATS[name].data_parts == 2 else r for r, name in zip(ranges, forms)]
    outcome = CorrectedPlan(nearest_plan(chain, forms, ranges))

    def attempt(name: str, change: Callable[[Plan], Plan], worth: float = 1.0, learnt: int | None = None) -> None:
        """Accept a correction if it helps. With ``learnt`` both plans are judged with that layer alone quantized, so
        that other layers do not decide, and with learnt rounding, as in the result: equalization makes weights uneven,
        which nearest rounding penalizes.
        """
        if name != "ranges" and name not in corrections:
            return
        candidate = change(outcome.plan)
        judged = [outcome.plan, candidate]
        if learnt is not None:
            judged = [plan.only(learnt) for plan in judged]
        if learnt is not None and "rounding" in corrections:
            judged = [round_layer(plan, learnt, points) for plan in judged]
        before, after = (points.error(plan, held=True) for plan in judged)
        kept = after < worth * before
        outcome.tried.append((name, before**0.5, after**0.5, kept))
        if kept:
            outcome.plan = candidate

    for index in range(len(chain.layers)):
        if not outcome.plan.layers[index].scaled_data:
            continue
        a = outcome.plan.inputs(points.rows if index else rows)[index]
        low, high = _bounds(a, method, percentile)
        if outcome.plan.layers[index].form.data_parts == 2:
            if index == 0 and "equalize" in corrections:
                middle, half = (high + low) / 2, MARGIN * (high - low) / 2
                outcome.plan = equalize(outcome.plan, 0, middle - half, middle + half)
            continue
        if index == 0:
            fit = on_values(outcome.plan, a)
            attempt("equalize", lambda plan: equalize(plan, 0, *fit(low, high)), learnt=0)
            if search:
                attempt(
                    "equalize",
                    lambda plan: clip_inputs(plan, points.fit_x, lambda p: points.error(p, held=False), fit),
                    learnt=0,
                )
            continue
        wide = np.maximum(np.abs(low), np.abs(high))
        if chain.layers[index - 1].after.homogeneous:
            attempt("cross-layer", lambda plan: equalize(plan, index, -wide, wide), learnt=index)
        attempt("center", lambda plan: equalize(plan, index, low, high), _WORTH, learnt=index)
    if search:
        attempt("ranges", lambda plan: search_ranges(plan, points))
    for refit in (True, False):
        attempt("rounding", lambda plan, r=refit: round_all(plan, points, r))
    if search:
        attempt("ranges", lambda plan: search_ranges(plan, points))
    attempt("bias", lambda plan: correct_biases(plan, points))
    attempt("affine", lambda plan: correct_output(plan, points))
    return outcome


def _bounds(a: np.ndarray, method: str, percentile: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the range to represent of each input of a layer: all of it, or what the method keeps around its middle."""
    a = a.astype(np.float64)
    low, high = a.min(axis=0), a.max(axis=0)
    if method in ("minmax", "output"):
        return low, high
    centre = (low + high) / 2 if method == "entropy" else np.median(a, axis=0)
    half = np.array([range_of(a[:, j] - centre[j], method, percentile) for j in range(a.shape[1])])
    return np.maximum(low, centre - half), np.minimum(high, centre + half)


def on_values(
    plan: Plan,
    x: np.ndarray,  # [n, d] what reaches the first layer
) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return a function that adjusts ranges ``low, high`` [d] so that features of few values fall on codes."""
    if plan.layers[0].form.name != "int8":
        return lambda low, high: (low, high)
    few = {j: values for j in range(x.shape[1]) if len(values := np.unique(x[:, j].astype(np.float64))) <= len(x) // 2}

    def fit(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = low.copy(), high.copy()
        for j, values in few.items():
            low[j], high[j] = on_codes(values, low[j], high[j])
        return low, high

    return fit
