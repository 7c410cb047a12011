"""Reading convolutions, their pooling and recurrent units: steps whose values have places or times.

A reader keeps the shape of the value in the graph and the order in which the steps have its numbers: convolutions and
recurrent units have channels last, whatever the graph has.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .constants import ConstantWeights, attributes
from .dense_reader import bias_of
from .formats import low_scale
from .network import Average, ChannelsLast, Layer, Recurrent, Rounding, Window
from .pair_reader import pair_behind, pair_scale

if TYPE_CHECKING:
    from .reader import _Reader

__all__ = ["arrange", "average", "convolution", "flatten", "recurrent", "rounded_twice", "squeeze", "transpose"]

_MAX_TAPS = 1024  # csrc/runtime/format.h


def arrange(reader: _Reader, current: str) -> None:
    """Turn the inputs [channels, ...] to channels last, where a convolution or a recurrent unit will read them so."""
    for node in reader.graph.node:
        first = node.op_type == "Transpose" and attributes(node).get("perm") == [2, 0, 1]
        if node.op_type == "Conv" or first:
            _channels_last(reader, current)
            return
        if node.op_type in ("Transpose", "Gemm", "MatMul", "Flatten", "GRU"):
            return


def _channels_last(reader: _Reader, current: str) -> None:
    channels, places = reader.shape[0], reader.width // reader.shape[0]
    if channels > 1 and places > 1:
        reader.add(ChannelsLast((), current, current, reader.width, channels))
    reader.index = _last(reader.shape)


def _last(shape: tuple[int, ...]) -> np.ndarray | None:
    """Where the numbers of an array [channels, ...], channels last, are in the array; None: nothing moves."""
    count = int(np.prod(shape))
    index = np.arange(count).reshape(shape[0], -1).T.reshape(-1)
    return None if np.array_equal(index, np.arange(count)) else index


def _same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
    return (a is None) == (b is None) and (a is None or np.array_equal(a, b))


def convolution(reader: _Reader, node: Any, current: str) -> Layer:
    """Read a Conv over one or two axes; its data are those of the tensor ``current``."""
    given, shape = attributes(node), reader.shape
    weights = reader.constants.weights(node, node.input[1])  # [m, channels per group, *kernel]
    values = weights.values
    axes = len(shape) - 1
    if node.input[0] != current or axes not in (1, 2) or values.ndim != axes + 2:
        raise reader.refuse(node, f"its weights have shape {list(values.shape)} behind values of shape {list(shape)}")
    m, group = values.shape[0], given.get("group", 1)
    depthwise = group > 1
    if (group not in (1, shape[0])) or (depthwise and m != group) or values.shape[1] * group != shape[0]:
        raise reader.refuse(node, f"it has {group} groups of {shape[0]} channels, expected one, or one per channel")
    if given.get("auto_pad", b"NOTSET") not in (b"NOTSET", "NOTSET") or set(given.get("dilations", [1])) != {1}:
        raise reader.refuse(node, "it has dilations, or pads that are not numbers")
    kernel, size = values.shape[2:], shape[1:]
    strides, pads = given.get("strides", [1] * axes), given.get("pads", [0] * (2 * axes))
    places = [(n + pads[i] + pads[axes + i] - kernel[i]) // strides[i] + 1 for i, n in enumerate(size)]
    if min(places) < 1 or any(pads[i] >= kernel[i] for i in range(axes)):
        raise reader.refuse(node, f"its kernel {list(kernel)} does not fit values of shape {list(shape)}")
    if depthwise and np.prod(kernel) > _MAX_TAPS:
        raise reader.refuse(node, f"its kernel {list(kernel)} has more than {_MAX_TAPS} taps for a channel")
    if not _same(reader.index, _last(shape)):
        raise reader.refuse(node, "its values do not lie with their channels last")

    def two(numbers: Any) -> list[int]:
        return [*([1] if axes == 1 else []), *map(int, numbers)]

    corner = [*([0] if axes == 1 else []), *map(int, pads[:axes])]
    window = Window(*two(size), shape[0], *two(kernel), *two(strides), *corner, *two(places))

    def oriented(a: np.ndarray) -> np.ndarray:
        last = a if depthwise else np.moveaxis(a, 1, -1)
        return np.ascontiguousarray(last.reshape(m, -1))

    scale = weights.scale if weights.codes is None else weights.per_output(0, m)
    if weights.codes is not None and scale is None and reader.pair is not None:
        raise reader.refuse(node, "the scales of its weights are not one number, or one per output")
    bias = bias_of(reader, node, 2, m)
    codes = None if weights.codes is None or scale is None else oriented(weights.codes)
    width = int(np.prod(places)) * m
    return Layer(
        (node,), current, node.output[0], width, node.name or node.output[0], oriented(values), bias, codes, scale,
        window=window, depthwise=depthwise,
    )  # fmt: skip


def behind_convolution(layer: Layer, axes: int) -> tuple[tuple[int, ...], np.ndarray | None]:
    """Shape and order of the values behind a convolution."""
    window = layer.window
    assert window is not None
    places = (window.places_y, window.places_x) if axes == 2 else (window.places_x,)
    shape = (layer.width // window.places, *places)
    return shape, _last(shape)


def average(reader: _Reader, node: Any, current: str) -> None:
    """Read a GlobalAveragePool."""
    channels = reader.shape[0]
    if len(reader.shape) < 2 or not _same(reader.index, _last(reader.shape)):
        raise reader.refuse(node, "its values do not lie with their channels last")
    reader.add(Average((node,), current, node.output[0], channels))
    reader.width, reader.shape, reader.index = channels, (channels, *[1] * (len(reader.shape) - 1)), None


def flatten(reader: _Reader, node: Any, current: str) -> None:
    """Read a Flatten: no value moves, the next layer's columns follow the order of the values."""
    if attributes(node).get("axis", 1) != 1 or reader.batch_axis:
        raise reader.refuse(node, "it does not keep one row per request")
    reader.shape = (reader.width,)


def transpose(reader: _Reader, node: Any, current: str) -> None:
    """Read a Transpose of the inputs: the graph's order changes, the steps' does not."""
    order = list(attributes(node).get("perm", []))
    if sorted(order) != list(range(len(reader.shape) + 1)) or reader.batch_axis:
        raise reader.refuse(node, "it turns more than the axes of one row")
    axes = [axis - 1 for axis in order if axis]
    moved = np.arange(reader.width).reshape(reader.shape).transpose(axes).reshape(-1)
    place = np.argsort(moved)
    index = place if reader.index is None else place[reader.index]
    reader.index = None if np.array_equal(index, np.arange(reader.width)) else index
    reader.shape = tuple(reader.shape[axis] for axis in axes)
    reader.batch_axis = order.index(0)


def recurrent(reader: _Reader, node: Any, current: str) -> str:
    """Read a GRU; return the output that the graph reads."""
    given = attributes(node)
    plain = {"hidden_size", "linear_before_reset", "direction", "layout"}
    if (
        set(given) - plain
        or given.get("linear_before_reset", 0) != 1
        or given.get("direction", b"forward") not in (b"forward", "forward")
        or given.get("layout", 0) != 0
        or any(node.input[4:])
    ):
        raise reader.refuse(node, "it is not a forward GRU from 0 with linear_before_reset 1 and default activations")
    if len(reader.shape) != 2 or reader.batch_axis != 1 or reader.index is not None or node.input[0] != current:
        raise reader.refuse(node, "its values are not [steps, batch, features]")
    used = [name for name in node.output if name and (reader.consumers.get(name) or name == reader.end)]
    if len(used) != 1:
        raise reader.refuse(node, "the graph reads more than one of its outputs")
    steps, features = reader.shape
    inputs, state = (_matrix(reader, node, i, used[0]) for i in (1, 2))
    units = state.weight.shape[1]
    if inputs.weight.shape != (3 * units, features) or state.weight.shape != (3 * units, units):
        raise reader.refuse(node, f"its weights do not fit {features} features and {units} units")
    if (inputs.codes is None) != (state.codes is None) or (inputs.low_codes is None) != (state.low_codes is None):
        raise reader.refuse(node, "its two matrices differ in precision")
    bias = bias_of(reader, node, 3, 6 * units)
    bias = np.zeros(6 * units, np.float32) if bias is None else bias
    sequence = used[0] == node.output[0]
    width = units * (steps if sequence else 1)
    step = Recurrent(
        (node,), current, used[0], width, replace(inputs, bias=bias[: 3 * units]),
        replace(state, bias=bias[3 * units :]), steps, sequence,
    )  # fmt: skip
    reader.add(step)
    reader.width, reader.shape = width, (steps, units) if sequence else (units,)
    reader.direction_axis, reader.batch_axis = (1, 2) if sequence else (0, 1)
    return used[0]


def _matrix(reader: _Reader, node: Any, position: int, target: str) -> Layer:
    """The weights of a GRU, [1, 3 units, n], in one INT8 part or the sum of two."""
    name = node.input[position]
    adder = reader.constants.producers.get(name)
    names = list(adder.input) if adder is not None and adder.op_type == "Add" else [name]
    parts: list[ConstantWeights] = [reader.constants.weights(node, one) for one in names]
    if any(part.values.ndim != 3 or part.values.shape[0] != 1 for part in parts):
        raise reader.refuse(node, "its weights are not those of one direction")
    rows = parts[0].values.shape[1]
    scales = [None if part.codes is None else _per_row(part, rows) for part in parts]
    if len(parts) == 2:
        order = sorted(range(2), key=lambda i: -float(np.max(0 if scales[i] is None else scales[i])))
        parts, scales = [parts[i] for i in order], [scales[i] for i in order]
        if scales[0] is None or scales[1] is None or not np.array_equal(scales[1], low_scale(scales[0])):
            raise reader.refuse(node, "its weights are no sum of two INT8 parts")
    main = parts[0]
    if main.codes is not None and scales[0] is None:
        raise reader.refuse(node, "the scales of its weights are not one number, or one per output")
    return Layer(
        (node,), node.input[0], target, rows, f"{node.name or target}/{'inputs' if position == 1 else 'state'}",
        np.ascontiguousarray(main.values[0]), None, None if main.codes is None else main.codes[0], scales[0],
        low_codes=parts[1].codes[0] if len(parts) == 2 and parts[1].codes is not None else None,
    )  # fmt: skip


def _per_row(part: ConstantWeights, rows: int) -> np.ndarray | None:
    scale = part.scale
    if scale is None or scale.size not in (1, rows) or (scale.size > 1 and part.axis != 1):
        return None
    return np.broadcast_to(scale.reshape(-1), (rows,)).astype(np.float32)


def squeeze(reader: _Reader, node: Any, current: str) -> None:
    """Read the Squeeze behind a GRU, which drops the axis of directions."""
    axes = reader.constants.values(node.input[1]) if len(node.input) > 1 else None
    if reader.direction_axis is None or axes is None or axes.reshape(-1).tolist() != [reader.direction_axis]:
        raise reader.refuse(node, "it drops another axis than that of a GRU's directions")
    reader.direction_axis, reader.batch_axis = None, reader.batch_axis - 1


def rounded_twice(reader: _Reader, current: str) -> Rounding | None:
    """Return ``high + low`` where ``current`` is rounded to INT8 and what
    that leaves over in finer steps; else None."""
    readers = reader.consumers[current]
    quantizers = [node for node in readers if node.op_type == "QuantizeLinear"]
    rests = [node for node in readers if node.op_type == "Sub"]
    if len(quantizers) != 2 or len(rests) != 1 or len(readers) != 3:
        return None
    scale = pair_scale(reader, quantizers[0])
    nodes: list[Any] = []
    whole = None
    for quantizer in quantizers:
        rounded = pair_behind(reader, quantizer, scale, nodes)
        users = reader.consumers.get(rounded, [])
        if len(users) != 1:
            return None
        if users[0].op_type == "Add":
            whole = users[0]
        elif users[0] is not rests[0] or list(users[0].input) != [current, rounded]:
            return None
    low = reader.consumers.get(rests[0].output[0], [])
    if whole is None or len(low) != 1 or low[0].op_type != "QuantizeLinear":
        return None
    rest = pair_behind(reader, low[0], float(low_scale(scale)), nodes)
    if rest not in whole.input:
        return None
    return Rounding((*nodes, rests[0], whole), current, whole.output[0], reader.width, scale, low=True)
