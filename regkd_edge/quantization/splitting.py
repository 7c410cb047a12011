"""Splitting INT8 numbers into a high and a low part, in the layers where one part is not enough.

Where inputs are collinear, a network tells them apart by large weights of opposite sign. The signal cancels in the sum,
the rounding error of each input does not, and nothing that is done to scales or weights can bring back what the
rounding of the inputs lost: 8 bits of each input hold too little of their differences. Two INT8 numbers per value hold
16 bits. The layer becomes the sum of two INT8 products (three, with the weights in two parts as well), and everything
stays in symmetric INT8 that every runtime multiplies in integers.

The second cause is the same for every table with few calibration rows: later rows lie outside the range that was met
and are clipped. With 16 bits a range can be several times as wide as what was met.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .calibration import Calibration
from .plan import TINY, Plan, PlannedLayer
from .sensitivity import data_rounded, exact_plan, weights_rounded

if TYPE_CHECKING:
    from .posttraining import CorrectedPlan

__all__ = ["MARGIN", "clipping_risk", "finer_forms", "refined", "split_layers"]

#: Range of data in two parts over what was met, at first: one bit of sixteen.
MARGIN = 2.0
_WIDEST = 16.0  # times what was met, where the steps are fine enough
_SPARE = 0.1  # of the squared tolerance: what the wider steps may cost
_LEFT = 0.5  # of the squared tolerance: what the parts that stay as they are may add up to, by the estimate
#: Of the harm of a layer's weights: with as much by its data, these get the second part. Its inputs are then exact
#: enough to be scaled so that the weights are even, and weights in one part mostly suffice.
_DATA_FIRST = 0.1
_FORMS = {
    (1, 1): "int8",
    (2, 1): "int8-split-data",
    (1, 2): "int8-split-weights",
    (2, 2): "int8-split",
}  # (parts of the data, of the weights)


def split_layers(
    outcome: CorrectedPlan, make: Callable[[Sequence[str]], CorrectedPlan], points: Calibration
) -> CorrectedPlan:
    """Return an outcome within the tolerance of ``points``, with as few products as the estimate allows.

    Parameters
    ----------
    outcome : CorrectedPlan
        With every INT8 layer in one part.
    make : callable
        A plan in given formats.
    """
    best = refined(outcome, make, lambda plan: _error(plan, points), lambda plan: _more_parts(plan, points))
    return replace(best, plan=_widened(best.plan, points))


def refined(
    outcome: CorrectedPlan,
    make: Callable[[Sequence[str]], CorrectedPlan],
    error_of: Callable[[Any], float],
    finer: Callable[[Any], list[str] | None],
) -> CorrectedPlan:
    """Return the best outcome while INT8 layers get more parts, until the error, in tolerances, is at most 1.

    Parameters
    ----------
    make : callable
        A plan in given formats.
    error_of, finer : callable
        Of a plan: its error, and formats with more parts or None.
    """
    error = error_of(outcome.plan)
    best, least, tried = outcome, error, list(outcome.tried)
    while error > 1 and (forms := finer(outcome.plan)) is not None:
        outcome = make(forms)
        before, error = error, error_of(outcome.plan)
        tried += [*outcome.tried, ("split", before, error, error < before)]
        if error < least:
            best, least = outcome, error
    return replace(best, tried=tried)


def finer_forms(layers: Sequence[Any], harm: Mapping[tuple[int, int], float]) -> list[str] | None:
    """Return formats with more parts where the roundings do most harm; None where no part is left to add.

    ``harm``: (layer, 0 for its data or 1 for its weights) -> squared change of the outputs in units of the tolerance.
    """
    if not harm:
        return None
    parts = [[layer.form.data_parts, layer.form.weight_parts] for layer in layers]
    left = sum(harm.values())
    for (index, kind), share in sorted(harm.items(), key=lambda item: -item[1]):
        parts[index][kind] = 2
        left -= share
        if left <= _LEFT:
            break
    return [_FORMS[tuple(p)] if layer.form.label == "int8" else layer.form.name for layer, p in zip(layers, parts)]


def clipping_risk(plan: Plan, points: Calibration, index: int) -> float:
    """Return the squared change of the outputs, in units of the tolerance, that clipping new rows is likely to cause.

    Cross-validated: the input of layer ``index`` is clipped to the range of one half of the calibration rows, on the
    other half. Ranges of all rows are exceeded about half as often as those of one half. Inputs whose codes reach
    further than what all rows showed are clipped as much further.
    """
    rows, layer = points.given, plan.layers[index]
    if len(rows) < 4 or not layer.scaled_data or layer.form.data_parts == 2:
        return 0.0
    exact = exact_plan(plan)
    a = plan.chain.activations(rows)[0][index]
    per_feature = layer.rate is not None or layer.shift is not None
    room = layer.data_scale * layer.form.largest / (1.0 if layer.rate is None else layer.rate)
    further = np.maximum(room / np.maximum((a.max(axis=0) - a.min(axis=0)) / 2.0, TINY), 1.0)
    found = []
    for half in (np.arange(len(rows)) % 2 == 0, np.arange(len(rows)) % 2 == 1):
        low, high = a[half].min(axis=0), a[half].max(axis=0)
        if per_feature:
            low, high = (low + high) / 2 - further * (high - low) / 2, (low + high) / 2 + further * (high - low) / 2
        else:
            high = np.maximum(np.abs(low), np.abs(high)).max()
            low = -high
        other = a[~half]
        change = exact.resume(np.clip(other, low, high), index).astype(np.float64) - exact.resume(other, index)
        found.append(change**2)
    return 0.5 * float((np.concatenate(found).mean(axis=0) / points.tolerance**2).max())


def _error(plan: Plan, points: Calibration) -> float:
    """The largest change of an output in units of its tolerance, with what clipping may add on new rows."""
    risk = sum(clipping_risk(plan, points, index) for index in range(len(plan.layers)))
    return float(np.sqrt(points.worst(plan) ** 2 + risk))


def _more_parts(plan: Plan, points: Calibration) -> list[str] | None:
    harm = {}
    for index, layer in enumerate(plan.layers):
        if layer.form.label != "int8" or layer.form.data_parts == layer.form.weight_parts == 2:
            continue
        of_data = _alone(plan, points, index, data_rounded(plan, index)) + clipping_risk(plan, points, index)
        of_weights = _alone(plan, points, index, weights_rounded(plan, index))
        kind = 1 - (layer.form.data_parts == 1 and of_data >= _DATA_FIRST * of_weights)
        if layer.form.weight_parts == 2:
            kind, of_weights = 0, 0.0
        harm[index, kind] = of_weights + (of_data if layer.form.data_parts == 1 else 0.0)
    return finer_forms(plan.layers, harm)


def _widened(plan: Plan, points: Calibration) -> Plan:
    """The plan with the ranges of data in two parts as wide as the tolerance allows."""
    for index, layer in enumerate(plan.layers):
        if layer.form.data_parts == 2:
            harm = _alone(plan, points, index, data_rounded(plan, index))
            wider = float(np.clip(np.sqrt(_SPARE / max(harm, 1e-12)), 1.0, _WIDEST / MARGIN))
            plan = plan.with_layer(index, data_scale=float(np.float32(layer.data_scale * wider)))
    return plan


def _alone(plan: Plan, points: Calibration, index: int, layer: PlannedLayer) -> float:
    """Squared change of the outputs in units of the tolerance, with every other layer exact."""
    layers = list(exact_plan(plan).layers)
    layers[index] = layer
    return points.worst(replace(plan, layers=tuple(layers))) ** 2
