"""Nodes and constants of a student's graph in the order of creation, and its activations in operators of opset 18."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from .. import __version__
from ..errors import GraphError
from .traced import trace

__all__ = ["IR_VERSION", "OPSET", "Writer"]

#: Old enough for TensorRT 10.3 (JetPack 6) and ONNX Runtime 1.18; every activation is expressed in it.
OPSET = 18
IR_VERSION = 8


class Writer:
    """What a family writes its nodes with (:class:`regkd_edge.models.families.family.GraphWriter`)."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        """Store float32 numbers; :class:`GraphError` for one that float32 does not hold."""
        from onnx import numpy_helper

        with np.errstate(over="ignore"):
            array = np.asarray(value, dtype=np.float64).astype(np.float32)
        if not np.isfinite(array).all():
            raise GraphError(
                f"'{name}' holds a value that is not finite in float32.", "Rescale that column, or train again."
            )
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def whole_numbers(self, name: str, values: list[int]) -> str:
        """Store int64 numbers."""
        from onnx import numpy_helper

        self.constants.append(numpy_helper.from_array(np.array(values, dtype=np.int64), name))
        return name

    def node(self, operator: str, name: str, inputs: list[str], outputs: Sequence[str] = (), **attributes: Any) -> str:
        """Append a node; return the name of its first output, ``name_out`` where none is given."""
        from onnx import helper

        outputs = list(outputs) or [f"{name}_out"]
        while not outputs[-1]:
            outputs.pop()
        self.nodes.append(helper.make_node(operator, inputs, outputs, name=name, **attributes))
        return next(output for output in outputs if output)

    def activation(self, kind: str, name: str, value: str) -> str:
        """Append an activation of :data:`regkd_edge.models.ACTIVATIONS`."""
        return _ACTIVATIONS[kind](self, name, value)

    def traced(self, module: nn.Module, shape: tuple[int, ...], name: str, value: str) -> str:
        """Append the graph that PyTorch's exporter makes of a module, its names behind ``name``."""
        nodes, constants, result = trace(module, shape, name, value, OPSET)
        self.nodes += nodes
        self.constants += constants
        return result

    def model(
        self, batch: str | int, shape: tuple[int, ...], o: int, metadata: Mapping[str, str]
    ) -> Any:  # onnx.ModelProto
        """Return the checked model: input ``x`` [batch, *shape] and output ``y`` [batch, o], float32."""
        import onnx
        from onnx import TensorProto, helper

        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, *sizes])
            for name, sizes in (("x", shape), ("y", (o,)))
        ]
        graph = helper.make_graph(self.nodes, "regkd_student", ends[:1], ends[1:], self.constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="regkd-edge",
            producer_version=__version__,
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model, full_check=True)
        return model


def _one(operator: str, **attributes: Any) -> Callable[[Writer, str, str], str]:
    return lambda graph, name, z: graph.node(operator, name, [z], **attributes)


def _silu(graph: Writer, name: str, z: str) -> str:
    return graph.node("Mul", f"{name}/mul", [z, graph.node("Sigmoid", f"{name}/sigmoid", [z])])


def _gelu(graph: Writer, name: str, z: str) -> str:
    """Append z/2 (1 + erf(z / sqrt 2)): the Gelu operator needs opset 20."""
    inner = graph.node("Mul", f"{name}/scale", [z, graph.constant(f"{name}/sqrt_half", math.sqrt(0.5))])
    return _half_one_plus(graph, name, z, graph.node("Erf", f"{name}/erf", [inner]))


def _gelu_tanh(graph: Writer, name: str, z: str) -> str:
    """Append z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3)))."""
    square = graph.node("Mul", f"{name}/square", [z, z])
    cubic = graph.node(
        "Mul", f"{name}/cubic", [square, graph.constant(f"{name}/c3", 0.044715 * math.sqrt(2 / math.pi))]
    )
    factor = graph.node("Add", f"{name}/factor", [cubic, graph.constant(f"{name}/c1", math.sqrt(2 / math.pi))])
    inner = graph.node("Mul", f"{name}/inner", [z, factor])
    return _half_one_plus(graph, name, z, graph.node("Tanh", f"{name}/tanh", [inner]))


def _half_one_plus(graph: Writer, name: str, z: str, value: str) -> str:
    half = graph.node("Mul", f"{name}/half", [z, graph.constant(f"{name}/one_half", 0.5)])
    return graph.node(
        "Mul", f"{name}/mul", [half, graph.node("Add", f"{name}/add", [value, graph.constant(f"{name}/one", 1.0)])]
    )


_ACTIVATIONS: dict[str, Callable[[Writer, str, str], str]] = {
    "identity": lambda graph, name, z: z,
    "relu": _one("Relu"),
    "leaky_relu": _one("LeakyRelu", alpha=0.01),
    "elu": _one("Elu", alpha=1.0),
    "silu": _silu,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "tanh": _one("Tanh"),
    "softplus": _one("Softplus"),
}
