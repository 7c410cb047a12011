"""A user's module as ONNX nodes, by PyTorch's exporter."""

from __future__ import annotations

import io
import warnings
from typing import Any

import torch
from torch import nn

from ..errors import GraphError

__all__ = ["trace"]

_BATCH = 2  # rows that it is traced with; the exported batch is free


def trace(
    module: nn.Module, shape: tuple[int, ...], name: str, value: str, opset: int
) -> tuple[list[Any], list[Any], str]:
    """Return nodes, constants and the name of the result of a module's graph, all names behind ``name/``.

    Parameters
    ----------
    module : nn.Module
        [n, *shape] -> [n, o], in evaluation mode.
    value : str
        The tensor that it reads.

    Raises
    ------
    GraphError
        PyTorch cannot export it.
    """
    import onnx

    content = io.BytesIO()
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # that this exporter is the older one: it needs no package of its own
            torch.onnx.export(
                module,
                (torch.zeros(_BATCH, *shape),),
                content,
                dynamo=False,
                opset_version=opset,
                input_names=["x"],
                output_names=["y"],
                dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
            )
        graph = onnx.load_from_string(content.getvalue()).graph
    except Exception as error:  # torch raises many kinds here
        raise GraphError(
            f"PyTorch cannot export this {type(module).__name__} to ONNX: "
            f"{str(error).splitlines()[0] if str(error) else type(error).__name__}.",
            "Write it with operations that ONNX has, or use a student of another family.",
        ) from error
    renamed = {"x": value, "": ""}

    def new(old: str) -> str:
        return renamed.setdefault(old, f"{name}/{old.lstrip('/')}")

    for node in graph.node:
        node.name = f"{name}/{(node.name or node.output[0]).lstrip('/')}"
        node.input[:] = [new(one) for one in node.input]
        node.output[:] = [new(one) for one in node.output]
    for tensor in graph.initializer:
        tensor.name = new(tensor.name)
    return list(graph.node), list(graph.initializer), new("y")
