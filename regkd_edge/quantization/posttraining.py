"""Post-training quantization of a chain: ranges by the output's error, then corrections, each kept only if it helps.

The calibration points are split: a correction is fitted on two thirds and accepted by the output's error on the other
third, so that no correction is kept that only fitted noise.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..config import CORRECTIONS
from ..graph.chain import Chain
from ..io.progress import tick
from .calibration import Calibration
from .corrections import correct_biases, correct_output, round_all, search_ranges
from .equalize import EVEN_DATA, clip_inputs
from .evenness import Evenness
from .plan import Plan
from .splitting import split_layers
from .threads import threads_for

__all__ = ["CORRECTIONS", "CorrectedPlan", "plan_layers"]


# Inputs: with k times as many, ends are searched on every k-th point, or the time would grow as their square.
_WIDE = 64


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

    evenness = Evenness(chain, rows, points, method, percentile, corrections)

    def make(names: Sequence[str]) -> CorrectedPlan:
        outcomes = [_one_way(evenness, names, search) for search in ways]
        return min(outcomes, key=lambda outcome: points.error(outcome.plan, held=True))

    with threads_for(chain):
        outcome = make(forms)
        return split_layers(outcome, make, points) if "split" in corrections and method == "output" else outcome


def _one_way(evenness: Evenness, forms: Sequence[str], search: bool) -> CorrectedPlan:
    """Apply the corrections one after another; ``search`` lets ranges clip by the error of the output."""
    chain, points, corrections = evenness.chain, evenness.points, evenness.corrections
    outcome = CorrectedPlan(evenness.nearest(forms))
    number, done, total = next(evenness.attempts), itertools.count(1), len(chain.layers) + (6 if search else 4)

    def told() -> None:
        tick(f"attempt {number}, correction", next(done), total)

    def attempt(name: str, change: Callable[[Plan], Plan], learnt: int | None = None) -> None:
        """Accept a correction if it helps. With ``learnt`` both plans are judged with that layer alone quantized, so
        that other layers do not decide, and with learnt rounding, as in the result.
        """
        if learnt is None:  # else a part of what is told of its layer
            told()
        if name != "ranges" and name not in corrections:
            return
        candidate = change(outcome.plan)
        before, after = (evenness.error(plan, learnt) for plan in (outcome.plan, candidate))
        outcome.tried.append((name, before**0.5, after**0.5, after < before))
        if after < before:
            outcome.plan = candidate

    for index in range(len(chain.layers)):
        told()
        if not outcome.plan.layers[index].scaled_data:
            continue
        choice = evenness.choice(index, forms[index])
        outcome.tried += choice.tried
        outcome.plan = choice.applied(outcome.plan, index)
        if index == 0 and search and outcome.plan.layers[0].form.data_parts == 1:
            fit, power = evenness.fit(outcome.plan), choice.power or EVEN_DATA
            some = slice(None, None, -(-chain.layers[0].weight.shape[1] // _WIDE))
            error = lambda p: points.judge(p(points.fit[some]), points.fit_y[some])
            attempt("equalize", lambda plan: clip_inputs(plan, points.fit_x, error, fit, power, choice.few), learnt=0)
    if search:
        attempt("ranges", lambda plan: search_ranges(plan, points))
    for refit in (True, False):
        attempt("rounding", lambda plan, r=refit: round_all(plan, points, r))
    if search:
        attempt("ranges", lambda plan: search_ranges(plan, points))
    attempt("bias", lambda plan: correct_biases(plan, points))
    attempt("affine", lambda plan: correct_output(plan, points))
    return outcome
