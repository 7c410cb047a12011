"""Reading a layer whose INT8 data or weights are in two parts: the sum of two or three products (see quantization).

high = DQ(Q(a)), low = DQ(Q(a - DQ(Q(a)))):  high W + low W + high W_low;
a convolution has its bias in the first product.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .formats import low_scale
from .network import Layer
from .pair_reader import pair_behind, pair_scale

if TYPE_CHECKING:
    from .reader import _Reader

__all__ = ["read_split_layer"]

_PRODUCTS = ("MatMul", "Gemm", "Conv")
_WHY = "the products of its parts are not those of one INT8 layer in two parts"


def read_split_layer(reader: _Reader, current: str) -> Layer | None:
    """Return the layer that starts where ``current`` parts into Q/DQ pairs and a subtraction; None if nothing does so.

    A sum of products that looks like one and is not is refused.
    """
    readers = reader.consumers[current]
    if not all(node.op_type in ("QuantizeLinear", "Sub") for node in readers):
        return None
    quantizers = [node for node in readers if node.op_type == "QuantizeLinear"]
    if not quantizers or len(readers) - len(quantizers) > 1:
        return None
    scale = pair_scale(reader, quantizers[0])
    nodes: list[Any] = []
    high: list[Layer] = []
    low: list[Layer] = []
    for node in quantizers:
        rounded = pair_behind(reader, node, scale, nodes)
        for user in reader.consumers.get(rounded, []):
            if user.op_type in _PRODUCTS:
                high.append(_product(reader, user, rounded, nodes))
            elif user.op_type == "Sub" and list(user.input) == [current, rounded]:
                low.append(_low_product(reader, user, scale, nodes))
            else:
                raise reader.refuse(user, _WHY)
    high.sort(key=lambda layer: -float(layer.scale.max()))
    fits = 1 <= len(high) <= 2 and len(low) <= 1 and len(high) + len(low) > 1
    if not fits or (low and not _same(low[0], high[0].codes, high[0].scale)):
        raise reader.refuse(quantizers[0], _WHY)
    main = high[0]
    if any(layer.bias is not None for layer in (*high[1:], *low)):
        raise reader.refuse(quantizers[0], _WHY)
    if len(high) == 2 and not _same(high[1], high[1].codes, low_scale(main.scale)):
        raise reader.refuse(high[1].nodes[0], _WHY)
    target = _sum(reader, {layer.target for layer in (*high, *low)}, nodes)
    return replace(
        main,
        nodes=tuple(nodes),
        source=current,
        target=target,
        data_scale=scale,
        low_data=bool(low),
        low_codes=high[1].codes if len(high) == 2 else None,
    )


def _product(reader: _Reader, node: Any, data: str, nodes: list[Any]) -> Layer:
    layer = reader.layer(node, data)
    if layer.codes is None or (layer.bias is not None and layer.window is None):
        raise reader.refuse(node, _WHY)
    nodes.append(node)
    return layer


def _low_product(reader: _Reader, subtraction: Any, scale: float, nodes: list[Any]) -> Layer:
    """The product of what the rounding of the data leaves over."""
    nodes.append(subtraction)
    readers = reader.consumers.get(subtraction.output[0], [])
    if len(readers) != 1 or readers[0].op_type != "QuantizeLinear":
        raise reader.refuse(subtraction, _WHY)
    rounded = pair_behind(reader, readers[0], float(low_scale(scale)), nodes)
    users = reader.consumers.get(rounded, [])
    if len(users) != 1 or users[0].op_type not in _PRODUCTS:
        raise reader.refuse(subtraction, _WHY)
    return _product(reader, users[0], rounded, nodes)


def _same(layer: Layer, codes: np.ndarray, scale: np.ndarray) -> bool:
    return np.array_equal(layer.codes, codes) and np.array_equal(layer.scale, scale)


def _sum(reader: _Reader, terms: set[str], nodes: list[Any]) -> str:
    """The tensor that is the sum of all ``terms``."""
    while len(terms) > 1:
        joined = next(
            (
                node
                for name in terms
                for node in reader.consumers.get(name, [])
                if node.op_type == "Add" and set(node.input) <= terms and len(set(node.input)) == 2
            ),
            None,
        )
        if joined is None or any(len(reader.consumers[name]) != 1 for name in joined.input):
            raise reader.refuse(reader.consumers[min(terms)][0], _WHY)
        nodes.append(joined)
        terms = (terms - set(joined.input)) | {joined.output[0]}
    return next(iter(terms))
