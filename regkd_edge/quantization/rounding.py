"""Learnt rounding, layer by layer: each weight is rounded up or down by least squares on the layer's outputs.

The rounding errors of a row's weights are chosen to cancel on the calibration inputs: column by column, the error of
each rounded weight is absorbed by those not rounded yet (optimal brain quantization; Frantar et al. 2022, GPTQ). It has
the aim of AdaRound (Nagel et al. 2020), least squares on layer outputs, in closed form and without hyper-parameters.
Two things are added for regression: rows are weighted by how much an error there moves the network's output, and the
target is the FP32 layer's output on FP32 inputs, so that a layer also compensates for the rounding before it.
"""

from __future__ import annotations

import numpy as np

from ..graph.formats import Format, round_to

__all__ = ["learn_rounding"]

_RIDGE = (
    0.01  # of the mean diagonal: calibration rows are few, and weights must not drift where they carry no information
)
_BUDGET = 1 << 23  # doubles in the stack of one Hessian per unit; larger layers share one
_SHRINK = (1.0, 0.95, 0.9, 0.85, 0.8, 0.7)


def learn_rounding(
    weight: np.ndarray,  # [n_out, n_in] real-valued
    form: Format,
    data: np.ndarray,  # [n, n_in] the quantized layer's input, rounded
    target: np.ndarray,  # [n, n_out] desired outputs
    importance: np.ndarray,  # [n, n_out] squared slope of the network's output by this output
    *,
    refit: bool = True,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """``(codes [n_out, n_in] float32, scale [n_out] float32, bias [n_out] float32)``.

    With ``refit`` the real-valued weights are first fitted to ``target`` on ``data`` (ridge towards the given ones).
    """
    data, target = data.astype(np.float64), target.astype(np.float64)
    n, n_in = data.shape
    n_out = len(weight)
    g = importance.astype(np.float64)
    g = g / np.maximum(g.mean(axis=0), 1e-30) + 0.05  # rows where a unit is saturated keep a small weight
    if n_out * n_in * n_in > _BUDGET:
        g = np.repeat(g.mean(axis=1, keepdims=True), n_out, axis=1)
    g /= g.sum(axis=0)
    # The bias stays float and absorbs the weighted means, so only the centred data remain to be fitted.
    data_mean, target_mean = g.T @ data, (g * target).sum(axis=0)
    shared = n_out * n_in * n_in > _BUDGET
    middle = data.mean(axis=0)  # taken away first, so that no large mean cancels below
    centred, mean = data - middle, (data_mean - middle)[: 1 if shared else n_out]
    hessian = _products(centred, g[:, : len(mean)]) - mean[:, :, None] * mean[:, None, :]
    diagonal = hessian.diagonal(axis1=1, axis2=2)
    ridge = _RIDGE * np.maximum(diagonal.mean(axis=1), 1e-12)
    damped = hessian + ridge[:, None, None] * np.eye(n_in)
    w = weight.astype(np.float64)
    if refit:
        moment = (g * (target - target_mean)).T @ centred  # the weighted residuals of a unit add up to 0
        wanted = moment + ridge[:, None] * w
        w = np.linalg.solve(damped[0], wanted.T).T if shared else np.linalg.solve(damped, wanted[..., None])[..., 0]
    scale = _scales(w, form, np.broadcast_to(diagonal, (n_out, n_in)))
    codes = _round_columns(w, scale, form, damped)
    stored = codes * scale[:, None]
    new_bias = target_mean - (data_mean * stored).sum(axis=1)
    return codes.astype(np.float32), scale, new_bias.astype(np.float32)


def _products(
    data: np.ndarray,  # [n, n_in]
    shares: np.ndarray,  # [n, units]
) -> np.ndarray:  # [units, n_in, n_in]
    """Return the weighted sums of ``data_i data_j`` over the rows, for all units in one product per column i."""
    n_in = data.shape[1]
    if shares.shape[1] == 1:
        return ((data * shares).T @ data)[None]
    found = np.empty((shares.shape[1], n_in, n_in))
    for i in range(n_in):
        found[:, i, i:] = shares.T @ (data[:, i : i + 1] * data[:, i:])
        found[:, i:, i] = found[:, i, i:]
    return found


def _scales(w: np.ndarray, form: Format, diagonal: np.ndarray) -> np.ndarray:  # [n_out] float32
    """Return per row the scale, from its largest weight downwards, with the least rounding error on the data."""
    largest = np.maximum(np.abs(w).max(axis=1) / form.largest, 1e-12)
    best, best_error = largest.astype(np.float32), np.full(len(w), np.inf)
    for factor in _SHRINK if form.name != "fp8" else (1.0,):
        scale = (largest * factor).astype(np.float32)
        rounded = np.clip(
            round_to(w, form, scale[:, None]), -form.largest * scale[:, None], form.largest * scale[:, None]
        )
        error = (diagonal * (rounded - w) ** 2).sum(axis=1)
        best = np.where(error < best_error, scale, best)
        best_error = np.minimum(error, best_error)
    return best


def _round_columns(w: np.ndarray, scale: np.ndarray, form: Format, hessian: np.ndarray) -> np.ndarray:
    """Return codes by rounding one column after another; ``hessian`` [n_out or 1, n_in, n_in] is positive definite."""
    n_in = w.shape[1]
    order = np.argsort(-hessian.diagonal(axis1=1, axis2=2).mean(axis=0))
    inverse = np.linalg.inv(hessian[:, order][:, :, order])
    factor = np.linalg.cholesky(inverse).transpose(
        0, 2, 1
    )  # upper: row k tells how later columns compensate for column k
    w = w[:, order].copy()
    codes = np.empty_like(w)
    wide = scale.astype(np.float64)
    for k in range(n_in):
        codes[:, k] = np.clip(round_to(w[:, k], form, scale) / scale, -form.largest, form.largest)
        residual = (w[:, k] - codes[:, k] * wide) / factor[:, k, k]
        w[:, k + 1 :] -= residual[:, None] * factor[:, k, k + 1 :]
    back = np.empty_like(order)
    back[order] = np.arange(n_in)
    return np.rint(codes[:, back]) if form.name != "fp8" else codes[:, back]
