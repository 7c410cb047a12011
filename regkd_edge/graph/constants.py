"""The constants of an ONNX graph: values, and the integer codes behind Q/DQ pairs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import GraphError

__all__ = ["Constants", "ConstantWeights", "attributes"]


def attributes(node: Any) -> dict[str, Any]:
    from onnx import helper

    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


class ConstantWeights:
    """Constant weights: their values, and their codes and scales if they pass a Q/DQ pair."""

    def __init__(
        self, values: np.ndarray, codes: np.ndarray | None = None, scale: np.ndarray | None = None, axis: int = 0
    ) -> None:
        self.values, self.codes, self.scale, self.axis = values, codes, scale, axis

    def per_output(self, output_axis: int, width: int) -> np.ndarray | None:  # float32 [width]
        if self.scale.size == 1:
            return np.broadcast_to(self.scale.reshape(-1), (width,)).copy()
        return self.scale if self.scale.shape == (width,) and self.axis % 2 == output_axis else None


class Constants:
    """Values known before any input: initializers, Constant nodes, and Q/DQ pairs, reshapes and transposes of these."""

    def __init__(self, graph: Any, refuse: Callable[[Any, str], GraphError]) -> None:
        from onnx import numpy_helper

        self.refuse = refuse
        self.tensors = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        self.producers = {name: node for node in graph.node for name in node.output}
        for node in graph.node:
            if node.op_type == "Constant" and "value" in attributes(node):
                self.tensors[node.output[0]] = numpy_helper.to_array(attributes(node)["value"])

    def values(self, name: str) -> np.ndarray | None:
        """Return the array of a constant, or None if it depends on the input."""
        if name in self.tensors:
            return self.tensors[name]
        node = self.producers.get(name)
        if node is None:
            return None
        if node.op_type == "Identity":
            return self.values(node.input[0])
        if node.op_type == "Transpose":
            value = self.values(node.input[0])
            return None if value is None else np.transpose(value, attributes(node).get("perm"))
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            return self.converted(node)
        return None

    def converted(self, node: Any) -> np.ndarray | None:
        """Apply Q or DQ to a constant, by the standard's formula in float32."""
        value, scale = self.values(node.input[0]), self.values(node.input[1])
        zero = self.values(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if value is None or scale is None:
            return None
        if zero is not None and np.any(zero):
            raise self.refuse(node, "its zero point is not 0")
        if node.op_type == "QuantizeLinear" and (zero is None or zero.dtype != np.int8):
            raise self.refuse(node, "the weights are not symmetric int8 (zero point 0 of type int8)")
        if scale.size > 1:
            axis = attributes(node).get("axis", 1) % value.ndim
            if scale.ndim != 1 or scale.size != value.shape[axis]:
                raise self.refuse(
                    node, f"its scales have shape {list(scale.shape)} for values of shape {list(value.shape)}"
                )
            scale = scale.reshape([-1 if i == axis else 1 for i in range(value.ndim)])
        if scale.dtype != np.float32 or not np.isfinite(scale).all() or np.any(scale <= 0):
            raise self.refuse(node, "its scales are not float32 above 0")
        if node.op_type == "QuantizeLinear":
            return np.clip(np.rint(value / scale), -128, 127).astype(np.int8)
        return value.astype(np.float32) * scale

    def weights(self, node: Any, name: str) -> ConstantWeights:
        values = self.values(name)
        if values is None:
            raise self.refuse(node, "its weights are not constant")
        if values.dtype != np.float32 or not np.isfinite(values).all():
            raise self.refuse(
                node, f"its weights are {values.dtype}, expected finite float32, or int8 behind DequantizeLinear"
            )
        source, turns = self.producers.get(name), 0
        while source is not None and source.op_type in ("Identity", "Transpose"):
            turns += source.op_type == "Transpose"
            source = self.producers.get(source.input[0])
        if source is None or source.op_type != "DequantizeLinear":
            return ConstantWeights(values)
        codes, scale = self.values(source.input[0]), self.values(source.input[1])
        if codes.dtype != np.int8:
            return ConstantWeights(values)
        return ConstantWeights(
            values, codes.T if turns % 2 else codes, scale, attributes(source).get("axis", 1) + turns
        )
