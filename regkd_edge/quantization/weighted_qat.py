"""Convolutions and products trained through their quantizers: the student's own module with its layers rounded.

Each layer computes ``op(round(a / s) s, round(W / t) t) + b`` with steps s of its data and t per output, as the written
graph does. A GRU, which is always in two INT8 parts and hardly loses, stays as it is.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import GraphError
from ..graph.graph import input_of
from .rounded import rounded
from .weighted_plan import PlannedWeights, WeightedPlan

__all__ = ["QuantizedLayers"]

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d)


class _Rounded(nn.Module):
    """A layer whose data and weights are rounded; the steps are learnt as logarithms."""

    def __init__(self, layer: nn.Module, planned: PlannedWeights):
        super().__init__()
        self.layer = layer
        self.log_data_scale = nn.Parameter(torch.tensor(np.log(planned.data_scale), dtype=torch.float32))
        self.log_weight_scale = nn.Parameter(torch.from_numpy(np.log(planned.weight_scales[0]).astype(np.float32)))

    def weight(self) -> Tensor:
        own = cast(Tensor, self.layer.weight)
        return rounded(own, self.log_weight_scale.exp().reshape(-1, *[1] * (own.ndim - 1)), -127.0, 127.0)

    def forward(self, x: Tensor) -> Tensor:
        x = rounded(x, self.log_data_scale.exp(), -128.0, 127.0)
        bias = cast("Tensor | None", self.layer.bias)
        if isinstance(self.layer, nn.Linear):
            return nn.functional.linear(x, self.weight(), bias)
        return cast(Tensor, self.layer._conv_forward(x, self.weight(), bias))  # type: ignore[operator]


class QuantizedLayers(nn.Module):
    """An INT8 plan of a network that is not a chain of dense layers, as a
    module in standardised space: [n, d] -> [n, o].

    Parameters
    ----------
    plan : WeightedPlan
        The initial plan; layers in int8 are trained, GRUs are not.
    student : nn.Module
        The FP32 student that was exported; it is not changed.

    Raises
    ------
    GraphError
        A layer in another format, or one that is not found in the student.
    """

    def __init__(self, plan: WeightedPlan, student: nn.Module):
        super().__init__()
        self.widths = [input_of(plan.chain.model)[1], plan.chain.outputs]
        self.network = copy.deepcopy(student).train()
        for parameter in self.network.parameters():
            parameter.requires_grad_(False)
        self._places: list[str | None] = []  # of each layer of the plan in the network
        free = {name: module for name, module in self.network.named_modules() if isinstance(module, _LAYERS)}
        for planned in plan.layers:
            node = planned.layer.node
            if node.op_type == "GRU":
                self._places.append(None)
                continue
            if planned.form.name != "int8":
                raise GraphError(
                    f"training through quantizers supports int8 layers only, and '{planned.layer.name}' is in "
                    f"{planned.form.name}.",
                    "Add --no-qat, or --max-increase none.",
                )
            name = next((name for name, module in free.items() if _same(module, planned)), None)
            if name is None:
                raise GraphError(
                    f"the layer '{planned.layer.name}' of the graph is none of the student's, so it cannot be trained "
                    "through its quantizers.",
                    "Export the student again, or add --no-qat: INT8 is chosen by the output's error then.",
                )
            layer = free.pop(name)
            for parameter in layer.parameters():
                parameter.requires_grad_(True)
            parent, _, own = name.rpartition(".")
            setattr(self.network.get_submodule(parent), own, _Rounded(layer, planned))  # set_submodule: torch 2.5
            self._places.append(name)

    def forward(
        self,
        x: Tensor,  # [n, d]
    ) -> Tensor:  # [n, o]
        return cast(Tensor, self.network(x))

    @torch.no_grad()
    def plan(self, start: WeightedPlan) -> WeightedPlan:
        """Return the result as a plan that is written like any other."""
        for index, name in enumerate(self._places):
            if name is None:
                continue
            trained = cast(_Rounded, self.network.get_submodule(name))
            planned = start.layers[index]
            weight = trained.weight().numpy().copy()
            weight = weight.T.copy() if planned.layer.axes[0] == 1 else weight
            bias = cast("Tensor | None", trained.layer.bias)
            start = start.with_layer(
                index,
                layer=replace(planned.layer, weights=(weight,)),
                weight_scales=(trained.log_weight_scale.exp().numpy().copy(),),
                data_scale=float(trained.log_data_scale.exp()),
                bias=planned.bias if bias is None else bias.numpy().copy(),
            )
        return start


def _same(module: nn.Module, planned: PlannedWeights) -> bool:
    weight = cast(Tensor, module.weight).detach().cpu().numpy()
    theirs = planned.layer.weights[0].T if planned.layer.axes[0] == 1 else planned.layer.weights[0]
    return weight.shape == theirs.shape and np.array_equal(weight, theirs)
