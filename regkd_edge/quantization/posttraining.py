"""Post-training quantization of a chain: ranges by the output's error, then corrections, each kept only if it helps.

The calibration points are split: a correction is fitted on two thirds and accepted by the output's error on the other
third, so that no correction is kept that only fitted noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..config import CORRECTIONS
from ..data import Scaler
from ..graph.chain import Chain
from ..sampling.synthetic import known_inputs, nearest, summary_of_inputs, synthetic_rows
from .equalize import clip_inputs, equalize
from .plan import Plan, nearest_plan
from .ranges import on_codes, range_of
from .rounding import learn_rounding

__all__ = ["CORRECTIONS", "Calibration", "Outcome", "plan_layers"]

_WORTH = 0.9  # a correction that costs an operator at run time must remove a tenth of the squared error
_SIGMA = 0.1
_MOVE = 0.97  # a clipped range must gain more than the sampling noise of the calibration rows
_FACTORS = tuple(0.9**k for k in range(1, 14))  # of a data range: down to a quarter


@dataclass(frozen=True, eq=False)
class Calibration:
    """Calibration points, with the outputs that the quantized student should give.

    Parameters
    ----------
    fit, held : float32 [n, d], raw units
        Points to fit on, and points for acceptance.
    fit_y, held_y : float32 [n, o]
        Outputs of the FP32 student.
    """

    chain: Chain
    fit: np.ndarray
    held: np.ndarray
    fit_y: np.ndarray
    held_y: np.ndarray

    @classmethod
    def split(cls, chain: Chain, rows: np.ndarray, points: int = 2048) -> Calibration:
        """Split into two thirds and one third, interleaved (fewer than 3 rows serve as both), each extended to its part
        of ``points``.

        The FP32 student labels any input, so ranges and rounding need not rely on a few rows alone. Half of
        the added points are copies moved by 0.1 standard deviations per feature, the perturbation of distillation. The
        other half is drawn from the distribution of the rows: combinations of values that did not occur but will
        (216 hulls and speeds leave the corners of 6 inputs empty, and an unseen range is clipped). All remain
        valid inputs: inside the range of the rows, and on existing values if a feature takes few. Points
        that no input can reach would veto a range that fits the inputs.
        """
        index = np.arange(len(rows))
        held = index % 3 == 2 if len(rows) >= 3 else index >= 0
        fit = ~held if len(rows) >= 3 else held
        rng = np.random.default_rng(0)
        low, high = rows.min(axis=0), rows.max(axis=0)
        repeated = {j: values for j in range(rows.shape[1]) if len(values := np.unique(rows[:, j])) <= len(rows) // 2}
        counts = [max(0, share - int(part.sum())) for share, part in ((points * 2 // 3, fit), (points // 3, held))]
        drawn = (
            synthetic_rows(known_inputs(Scaler.fit(rows), summary_of_inputs(rows)), sum(counts) // 2 + 2)
            if sum(counts)
            else rows[:0]
        )

        def filled(part: np.ndarray, count: int, new: np.ndarray) -> np.ndarray:
            copies = part[np.arange(count - len(new)) % len(part)]
            moved = copies + _SIGMA * rng.standard_normal(copies.shape) / np.abs(chain.rate)
            moved = np.clip(moved, low, high).astype(np.float32)
            for j, values in repeated.items():
                moved[:, j] = nearest(moved[:, j], values)
            return np.concatenate([part, moved, new])

        new = np.split(drawn[: counts[0] // 2 + counts[1] // 2], [counts[0] // 2])
        fit, held = filled(rows[fit], counts[0], new[0]), filled(rows[held], counts[1], new[1])
        return cls(chain, fit, held, chain(fit), chain(held))

    @property
    def rows(self) -> np.ndarray:
        return np.concatenate([self.fit, self.held])

    @property
    def spread(self) -> np.ndarray:  # [o]
        return np.maximum(np.concatenate([self.fit_y, self.held_y]).std(axis=0), 1e-12)

    def error(self, plan: Plan, *, held: bool) -> float:
        """Return the mean squared error of the outputs from FP32, in units of each output's variance."""
        rows, y = (self.held, self.held_y) if held else (self.fit, self.fit_y)
        return float(np.mean(((plan(rows) - y) / self.spread) ** 2))

    @cached_property
    def outputs(self) -> list[np.ndarray]:
        """Outputs of each FP32 layer on the fitting points."""
        return self.chain.activations(self.fit)[1]

    @cached_property
    def slopes(self) -> list[np.ndarray]:
        """Sensitivity of the network's output to an error in each layer."""
        return self.chain.output_slopes(self.fit)

    @property
    def fit_x(self) -> np.ndarray:  # [n, d]
        return self.chain.scaled(self.fit)


@dataclass
class Outcome:
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
) -> Outcome:
    """Quantize the layers of ``chain`` to ``forms``.

    Parameters
    ----------
    method : one of :data:`~regkd_edge.quantization.ranges.METHODS`
        How the ranges of the data are chosen. ``output`` searches them by the output's error.
    corrections : subset of :data:`CORRECTIONS`
        Corrections to try.
    """
    points = Calibration.split(chain, rows)
    # Clipping depends on how often the tails recur, so a variant without it is tried too.
    ways = (True, False) if method == "output" else (False,)
    outcomes = [_one_way(chain, rows, points, forms, method, percentile, corrections, search) for search in ways]
    return min(outcomes, key=lambda outcome: points.error(outcome.plan, held=True))


def _one_way(
    chain: Chain, rows: np.ndarray, points: Calibration, forms: Sequence[str], method: str, percentile: float, corrections: Sequence[str], search: bool
) -> Outcome:  # fmt: skip
    """Apply the corrections one after another; ``search`` lets ranges clip by the error of the output."""
    ranges = [range_of(a, method, percentile) for a in chain.activations(rows)[0]]
    outcome = Outcome(nearest_plan(chain, forms, ranges))

    def attempt(name: str, change: Callable[[Plan], Plan], worth: float = 1.0, learnt: int | None = None) -> None:
        """Accept a correction if it helps. With ``learnt`` both plans are judged with that layer alone quantized, so that
        other layers do not decide, and with learnt rounding, as in the result: equalization makes weights uneven, which
        nearest rounding penalizes.
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

    for index, layer in enumerate(chain.layers):
        if not outcome.plan.layers[index].scaled_data:
            continue
        a = outcome.plan.inputs(points.rows if index else rows)[index]
        low, high = _bounds(a, method, percentile)
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


def search_ranges(plan: Plan, points: Calibration) -> Plan:
    """Run a coordinate search over the data ranges of the layers by the error of the output."""
    best = points.error(plan, held=False)
    for index, layer in enumerate(plan.layers):
        if not (layer.form.scaled and layer.form.data):
            continue
        a = plan.inputs(points.fit)[index]
        start = layer.data_scale
        for factor in _FACTORS if index else (1.1, 0.9, 0.8):
            candidate = plan.with_layer(index, data_scale=float(np.float32(start * factor)))
            found = float(np.mean(((candidate.resume(a, index) - points.fit_y) / points.spread) ** 2))
            if found < _MOVE * best:
                best, plan = found, candidate
    return plan


def round_all(plan: Plan, points: Calibration, refit: bool) -> Plan:
    """Learn the rounding of each layer on the outputs of the rounded layers before it."""
    for index in range(len(plan.layers)):
        plan = round_layer(plan, index, points, refit)
    return plan


def round_layer(plan: Plan, index: int, points: Calibration, refit: bool = True) -> Plan:
    """Learn the rounding of one layer."""
    layer = plan.layers[index]
    if not layer.form.scaled:
        return plan
    data = layer.data(plan.inputs(points.fit)[index])
    codes, scale, bias = learn_rounding(
        layer.weight, layer.form, data, points.outputs[index], points.slopes[index] ** 2, refit=refit
    )
    return plan.with_layer(index, codes=codes, weight_scale=scale, bias=bias)


def correct_biases(plan: Plan, points: Calibration) -> Plan:
    """Move each bias by the mean error of its layer's outputs (Nagel et al. 2019), layer by layer."""
    targets = plan.chain.activations(points.fit)[1]
    for index, layer in enumerate(plan.layers):
        z = layer.product(plan.inputs(points.fit)[index])
        plan = plan.with_layer(index, bias=layer.bias + (targets[index] - z).mean(axis=0))
    return plan


def correct_output(plan: Plan, points: Calibration) -> Plan:
    """Scale and shift each output by least squares against FP32; folded into the last layer, so it costs nothing.

    Applies only if nothing but the scaler follows the last layer.
    """
    if not plan.chain.layers[-1].after.affine:
        return plan
    layer = plan.layers[-1]
    z = layer.product(plan.inputs(points.fit)[-2]).astype(np.float64)
    target = plan.chain.activations(points.fit)[1][-1].astype(np.float64)
    centred = z - z.mean(axis=0)
    gain = (centred * (target - target.mean(axis=0))).sum(axis=0) / np.maximum((centred**2).sum(axis=0), 1e-30)
    gain = np.where((gain > 0.5) & (gain < 2.0), gain, 1.0)
    offset = target.mean(axis=0) - gain * z.mean(axis=0)
    changes = {
        "bias": (layer.bias * gain + offset).astype(np.float32),
        "weight": (layer.weight * gain[:, None]).astype(np.float32),
    }
    if layer.weight_scale is not None:
        changes["weight_scale"] = (layer.weight_scale * gain).astype(np.float32)
    return plan.with_layer(len(plan.layers) - 1, **changes)
