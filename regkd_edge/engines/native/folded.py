"""Scalers as a part of the layer beside them, where no answer can tell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from .operations import CONSTANT, Operation

__all__ = ["fold_scalers"]

_TINY = float(np.finfo(np.float32).tiny)  # below it a float32 has fewer digits


def fold_scalers(operations: Sequence[Operation]) -> list[Operation]:
    """Return a program without the division or product in front of its first layer and the constants behind its last.

    A division of the inputs becomes one of the weights' columns, a product and a sum of the outputs become the rows
    and the bias of the last layer: computed in float64 and rounded once, so that an answer changes by the rounding of
    a weight, as in a sum in another order. What stays is the subtraction from the inputs: its product with the weights
    would be a large number that the sum has to take away again. Layers in INT8 keep the division, since it decides
    which step a value is rounded to.
    """
    ops = list(operations)
    _fold_inputs(ops)
    _fold_outputs(ops)
    return ops


def _fold_inputs(ops: list[Operation]) -> None:
    first = next((k for k, op in enumerate(ops) if op.kind != "subtract"), len(ops))
    if [op.kind for op in ops[first : first + 2]] not in (["divide", "dense"], ["multiply", "dense"]):
        return
    scale, layer = ops[first : first + 2]
    row = np.resize(scale.values, layer.values.shape[1]).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):  # a divisor of 0 folds into nothing
        weights = _float32(layer.values / row if scale.kind == "divide" else layer.values * row)
    if weights is not None:
        ops[first : first + 2] = [replace(layer, values=weights)]


def _fold_outputs(ops: list[Operation]) -> None:
    last = max((k for k, op in enumerate(ops) if op.kind not in CONSTANT), default=0)
    while last + 1 < len(ops) and (folded := _with_constant(ops[last], ops[last + 1])) is not None:
        ops[last : last + 2] = [folded]


def _with_constant(layer: Operation, op: Operation) -> Operation | None:
    """The layer with the constants behind it, or None where that is something else."""
    if layer.kind not in ("dense", "dense_int8") or op.kind not in ("multiply", "add") or layer.width % op.values.size:
        return None
    row = np.resize(op.values, layer.width).astype(np.float64)
    bias = np.zeros(layer.width) if layer.bias is None else layer.bias.astype(np.float64)
    if op.kind == "add":
        shifted = _float32(bias + row)
        return None if shifted is None else replace(layer, bias=shifted)
    scaled = _float32(bias * row)
    if layer.kind == "dense":
        weights = _float32(layer.values * row[:, None])
        return None if weights is None or scaled is None else replace(layer, values=weights, bias=scaled)
    scale = _float32(layer.scale * row)  # steps are above 0
    return None if scale is None or scaled is None or not (row > 0).all() else replace(layer, scale=scale, bias=scaled)


def _float32(values: np.ndarray) -> np.ndarray | None:
    """The values as float32, or None where that loses more than a rounding."""
    size = np.abs(values)
    with np.errstate(over="ignore"):
        rounded = values.astype(np.float32)
    return rounded if np.isfinite(rounded).all() and ((size == 0) | (size >= _TINY)).all() else None
