"""Sources of the error: the effect of each layer alone on the output, and the parts of input, weights, activations."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..graph.formats import FORMATS
from .plan import Plan, PlannedLayer

__all__ = ["sensitivity"]


def _exact(plan: Plan, index: int) -> PlannedLayer:
    """Return the layer as exported, in the units of its equalized input, without rounding or correction."""
    layer, original = plan.layers[index], plan.chain.layers[index]
    centre = np.zeros(original.weight.shape[1]) if layer.shift is None else layer.shift
    rate = 1.0 if layer.rate is None else layer.rate
    bias = original.bias + original.weight @ centre
    return replace(
        layer,
        form=FORMATS["fp32"],
        weight=(original.weight / rate).astype(np.float32),
        bias=bias.astype(np.float32),
        codes=None,
    )


def sensitivity(
    plan: Plan,
    rows: np.ndarray,  # [n, d] raw units
) -> dict[str, Any]:
    """Return the RMS change of the output, in percent of the output's own standard deviation.

    ``layers`` ranks the layers by the change that each alone causes (largest first), with the part of its data and of
    its weights; ``parts`` is the change by the rounding of the network's input, of all weights, and of all hidden
    activations; ``all`` is that of the whole plan. The squares of the parts roughly add up, since roundings are nearly
    independent.
    """
    chain = plan.chain
    want = chain(rows)
    spread = np.maximum(want.std(axis=0), 1e-12)
    exact = [_exact(plan, index) for index in range(len(plan.layers))]

    def change(layers: list[PlannedLayer]) -> float:
        return float(100.0 * np.sqrt(np.mean(((replace(plan, layers=tuple(layers))(rows) - want) / spread) ** 2)))

    def with_layers(changed: dict[int, PlannedLayer]) -> float:
        return change([changed.get(i, layer) for i, layer in enumerate(exact)])

    def data_only(index: int) -> PlannedLayer:
        form = plan.layers[index].form
        if not (form.scaled and form.data):
            return exact[index]
        # Codes that are not whole numbers stand for weights that are not rounded.
        scale = np.full(len(exact[index].weight), 1.0, np.float32)
        return replace(exact[index], form=form, codes=exact[index].weight, weight_scale=scale)

    def weights_only(index: int) -> PlannedLayer:
        layer = plan.layers[index]
        return replace(layer, form=replace(layer.form, data=False)) if layer.form.scaled else layer

    every = range(len(plan.layers))
    ranked = [
        {
            "name": chain.layers[i].name,
            "precision": plan.layers[i].form.name,
            "change": with_layers({i: plan.layers[i]}),
            "data": with_layers({i: data_only(i)}),
            "weights": with_layers({i: weights_only(i)}),
        }
        for i in every
    ]
    return {
        "rows": len(rows),
        "all": change(list(plan.layers)),
        "parts": {
            "input": with_layers({0: data_only(0)}),
            "weights": with_layers({i: weights_only(i) for i in every}),
            "activations": with_layers({i: data_only(i) for i in every if i}),
        },
        "layers": sorted(ranked, key=lambda entry: -entry["change"]),
    }
