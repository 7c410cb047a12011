"""Dense layers of a graph that is read: the weights and the bias of a Gemm or MatMul."""

from __future__ import annotations

from typing import Any

import numpy as np

from .constants import attributes
from .network import Layer

__all__ = ["MAX_WIDTH", "bias_of", "dense_layer"]

MAX_WIDTH = 65536
"""Values that a dense layer reads or makes."""


def bias_of(reader: Any, node: Any, position: int, width: int) -> np.ndarray | None:  # float32 [width]
    """Return the bias of a layer, or None if it has none."""
    if len(node.input) <= position or not node.input[position]:
        return None
    value = reader.constants.values(node.input[position])
    if value is None:
        raise reader.refuse(node, "its bias is not constant")
    if value.dtype != np.float32 or value.size not in (1, width) or not np.isfinite(value).all():
        raise reader.refuse(node, f"its bias is not {width} finite numbers of float32")
    return np.broadcast_to(value.reshape(-1), (width,)).copy()


def dense_layer(reader: Any, node: Any, current: str) -> Layer:
    """Read the weights of a Gemm or MatMul; its data are those of the tensor ``current``."""
    given = attributes(node)
    if len(reader.shape) != 1 or reader.batch_axis:
        raise reader.refuse(node, f"it reads values of shape {list(reader.shape)}, expected one axis")
    if given.get("alpha", 1.0) != 1.0 or given.get("beta", 1.0) != 1.0 or given.get("transA", 0):
        raise reader.refuse(node, "alpha, beta or transA does not have its default value")
    if node.input[0] != current:
        raise reader.refuse(node, "the data are not its first operand")
    turned = bool(given.get("transB", 0))
    weights = reader.constants.weights(node, node.input[1])  # [n, m], or [m, n] when turned
    shape = weights.values.shape
    if len(shape) != 2 or shape[1 if turned else 0] != reader.width or not 1 <= shape[0 if turned else 1] <= MAX_WIDTH:
        raise reader.refuse(node, f"its weights have shape {list(shape)} behind {reader.width} values")
    width = shape[0 if turned else 1]
    scale = weights.scale if weights.codes is None else weights.per_output(0 if turned else 1, width)
    if weights.codes is not None and scale is None and reader.pair is not None:
        raise reader.refuse(node, "the scales of its weights are not one number, or one per output")

    def oriented(a: np.ndarray) -> np.ndarray:
        rows = a if turned else a.T
        return np.ascontiguousarray(rows if reader.index is None else rows[:, reader.index])

    bias = bias_of(reader, node, 2, width)
    codes = None if weights.codes is None or scale is None else oriented(weights.codes)
    name = node.name or node.output[0]
    weight = oriented(weights.values)
    return Layer((node,), current, node.output[0], width, name, weight, bias, codes, scale)
