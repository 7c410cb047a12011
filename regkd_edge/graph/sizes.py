"""Sizes of the tensors of a graph, by the standard's shape inference."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..errors import GraphError

__all__ = ["positions", "sizes_of"]

# Elementwise operators of com.microsoft.
_SAME_SHAPE = {"BiasGelu", "FastGelu", "Gelu", "QuickGelu"}


def sizes_of(model: Any) -> dict[str, list[int]]:
    """Return name -> sizes of every tensor; 0 where a size is free."""
    import onnx
    from onnx import shape_inference

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if node.domain == "com.microsoft":  # of ONNX Runtime's optimiser: the standard's inference stops at them
            if node.op_type in _SAME_SHAPE:
                node.op_type, node.domain = "Identity", ""
                del node.input[1:], node.attribute[:]
            elif node.op_type == "FusedConv":
                node.op_type, node.domain = "Conv", ""
                kept = [attribute for attribute in node.attribute if not attribute.name.startswith("activation")]
                del node.input[3:], node.attribute[:]
                node.attribute.extend(kept)
    graph = shape_inference.infer_shapes(copy).graph
    values = (*graph.input, *graph.value_info, *graph.output)
    return {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim] for v in values}


def positions(node: Any, shapes: dict[str, list[int]], path: str | Path) -> int:
    spatial = shapes.get(node.output[0], [])[2:]
    if not spatial or min(spatial) < 1:
        raise GraphError(
            f"'{path}': the output size of convolution '{node.name}' is not fixed.", "Export with a fixed image size."
        )
    return math.prod(spatial)
