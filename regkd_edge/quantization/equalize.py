"""Equalization: each input of a layer gets its own centre and range, without changing the computed function.

One scale serves all inputs of a layer, so the widest of them sets the step of all, and a range about zero wastes half
its codes on a value that is never negative. ``(a - centre) / half`` makes every input fill the codes; the next weights
absorb ``half``, the next bias absorbs ``centre``.

Before the first layer this is folded into the scaler, which exists anyway, and costs nothing. Between layers with a
homogeneous activation (ReLU) the scales fold into the layer before: that is cross-layer equalization (Nagel et al.
2019), and costs nothing either; a centre costs one Sub. With another activation it is one Sub and one Mul per layer.

What makes the inputs even makes the weights uneven: the column of an input with a long tail grows with it, and one
scale serves a whole row of weights. So an input is divided by ``half^p / m^q``, with m the largest of its weights: all
of the range (p = 1), a part of it, a balance of both (p = q = 1/2, as SmoothQuant, Xiao et al. 2023), or, where the
data are in two parts and exact anyway, the weights alone (q = 1). The error of the output decides.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .plan import TINY, Plan, weight_scales

__all__ = ["EVEN_DATA", "EVEN_WEIGHTS", "POWERS", "clip_inputs", "equalize", "fold_rates"]

Power = tuple[float, float]  # (p, q)
EVEN_DATA: Power = (1.0, 0.0)
EVEN_WEIGHTS: Power = (0.0, 1.0)
POWERS: dict[int, tuple[Power, ...]] = {  # parts of the data -> what is tried
    1: (EVEN_DATA, (0.5, 0.0), (0.75, 0.25), (0.5, 0.5)),
    2: (EVEN_WEIGHTS, (0.5, 0.5)),
}
_MANY = 64  # inputs
_LEAST = 1e-3  # of the largest weight of a layer: a lower m counts as this

# Shares of the calibration values that may lie outside a feature's range on one side.
_WORTH = 0.97  # a cut must gain more than the sampling noise of the calibration rows
_TAILS = (0.0, 0.0005, 0.002, 0.005, 0.01, 0.02)


def equalize(
    plan: Plan,
    index: int,
    low: np.ndarray,  # [n_in]
    high: np.ndarray,  # [n_in]
    power: Power = EVEN_DATA,
    few: np.ndarray | None = None,  # [n_in] bool
) -> Plan:
    """Return the same function, with ``low .. high`` of each input of layer ``index`` about 0 and made even by
    ``power``; with :data:`EVEN_DATA` it fills all codes. So do inputs of ``few`` values with every power, since
    :func:`~regkd_edge.quantization.ranges.on_codes` has put these on codes.
    """
    layer, original = plan.layers[index], plan.chain.layers[index]
    centre, half = (high + low) / 2.0, (high - low) / 2.0
    varies = half > 1e-6
    half = np.where(varies, half, 1.0)  # a constant input has no range and needs none
    weight = original.weight.astype(np.float64)
    largest = np.abs(weight).max(axis=0)
    largest = np.maximum(largest, max(_LEAST * largest.max(), TINY))
    size = half ** power[0] / largest ** power[1]
    own = varies if few is None else varies & ~few
    top = (half / size)[own | ~own.any()].max()
    size = np.where(own, size, half / top)
    folded = (weight * size).astype(np.float32)
    return plan.with_layer(
        index,
        weight=folded,
        bias=(original.bias + weight @ centre).astype(np.float32),
        shift=centre.astype(np.float32) if np.any(centre) else None,
        rate=(1.0 / size).astype(np.float32),
        data_scale=float(np.float32(top / layer.form.largest)),
        weight_scale=weight_scales(folded, layer.form),
        codes=None,
    )


def clip_inputs(
    plan: Plan,
    x: np.ndarray,  # [n, d] what reaches the first layer
    error: Callable[[Plan], float],
    fit: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    power: Power = EVEN_DATA,
    few: np.ndarray | None = None,  # [d] bool
) -> Plan:
    """Choose each feature's range by the output's error: coordinate search over the share of clipped values per side.

    ``error`` is evaluated on plans where only the first layer is quantized, so that noise of other layers does not
    affect the choice. ``fit`` adjusts each pair of ranges last. Of many inputs every second share is tried, once.
    """
    tails, sweeps = (_TAILS, 2) if x.shape[1] <= _MANY else (_TAILS[::2], 1)
    x = x.astype(np.float64)
    alone = plan.only(0)
    ends = {
        0: np.quantile(x, tails, axis=0, method="lower"),  # [tails, d]
        1: np.quantile(x, [1 - t for t in tails], axis=0, method="higher"),
    }
    bounds = [ends[0][0].copy(), ends[1][0].copy()]
    best = error(equalize(alone, 0, *fit(*bounds), power, few))
    for _ in range(sweeps):
        before = best
        for j in range(x.shape[1]):
            for side in (0, 1):
                for value in dict.fromkeys(ends[side][:, j]):
                    trial = [b.copy() for b in bounds]
                    trial[side][j] = value
                    if value == bounds[side][j] or trial[1][j] <= trial[0][j]:
                        continue
                    found = error(equalize(alone, 0, *fit(*trial), power, few))
                    if found < best:
                        best, bounds = found, trial
        if best > 0.98 * before:
            break
    return equalize(plan, 0, *fit(*bounds), power, few)


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
