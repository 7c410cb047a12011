"""An ONNX graph as a torch network, node by node, so that gradients pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ....errors import ModelError
from .inputs import OnnxInputs
from .ops import OPERATORS, TYPES
from .sizes import most_values

__all__ = ["OnnxNetwork"]


class OnnxNetwork(nn.Module):
    """The same graph in torch, node by node, so that gradients pass.

    Raises
    ------
    NotImplementedError
        The first operator that has no counterpart here, by name.
    """

    one_by_one = True

    def __init__(self, graph: Any, inputs: OnnxInputs, outputs: list[str]):
        super().__init__()
        from onnx import helper

        self.inputs, self.outputs = inputs, list(outputs)
        self.features = inputs.features
        self.constants: dict[str, str] = {}
        self.tried = False
        known = {}
        for tensor in graph.initializer:
            known[tensor.name] = _array(tensor, tensor.name)
        self.nodes = []
        for node in _needed(graph, outputs):
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                known[node.output[0]] = _constant(attributes, node.name)
                continue
            if node.op_type not in OPERATORS:
                raise NotImplementedError(node.op_type)
            if "value" in attributes and node.op_type == "ConstantOfShape":
                attributes["value"] = _array(attributes["value"], node.name)
            if node.op_type == "Split":
                attributes["outputs"] = len(node.output)
            self.nodes.append((OPERATORS[node.op_type], list(node.input), list(node.output), attributes))
        used = {name for _, names, _, _ in self.nodes for name in names} | set(outputs)
        for k, (name, value) in enumerate((n, v) for n, v in known.items() if n in used):
            tensor = torch.from_numpy(np.array(value))
            tensor = tensor.float() if tensor.dtype == torch.float16 else tensor
            self.constants[name] = f"c{k}"
            if tensor.is_floating_point() and tensor.ndim:
                self.register_parameter(f"c{k}", nn.Parameter(tensor, requires_grad=False))
            else:
                self.register_buffer(f"c{k}", tensor)

    @property
    def dtype(self) -> torch.dtype:
        """What it takes: codes come as numbers, and are converted where the graph wants whole ones."""
        return TYPES[self.inputs.types[0]] if TYPES[self.inputs.types[0]].is_floating_point else torch.float32

    def forward(self, x: Tensor) -> Any:  # [n, d] -> [n, o], or a dict of such
        parts = self.inputs.split(x, lambda v, begin, end: v[:, begin:end])
        values: dict[str, Any] = {}
        for k, (name, part) in enumerate(zip(self.inputs.names, parts)):
            kind = TYPES[self.inputs.types[k]]
            part = self.inputs.shaped(part, k)
            values[name] = part if kind.is_floating_point else part.to(kind)
        for name, buffer in self.constants.items():
            values[name] = getattr(self, buffer)
        most = None if self.tried else most_values(x.numel(), sum(v.numel() for v in values.values()))
        for operator, names, outputs, attributes in self.nodes:
            given = operator([values[n] if n else None for n in names], attributes)
            for output, value in zip(outputs, given if isinstance(given, tuple) else (given,)):
                values[output] = value
                if most is not None:
                    most -= value.numel()
                    if most < 0:
                        raise ValueError(f"at '{output[:60]}' its steps hold far more numbers than rows and weights")
        self.tried = True
        if len(self.outputs) == 1:
            return values[self.outputs[0]]
        return {name: values[name] for name in self.outputs}


def _needed(graph: Any, outputs: list[str]) -> list[Any]:
    """The nodes that the outputs depend on, in their order."""
    wanted, nodes = set(outputs), []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            nodes.append(node)
            wanted |= set(node.input)
    return nodes[::-1]


def _array(tensor: Any, name: str) -> np.ndarray:
    from onnx import numpy_helper

    try:
        return numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:  # KeyError: a type that is none
        raise ModelError(
            f"the tensor '{name[:60]}' of the ONNX graph is not what its shape and type say: {error}.",
            "Export it again.",
        ) from None


def _constant(attributes: dict[str, Any], name: str) -> np.ndarray:
    (kind, value) = next(iter(attributes.items()), ("", None))
    if kind == "value":
        return _array(value, name)
    if not kind.startswith(("value_float", "value_int")):  # texts, sparse tensors
        raise NotImplementedError(f"Constant with a {kind or 'missing value'}")
    return np.array(value, dtype=np.float32 if "float" in kind else np.int64)
