"""From the network of a graph to the program of the native back end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import GraphError
from ...graph.network import Activation, Average, ChannelsLast, Clip, Layer, Recurrent, Rounding, Scaling
from ...graph.reader import UnknownNode, read_network
from .folded import fold_scalers
from .operations import Operation, Program

__all__ = ["program_of"]


def program_of(path: str | Path) -> Program:
    """Return the program of an ONNX file: float32, or int8 between symmetric Q/DQ pairs; scalers are folded into layers
    where they can be.

    Raises
    ------
    GraphError
        The graph is not a chain, or one of its nodes has no counterpart; the node is named.
    """
    network = read_network(path)
    operations = []
    for step in network.steps:
        if isinstance(step, Activation) and step.name is None:
            raise UnknownNode(Path(path).name, step.nodes[-1], step.why)
        operations += _operations(step)
    return Program(network.inputs, network.outputs, fold_scalers(operations), network.names)


def _operations(step: object) -> list[Operation]:
    if isinstance(step, Scaling):
        return [Operation(step.operator, step.width, values=_period(step.row))]
    if isinstance(step, Clip):
        return [Operation("clip", step.width, values=np.array([step.low, step.high], np.float32))]
    if isinstance(step, Rounding):
        return [Operation("quantize", step.width, number=step.scale, low_data=step.low)]
    if isinstance(step, ChannelsLast):
        return [Operation("channels_last", step.width, channels=step.channels)]
    if isinstance(step, Average):
        return [Operation("average", step.width)]
    if isinstance(step, Activation):
        if step.name == "identity":
            return []
        return [Operation("activation", step.width, activation=step.name, number=step.parameter)]
    if isinstance(step, Recurrent):
        rounded = step.inputs.codes is not None
        op, own = (_weights(layer, layer.width, weights_only=rounded) for layer in (step.inputs, step.state))
        op.kind, op.width, op.steps, op.sequence, op.recurrence = "gru", step.width, step.steps, step.sequence, own
        return [op]
    if isinstance(step, Layer) and step.window is None:
        return [_weights(step, step.width)]
    if isinstance(step, Layer) and step.depthwise:
        op = _weights(step, step.width)
        op.kind, op.window = "depthwise", step.window
        for name in ("values", "codes", "low_codes"):  # [channels, taps] -> [taps, channels]
            array = getattr(op, name)
            setattr(op, name, None if array is None else np.ascontiguousarray(array.T))
        return [op]
    if isinstance(step, Layer):
        places = step.window.places
        return [
            Operation("windows", step.window.taps * step.window.channels, window=step.window),
            _weights(step, step.width // places),
        ]
    raise GraphError(f"the native back end has no {type(step).__name__}.", "Use 'onnxruntime' for this graph.")


def _weights(layer: Layer, width: int, *, weights_only: bool = False) -> Operation:
    """The dense of a layer; ``weights_only``: INT8 weights multiply floats."""
    if layer.integer or weights_only:
        return Operation(
            "dense_int8", width, number=layer.data_scale or 0.0, codes=layer.codes, scale=layer.scale,
            bias=layer.bias, low_data=layer.low_data, low_codes=layer.low_codes,
        )  # fmt: skip
    return Operation("dense", width, values=layer.weight, bias=layer.bias)


def _period(row: np.ndarray) -> np.ndarray:
    """The shortest piece of a row of constants that repeats: one number per channel, or all of them."""
    for period in range(1, min(row.size // 2, 4096) + 1):
        if row.size % period == 0 and np.array_equal(row[:period], row[period : 2 * period]):
            piece = row[:period]
            if np.array_equal(np.tile(piece, row.size // period), row):
                return piece
    return row
