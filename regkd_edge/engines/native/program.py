"""From the network of a graph to the program of the native back end."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...errors import GraphError
from ...graph.network import Activation, Clip, Layer, Rounding, Scaling
from ...graph.reader import UnknownNode, read_network
from .file import Operation, Program

__all__ = ["program_of"]


def program_of(path: str | Path) -> Program:
    """Return the program of an ONNX file: float32, or int8 between symmetric Q/DQ pairs.

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
    return Program(network.inputs, network.outputs, operations, network.names)


def _operations(step: object) -> list[Operation]:
    if isinstance(step, Scaling):
        return [Operation(step.operator, step.width, values=step.row)]
    if isinstance(step, Clip):
        return [Operation("clip", step.width, values=np.array([step.low, step.high], np.float32))]
    if isinstance(step, Rounding):
        return [Operation("quantize", step.width, number=step.scale)]
    if isinstance(step, Activation):
        if step.name == "identity":
            return []
        return [Operation("activation", step.width, activation=step.name, number=step.parameter)]
    if isinstance(step, Layer) and not step.integer:
        return [Operation("dense", step.width, values=step.weight, bias=step.bias)]
    if isinstance(step, Layer):
        return [
            Operation(
                "dense_int8", step.width, number=step.data_scale, codes=step.codes, scale=step.scale, bias=step.bias,
                low_data=step.low_data, low_codes=step.low_codes,
            )
        ]  # fmt: skip
    raise GraphError(f"the native back end has no {type(step).__name__}.", "Use 'onnxruntime' for this graph.")
