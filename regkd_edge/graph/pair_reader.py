"""Q/DQ pairs of data in a graph that is read: a value as INT8 codes has it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .network import Rounding

__all__ = ["pair_at", "pair_behind", "pair_scale"]


def pair_at(reader: Any, node: Any, current: str) -> Rounding:
    """Return the pair that begins with a QuantizeLinear of ``current``; the DequantizeLinear behind it is its own."""
    scale = pair_scale(reader, node)
    nodes: list[Any] = []
    target = pair_behind(reader, node, scale, nodes)
    return Rounding(tuple(nodes), current, target, reader.width, scale)


def pair_behind(reader: Any, node: Any, scale: float, nodes: list[Any]) -> str:
    """Append the Q/DQ pair of the given scale that begins with ``node``; return the tensor behind it."""
    readers = reader.consumers.get(node.output[0], [])
    same = pair_scale(reader, node) == scale and len(readers) == 1 and readers[0].op_type == "DequantizeLinear"
    if not same or pair_scale(reader, readers[0]) != scale:
        raise reader.refuse(node, "no DequantizeLinear of the same scale follows it")
    nodes += [node, readers[0]]
    return readers[0].output[0]


def pair_scale(reader: Any, node: Any) -> float:
    """Return the scale of a Q or DQ of data."""
    scale = reader.constants.values(node.input[1])
    zero = reader.constants.values(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if scale is None or scale.size != 1 or not np.isfinite(scale).all() or scale.reshape(-1)[0] <= 0:
        raise reader.refuse(node, "the scale of the data is not one constant above 0")
    if zero is None or zero.dtype != np.int8 or np.any(zero):
        raise reader.refuse(node, "the data are not symmetric int8 (zero point 0 of type int8)")
    return float(scale.reshape(-1)[0])
