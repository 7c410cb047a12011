"""Writer of a plan for convolutions, GRUs and products: the exported graph with its layers rewritten, the rest kept.

==============  =====================================================================================================
layer           INT8 form
==============  =====================================================================================================
Conv            Conv(DQ(Q(a)), DQ(W), b): W int8 [out, in/group, ...] with one scale per output channel (axis 0)
Gemm, MatMul    MatMul(DQ(Q(a)), DQ(W)) + b: W int8 [in, out], axis 1
GRU             GRU(DQ(Q(a)), DQ(W), DQ(R), b): W int8 [1, 3H, F], R int8 [1, 3H, H], axis 1; the state stays float32
==============  =====================================================================================================

Zero points are 0. In two parts, ``high = DQ(Q(a))`` and ``low = DQ(Q(a - high))`` in steps 254 times finer: Conv and
MatMul become the sum of two or three products (high W + low W + high W_low, the bias in the first Conv); a GRU reads
``high + low`` and multiplies by ``W + W_low``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import GraphError
from ..graph.constants import attributes
from ..graph.formats import low_scale
from .weighted_plan import PlannedWeights, WeightedPlan
from .writer import _Builder

__all__ = ["write_weighted"]


def write_weighted(plan: WeightedPlan) -> Any:
    """Return the ``onnx.ModelProto`` that computes ``plan``; names of layers, inputs, outputs and metadata are kept."""
    import onnx
    from onnx import helper

    source = plan.chain.model
    if any(layer.form.name == "bf16" and layer.layer.node.op_type in ("Conv", "GRU") for layer in plan.layers):
        raise GraphError("ONNX has no bf16 convolution or GRU in opset 18.", "Use fp16 or int8.")
    build = _Builder()
    replaced = {layer.layer.node.output[0] or layer.layer.node.output[1]: layer for layer in plan.layers}
    for node in source.graph.node:
        layer = next((replaced[name] for name in node.output if name in replaced), None)
        if layer is None:
            build.nodes.append(node)
        else:
            _Layer(build, layer).write()
    used = {name for node in build.nodes for name in node.input}
    made = {tensor.name for tensor in build.constants}
    kept = [tensor for tensor in source.graph.initializer if tensor.name in used and tensor.name not in made]
    graph = helper.make_graph(
        build.nodes, source.graph.name, source.graph.input, source.graph.output, [*kept, *build.constants]
    )
    fp8 = any(layer.form.label == "fp8" for layer in plan.layers)
    opset = max(next(o.version for o in source.opset_import if o.domain in ("", "ai.onnx")), 19 if fp8 else 13)
    model = helper.make_model(
        graph,
        opset_imports=[
            helper.make_opsetid("", opset),
            *(o for o in source.opset_import if o.domain not in ("", "ai.onnx")),
        ],
        ir_version=max(source.ir_version, 9 if fp8 else 7),
    )
    model.producer_name = source.producer_name
    model.metadata_props.extend(source.metadata_props)
    onnx.checker.check_model(model, full_check=True)
    return model


class _Layer:
    """The nodes of one layer."""

    def __init__(self, build: _Builder, planned: PlannedWeights):
        self.build, self.planned, self.form = build, planned, planned.form
        self.node, self.name = planned.layer.node, planned.layer.name
        self.kept = attributes(self.node)

    def write(self) -> None:
        if self.node.op_type == "GRU":
            self._recurrent()
        elif self.node.op_type == "Conv":
            self._sum("Conv", bias_inside=True)
        else:
            self._sum("MatMul", bias_inside=False)

    def _sum(self, operator: str, *, bias_inside: bool) -> None:
        """One product, or two or three for numbers in two parts, and the bias."""
        data = self._data_parts()
        weights = [self._weight(0, part) for part in range(max(self.form.weight_parts, 1))]
        pairs = [("", 0, 0)] + [("/low_data", 1, 0)] * (len(data) - 1) + [("/low_weight", 0, 1)] * (len(weights) - 1)
        bias = None
        if self.planned.bias is not None:
            bias = self.build.constant(f"{self.name}/bias", self.planned.bias)
        total = ""
        half = not self.form.scaled and self.form.name != "fp32"
        for suffix, of_data, of_weight in pairs:
            inputs = [data[of_data](suffix), weights[of_weight](suffix)]
            if bias is not None and bias_inside and not suffix and not half:
                inputs.append(bias)
            kept = self.kept if operator == "Conv" else {}
            product = self.build.node(operator, inputs, f"{self.name}{suffix}", **kept)
            if half:
                product = self.build.node("Cast", [product], f"{self.name}/to_fp32", to=1)
            total = self.build.node("Add", [total, product], f"{self.name}{suffix}/sum") if total else product
        if bias is not None and (half or not bias_inside):
            if operator == "Conv":
                sizes = (-1, *[1] * (self.planned.layer.weights[0].ndim - 2))
                bias = self.build.constant(f"{self.name}/bias_of_channels", self.planned.bias.reshape(sizes))
            total = self.build.node("Add", [total, bias], f"{self.name}/bias_add")
        self._rename(total, self.node.output[0])

    def _recurrent(self) -> None:
        data = self._data_parts()
        whole = data[0]("")
        if len(data) == 2:
            whole = self.build.node("Add", [whole, data[1]("")], f"{self.name}/data/whole")
        matrices = []
        for which, what in enumerate(("weight", "recurrence")):
            parts = [self._weight(which, part, what)("") for part in range(max(self.form.weight_parts, 1))]
            if len(parts) == 2:
                parts = [self.build.node("Add", parts, f"{self.name}/{what}/whole")]
            matrices += parts
        inputs = [whole, *matrices]
        half = not self.form.scaled and self.form.name != "fp32"
        if self.planned.bias is not None:
            name = f"{self.name}/bias"
            bias = self.planned.bias
            inputs.append(self.build.typed(name, bias, self.form) if half else self.build.constant(name, bias))
        from onnx import helper

        outputs = [f"{name}_half" if half and name else name for name in self.node.output]
        self.build.nodes.append(helper.make_node("GRU", inputs, outputs, name=self.name, **self.kept))
        for name in self.node.output if half else ():
            if name:
                self.build.nodes.append(
                    helper.make_node("Cast", [f"{name}_half"], [name], name=f"{self.name}/to_fp32", to=1)
                )

    def _data_parts(self) -> list[Any]:
        """Functions ``suffix -> tensor``: a Q/DQ pair of its own for every reader."""
        current, name, form = self.node.input[0], f"{self.name}/data", self.form
        if not form.scaled or not form.data:
            if form.scaled or form.name == "fp32":
                return [lambda suffix: current]
            cast = self.build.node("Cast", [current], f"{name}/to_{form.name}", to=form.onnx_type())
            return [lambda suffix: cast]
        high = self._pair(name, current, self.planned.data_scale)
        if form.data_parts == 1:
            return [high]
        rest = self.build.node("Sub", [current, high("/rest")], f"{name}/rest")
        return [high, self._pair(f"{name}/low", rest, low_scale(self.planned.data_scale))]

    def _pair(self, name: str, current: str, scale: Any) -> Any:
        point = [
            self.build.constant(f"{name}/scale", np.float32(scale)),
            self.build.zeros(f"{name}/zero", (), self.form),
        ]

        def values(suffix: str) -> str:
            codes = self.build.node("QuantizeLinear", [current, *point], f"{name}{suffix}/quantize")
            return self.build.node("DequantizeLinear", [codes, *point], f"{name}{suffix}/dequantize")

        return values

    def _weight(self, which: int, part: int, what: str = "weight") -> Any:
        """A function ``suffix -> tensor`` of one part of a matrix of weights."""
        planned, form = self.planned, self.form
        weight, axis = planned.layer.weights[which], planned.layer.axes[which]
        turned = self.node.op_type == "Gemm" and axis == 0  # a MatMul reads [in, out]
        name = f"{self.name}/{what}"
        if not form.scaled or form.weight_parts == 0:
            values = weight.T if turned else weight
            exact = form.name == "fp32" or form.weight_parts == 0
            stored = self.build.constant(name, values) if exact else self.build.typed(name, values, form)
            return lambda suffix: stored

        def values_of(suffix: str) -> str:
            own = f"{self.name}{suffix}/{what}" + ("/low" if part and self.node.op_type == "GRU" else "")
            codes = planned.coded(which)[part]
            scale = planned.weight_scales[which] if part == 0 else low_scale(planned.weight_scales[which])
            stored = self.build.typed(own, codes.T if turned else codes, form)
            point = [self.build.constant(f"{own}/scale", scale), self.build.zeros(f"{own}/zero", scale.shape, form)]
            return self.build.node(
                "DequantizeLinear", [stored, *point], f"{own}/dequantize", axis=1 if turned else axis
            )

        return values_of

    def _rename(self, made: str, wanted: str) -> None:
        last = self.build.nodes[-1]
        assert last.output[0] == made
        last.output[0] = wanted
