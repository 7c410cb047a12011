"""The corrections of a quantized chain: ranges, rounding, biases, the output's gain; each returns another plan."""

from __future__ import annotations

import numpy as np

from .calibration import Calibration
from .plan import Plan
from .rounding import learn_rounding

__all__ = ["correct_biases", "correct_output", "round_all", "round_layer", "search_ranges"]

_MOVE = 0.97  # a clipped range must be worth more than the luck of the calibration rows
_FACTORS = tuple(0.9**k for k in range(1, 14))  # of a data range: down to a quarter


def search_ranges(plan: Plan, points: Calibration) -> Plan:
    """Coordinate search over the data ranges of the layers by the error of the output."""
    best = points.error(plan, held=False)
    for index, layer in enumerate(plan.layers):
        if not layer.scaled_data or layer.form.data_parts == 2:
            continue
        a = plan.inputs(points.fit)[index]
        start = layer.data_scale
        for factor in _FACTORS if index else (1.1, 0.9, 0.8):
            candidate = plan.with_layer(index, data_scale=float(np.float32(start * factor)))
            found = points.judge(candidate.resume(a, index), points.fit_y)
            if found < _MOVE * best:
                best, plan = found, candidate
    return plan


def round_all(plan: Plan, points: Calibration, refit: bool) -> Plan:
    """Learn the rounding of each layer on what the rounded layers before it give."""
    for index in range(len(plan.layers)):
        plan = round_layer(plan, index, points, refit)
    return plan


def round_layer(plan: Plan, index: int, points: Calibration, refit: bool = True) -> Plan:
    """Learn the rounding of one layer."""
    layer = plan.layers[index]
    if not layer.form.scaled or layer.form.weight_parts == 2:
        return plan
    data = layer.data(plan.inputs(points.fit)[index])
    codes, scale, bias = learn_rounding(
        layer.weight, layer.form, data, points.outputs[index], points.slopes[index] ** 2, refit=refit
    )
    return plan.with_layer(index, codes=codes, weight_scale=scale, bias=bias)


def correct_biases(plan: Plan, points: Calibration) -> Plan:
    """Move each bias by the mean error of its layer's outputs (Nagel et al. 2019), layer after layer."""
    targets = plan.chain.activations(points.fit)[1]
    for index, layer in enumerate(plan.layers):
        z = layer.product(plan.inputs(points.fit)[index])
        plan = plan.with_layer(index, bias=layer.bias + (targets[index] - z).mean(axis=0))
    return plan


def correct_output(plan: Plan, points: Calibration) -> Plan:
    """Scale and shift each output by least squares against FP32; folded into the last layer, so it costs nothing.

    Only where nothing but the scaler follows the last layer.
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
