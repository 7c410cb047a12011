"""Writer of a plan as an ONNX graph: explicit Q/DQ pairs and casts around the layers, everything else as exported.

NVIDIA's parser and ONNX Runtime both accept the result: zero points 0, one scale per tensor for data and one per
output channel for weights, biases in float32. A layer is MatMul + Add: ONNX Runtime has no INT8 Gemm with a float bias.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph.formats import Format, low_scale
from .equalize import fold_rates
from .plan import Plan, PlannedLayer

__all__ = ["write_plan"]


def write_plan(plan: Plan) -> Any:
    """Return the ``onnx.ModelProto`` that computes ``plan``; names of layers, inputs, outputs and metadata are kept."""
    import onnx
    from onnx import helper

    plan = fold_rates(plan)
    source = plan.chain.model
    build = _Builder()
    forms = {layer.form.name for layer in plan.layers}
    current = plan.chain.input_name
    shift, rate = _scaler(plan)
    current = build.node("Sub", [current, build.constant("scale_x/shift", shift)], "scale_x/sub")
    current = build.node("Mul", [current, build.constant("scale_x/rate", rate)], "scale_x/mul")
    for index, (layer, original) in enumerate(zip(plan.layers, plan.chain.layers)):
        if index:
            if layer.shift is not None:
                current = build.node(
                    "Sub", [current, build.constant(f"{original.name}/shift", layer.shift)], f"{original.name}/center"
                )
            if layer.rate is not None:
                current = build.node(
                    "Mul", [current, build.constant(f"{original.name}/rate", layer.rate)], f"{original.name}/equalize"
                )
        current = _layer(build, layer, original.name, current)
        current = build.copy(original.after, current)
    final = plan.chain.output_name
    if current != final:  # nothing follows the last layer
        build.nodes[-1].output[0] = final
    graph = helper.make_graph(build.nodes, source.graph.name, source.graph.input, source.graph.output, build.constants)
    opset = max(
        next(o.version for o in source.opset_import if o.domain in ("", "ai.onnx")), 19 if "fp8" in forms else 13
    )
    model = helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", opset)],
        ir_version=max(source.ir_version, 9 if "fp8" in forms else 7),
    )
    model.producer_name = source.producer_name
    model.metadata_props.extend(source.metadata_props)
    onnx.checker.check_model(model, full_check=True)
    return model


def _scaler(plan: Plan) -> tuple[np.ndarray, np.ndarray]:  # [d], [d] float32
    """Return the scaler with the first layer's equalization folded in."""
    first, chain = plan.layers[0], plan.chain
    centre = 0.0 if first.shift is None else first.shift.astype(np.float64)
    factor = 1.0 if first.rate is None else first.rate.astype(np.float64)
    return (chain.shift + centre / chain.rate).astype(np.float32), (chain.rate * factor).astype(np.float32)


def _layer(build: _Builder, layer: PlannedLayer, name: str, current: str) -> str:
    """Append ``round(current) @ W + b``; return the output tensor."""
    form = layer.form
    if form.name == "fp32":
        product = build.node("MatMul", [current, build.constant(f"{name}/weight", layer.weight.T)], name)
    elif not form.scaled:
        typed = form.onnx_type()
        data = build.node("Cast", [current], f"{name}/data/to_{form.name}", to=typed)
        weight = build.typed(f"{name}/weight", layer.weight.T, form)
        product = build.node("Cast", [build.node("MatMul", [data, weight], name)], f"{name}/to_fp32", to=1)
    else:
        product = _scaled_product(build, layer, name, current)
    return build.node("Add", [product, build.constant(f"{name}/bias", layer.bias)], f"{name}/bias_add")


def _scaled_product(build: _Builder, layer: PlannedLayer, name: str, current: str) -> str:
    """The product of Q/DQ pairs; with data or weights in two parts, the sum of two or three such products.

    high = DQ(Q(a)), low = DQ(Q(a - high)): the subtraction is exact in float32, so nothing is lost between the parts.
    The product of the two low parts is left out: it is below float32's own rounding of the sum. Each product has its
    own Q/DQ pair of the data and its own weights, since ONNX Runtime makes an integer kernel of a product only where
    nothing else reads its operands.
    """
    form, scales = layer.form, (layer.weight_scale, low_scale(layer.weight_scale))
    if layer.codes is not None:
        codes = [layer.codes]
    else:
        codes = [part / scale[:, None] for part, scale in zip(layer.stored_parts, scales)]
    if form.data:
        high = _Quantized(build, layer, f"{name}/data", current, layer.data_scale)
        data = [high]
        if form.data_parts == 2:
            rest = build.node("Sub", [current, high.values("/rest")], f"{name}/data/rest")
            data.append(_Quantized(build, layer, f"{name}/data/low", rest, low_scale(layer.data_scale)))
    products = [("", 0, 0)]  # suffix of the name, part of the data, part of the weights
    products += [("/low_data", 1, 0)] if form.data_parts == 2 else []
    products += [("/low_weight", 0, 1)] if len(codes) == 2 else []
    total = ""
    for suffix, of_data, of_weight in products:
        operand = data[of_data].values(suffix) if form.data else current
        point = [
            build.constant(f"{name}{suffix}/weight/scale", scales[of_weight]),
            build.zeros(f"{name}{suffix}/weight/zero", layer.weight_scale.shape, form),
        ]
        stored = build.typed(f"{name}{suffix}/weight", codes[of_weight].T, form)
        weight = build.node("DequantizeLinear", [stored, *point], f"{name}{suffix}/weight/dequantize", axis=1)
        product = build.node("MatMul", [operand, weight], f"{name}{suffix}")
        total = build.node("Add", [total, product], f"{name}{suffix}/sum") if total else product
    return total


class _Quantized:
    """A tensor to be rounded: a Q/DQ pair for each of its readers, all with the same constants."""

    def __init__(self, build: _Builder, layer: PlannedLayer, name: str, current: str, scale: Any) -> None:
        self._build, self._name, self._current = build, name, current
        self._point = [
            build.constant(f"{name}/scale", np.float32(scale)),
            build.zeros(f"{name}/zero", (), layer.form),
        ]

    def values(self, reader: str) -> str:
        """The tensor of the rounded values, for one reader."""
        name = f"{self._name}{reader}"
        codes = self._build.node("QuantizeLinear", [self._current, *self._point], f"{name}/quantize")
        return self._build.node("DequantizeLinear", [codes, *self._point], f"{name}/dequantize")


class _Builder:
    """Nodes and constants of the graph under construction."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._names: set[str] = set()

    def node(self, op: str, inputs: Sequence[str], name: str, **attributes: Any) -> str:
        """Append a node; its only output is named after it."""
        from onnx import helper

        self.nodes.append(helper.make_node(op, list(inputs), [f"{name}:0"], name=name, **attributes))
        return f"{name}:0"

    def constant(self, name: str, value: np.ndarray) -> str:
        from onnx import numpy_helper

        self.constants.append(
            numpy_helper.from_array(np.ascontiguousarray(value, np.float32).reshape(np.shape(value)), name)
        )
        return name

    def typed(self, name: str, values: np.ndarray, form: Format) -> str:
        """Add a constant in the format's own type."""
        from onnx import numpy_helper

        if form.numpy_type() is np.int8:
            values = np.rint(values)
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values).astype(form.numpy_type()), name))
        return name

    def zeros(self, name: str, shape: tuple[int, ...], form: Format) -> str:
        return self.typed(name, np.zeros(shape, np.float32), form)

    def copy(self, segment: Any, current: str) -> str:
        """Copy the exported nodes of a segment with their constants, reading from ``current``."""
        import onnx

        for node in segment.nodes:
            new = onnx.NodeProto()
            new.CopyFrom(node)
            for position, name in enumerate(new.input):
                if name == segment.source:
                    new.input[position] = current
                elif name in segment.constants and name not in self._names:
                    self._names.add(name)
                    self.constants.append(onnx.numpy_helper.from_array(segment.constants[name], name))
            self.nodes.append(new)
        return segment.target if segment.nodes else current
