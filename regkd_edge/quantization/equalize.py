"""Equalization: each input of a layer gets its own centre and range, without changing the computed function.

One scale serves all inputs of a layer, so the widest of them sets the step of all, and a range about zero wastes half
its codes on a value that is never negative. ``(a - centre) / half`` makes every input fill the codes; the next weights
absorb ``half``, the next bias absorbs ``centre``.

Before the first layer this is folded into the scaler, which exists anyway, and costs nothing. Between layers with a
homogeneous activation (ReLU) the scales fold into the layer before: that is cross-layer equalization (Nagel et al.
2019), and costs nothing either; a centre costs one Sub. With another activation it is one Sub and one Mul per layer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .plan import Plan, weight_scales

__all__ = ["clip_inputs", "equalize", "fold_rates"]

# Shares of the calibration values that may lie outside a feature's range on one side.
_WORTH = 0.97  # a cut must gain more than the sampling noise of the calibration rows
_TAILS = (0.0, 0.0005, 0.002, 0.005, 0.01, 0.02)


def equalize(
    plan: Plan,
    index: int,
    low: np.ndarray,  # [n_in]
    high: np.ndarray,  # [n_in]
) -> Plan:
    """Return the same function, with ``low .. high`` of each input of layer ``index`` mapped to all of its codes."""
    layer, original = plan.layers[index], plan.chain.layers[index]
    centre, half = (high + low) / 2.0, (high - low) / 2.0
    half = np.where(half > 1e-6, half, 1.0)  # a constant input has no range and needs none
    weight = original.weight.astype(np.float64)
    folded = (weight * half).astype(np.float32)
    return plan.with_layer(
        index,
        weight=folded,
        bias=(original.bias + weight @ centre).astype(np.float32),
        shift=centre.astype(np.float32) if np.any(centre) else None,
        rate=(1.0 / half).astype(np.float32),
        data_scale=float(np.float32(1.0 / layer.form.largest)),
        weight_scale=weight_scales(folded, layer.form),
        codes=None,
    )


def clip_inputs(
    plan: Plan,
    x: np.ndarray,  # [n, d] what reaches the first layer
    error: Callable[[Plan], float],
    fit: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    sweeps: int = 2,
) -> Plan:
    """Choose each feature's range by the output's error: coordinate search over the share of clipped values per side.

    ``error`` is evaluated on plans where only the first layer is quantized, so that noise of other layers does not
    affect the choice. ``fit`` adjusts each pair of ranges last.
    """
    x = x.astype(np.float64)
    alone = plan.only(0)
    ends = {
        0: np.quantile(x, _TAILS, axis=0, method="lower"),  # [tails, d]
        1: np.quantile(x, [1 - t for t in _TAILS], axis=0, method="higher"),
    }
    bounds = [ends[0][0].copy(), ends[1][0].copy()]
    best = error(equalize(alone, 0, *fit(*bounds)))
    for _ in range(sweeps):
        before = best
        for j in range(x.shape[1]):
            for side in (0, 1):
                for value in dict.fromkeys(ends[side][:, j]):
                    trial = [b.copy() for b in bounds]
                    trial[side][j] = value
                    if value == bounds[side][j] or trial[1][j] <= trial[0][j]:
                        continue
                    found = error(equalize(alone, 0, *fit(*trial)))
                    if found < best:
                        best, bounds = found, trial
        if best > 0.98 * before:
            break
    return equalize(plan, 0, *fit(*bounds))


def fold_rates(plan: Plan) -> Plan:
    """Move each ``rate`` after a homogeneous activation into the layer before it, which saves a Mul."""
    layers = list(plan.layers)
    for index in range(1, len(layers)):
        layer, before = layers[index], layers[index - 1]
        if (
            layer.rate is None
            or not plan.chain.layers[index - 1].after.homogeneous
            or not (before.form.scaled or before.form.name == "fp32")
        ):
            continue
        layers[index - 1] = replace(
            before,
            weight=before.weight * layer.rate[:, None],
            weight_scale=before.weight_scale * layer.rate,
            bias=before.bias * layer.rate,
        )
        layers[index] = replace(layer, rate=None, shift=None if layer.shift is None else layer.shift * layer.rate)
    return replace(plan, layers=tuple(layers))
