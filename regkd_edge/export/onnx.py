"""The ONNX graph of an MLP with its scalers, written node by node.

The graph is written out rather than traced, so that it holds only what it computes, its nodes have readable
names that later stages rely on (a quantizer lists ``layer0/gemm``), and the same student gives the same bytes with
any version of PyTorch.

    x [batch, d] -> scale_x/sub -> scale_x/mul -> layer0/gemm -> layer0/<activation> -> ... -> layerL/gemm
                 -> scale_y/mul -> scale_y/add -> y [batch, o]

Standardisation subtracts first and multiplies afterwards. The other order, ``x * (1/s) - m/s`` or folding both into the
first layer, subtracts two rounded numbers of size m/s; with raw values of 1.8e6 +- 4e5 that costs the last digits of
every input, while the difference of two nearby float32 numbers is exact.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from torch import nn

from .. import __version__
from ..data import Scalers
from ..errors import GraphError
from ..io.files import write_atomic
from ..models import MLP

__all__ = ["IR_VERSION", "OPSET", "export_onnx"]

#: Old enough for TensorRT 10.3 (JetPack 6) and ONNX Runtime 1.18; every activation is expressed in it.
OPSET = 18
IR_VERSION = 8


def export_onnx(
    module: nn.Module,
    scalers: Scalers,
    path: str | Path,
    *,
    batch: Literal["dynamic"] | int = "dynamic",
    feature_names: Sequence[str] = (),
    target_names: Sequence[str] = (),
    spec: str = "",
) -> Path:
    """Write the graph: input ``x`` [batch, d] float32 and output ``y`` [batch, o] float32, both in raw units.

    Parameters
    ----------
    module : MLP
        In standardised space.
    scalers : Scalers
        Folded in as four nodes.
    batch : ``"dynamic"`` or int
        A free first dimension, or a fixed one.
    feature_names, target_names, spec
        Kept in the model's metadata (``regkd.*``) with the version of this package.

    Raises
    ------
    GraphError
        The network is not an MLP, its widths differ from the scalers', or a number does not fit into float32.
    """
    import onnx

    if type(module) is not MLP:
        raise GraphError(
            f"a {type(module).__name__} cannot be exported: the exporter supports MLPs.", "Distil an mlp:... student."
        )
    d, o = module.widths[0], module.widths[-1]
    if (scalers.x.width, scalers.y.width) != (d, o):
        raise GraphError(
            f"the network has {d} inputs and {o} outputs, and its scalers {scalers.x.width} and {scalers.y.width}.",
            "Give the scalers it was trained with.",
        )
    if batch != "dynamic" and (isinstance(batch, bool) or not isinstance(batch, int) or batch < 1):
        raise GraphError(
            f"batch is {batch!r}, expected 'dynamic' or a whole number of at least 1.", "Change the batch."
        )
    graph = _Graph()
    value = graph.node("Sub", "scale_x/sub", ["x", graph.constant("scale_x/mean", scalers.x.mean)])
    value = graph.node("Mul", "scale_x/mul", [value, graph.constant("scale_x/inverse", 1.0 / scalers.x.scale)])
    for i, layer in enumerate(module.layers):
        weight = graph.constant(f"layer{i}/weight", layer.weight.detach().cpu().numpy())
        bias = graph.constant(f"layer{i}/bias", layer.bias.detach().cpu().numpy())
        value = graph.node("Gemm", f"layer{i}/gemm", [value, weight, bias], transB=1)
        if i < len(module.layers) - 1:
            value = _ACTIVATIONS[module.activation](graph, f"layer{i}/{module.activation}", value)
    value = graph.node("Mul", "scale_y/mul", [value, graph.constant("scale_y/scale", scalers.y.scale)])
    graph.node("Add", "scale_y/add", [value, graph.constant("scale_y/mean", scalers.y.mean)], output="y")
    metadata = {
        "regkd.version": __version__,
        "regkd.spec": spec or f"mlp:{','.join(map(str, module.widths[1:-1]))}:{module.activation}",
        "regkd.units": "raw",
        "regkd.feature_names": json.dumps(list(feature_names), ensure_ascii=False),
        "regkd.target_names": json.dumps(list(target_names), ensure_ascii=False),
    }
    model = graph.model("batch" if batch == "dynamic" else batch, d, o, metadata)
    path = Path(path)
    with write_atomic(path) as temporary:
        onnx.save_model(model, temporary)
    return path


class _Graph:
    """Nodes and constants in the order of creation."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        with np.errstate(over="ignore"):
            array = np.asarray(value, dtype=np.float64).astype(np.float32)
        if not np.isfinite(array).all():
            raise GraphError(
                f"'{name}' holds a value that is not finite in float32.", "Rescale that column, or train again."
            )
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def node(self, operator: str, name: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        output = output or f"{name}_out"
        self.nodes.append(helper.make_node(operator, inputs, [output], name=name, **attributes))
        return output

    def model(self, batch: str | int, d: int, o: int, metadata: dict[str, str]) -> Any:
        import onnx
        from onnx import TensorProto, helper

        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, width])
            for name, width in (("x", d), ("y", o))
        ]
        graph = helper.make_graph(self.nodes, "regkd_student", ends[:1], ends[1:], self.constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="regkd-edge",
            producer_version=__version__,
        )
        helper.set_model_props(model, metadata)
        onnx.checker.check_model(model, full_check=True)
        return model


def _one(operator: str, **attributes: Any) -> Callable[[_Graph, str, str], str]:
    return lambda graph, name, z: graph.node(operator, name, [z], **attributes)


def _silu(graph: _Graph, name: str, z: str) -> str:
    return graph.node("Mul", f"{name}/mul", [z, graph.node("Sigmoid", f"{name}/sigmoid", [z])])


def _gelu(graph: _Graph, name: str, z: str) -> str:
    """Append z/2 (1 + erf(z / sqrt 2)): the Gelu operator needs opset 20."""
    inner = graph.node("Mul", f"{name}/scale", [z, graph.constant(f"{name}/sqrt_half", math.sqrt(0.5))])
    return _half_one_plus(graph, name, z, graph.node("Erf", f"{name}/erf", [inner]))


def _gelu_tanh(graph: _Graph, name: str, z: str) -> str:
    """Append z/2 (1 + tanh(sqrt(2/pi) (z + 0.044715 z^3)))."""
    square = graph.node("Mul", f"{name}/square", [z, z])
    cubic = graph.node(
        "Mul", f"{name}/cubic", [square, graph.constant(f"{name}/c3", 0.044715 * math.sqrt(2 / math.pi))]
    )
    factor = graph.node("Add", f"{name}/factor", [cubic, graph.constant(f"{name}/c1", math.sqrt(2 / math.pi))])
    inner = graph.node("Mul", f"{name}/inner", [z, factor])
    return _half_one_plus(graph, name, z, graph.node("Tanh", f"{name}/tanh", [inner]))


def _half_one_plus(graph: _Graph, name: str, z: str, value: str) -> str:
    half = graph.node("Mul", f"{name}/half", [z, graph.constant(f"{name}/one_half", 0.5)])
    return graph.node(
        "Mul", f"{name}/mul", [half, graph.node("Add", f"{name}/add", [value, graph.constant(f"{name}/one", 1.0)])]
    )


_ACTIVATIONS: dict[str, Callable[[_Graph, str, str], str]] = {
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
