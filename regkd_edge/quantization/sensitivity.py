"""Sources of the error: the effect of each layer alone on the output, and the parts of input, weights, activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..graph.formats import FORMATS
from .plan import Plan, PlannedLayer

__all__ = ["data_rounded", "exact_plan", "sensitivity", "weights_rounded"]


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


def exact_plan(plan: Plan) -> Plan:
    """Return the plan with no layer rounded, in the units of its equalized inputs."""
    return replace(plan, layers=tuple(_exact(plan, index) for index in range(len(plan.layers))))


def data_rounded(plan: Plan, index: int) -> PlannedLayer:
    """Return a layer with its data rounded and its weights exact."""
    form, exact = plan.layers[index].form, _exact(plan, index)
    if not (form.scaled and form.data):
        return exact
    # Codes that are no whole numbers stand for weights that are not rounded.
    return replace(exact, form=form, codes=exact.weight, weight_scale=np.full(len(exact.weight), 1.0, np.float32))


def weights_rounded(plan: Plan, index: int) -> PlannedLayer:
    """Return a layer with its weights rounded and its data exact."""
    layer = plan.layers[index]
    return replace(layer, form=replace(layer.form, data=False)) if layer.form.scaled else layer


def sensitivity(
    plan: Plan,
    rows: np.ndarray,  # [n, d] raw units
    names: Sequence[str],  # [o]
) -> dict[str, Any]:
    """Return the RMS change of the output: of each target in its unit, and pooled in percent of the standard deviation
    of the FP32 answers (100 %: as far from them as their mean).

    ``layers`` ranks the layers by the change that each alone causes (largest first), with the part of its data and of
    its weights; ``parts`` is the change by the rounding of the network's input, of all weights, and of all hidden
    activations; ``all`` is that of the whole plan. The squares of the parts roughly add up, since roundings are nearly
    independent. Those are pooled; ``targets`` [o] in each layer, and ``all_targets`` [o], are in the units of the
    ``names``.
    """
    chain = plan.chain
    want = chain(rows)
    spread = np.maximum(want.std(axis=0), 1e-12)
    exact = exact_plan(plan).layers

    def changes(layers: Sequence[PlannedLayer]) -> np.ndarray:  # [o] units of the targets
        return np.sqrt(np.mean((replace(plan, layers=tuple(layers))(rows) - want).astype(np.float64) ** 2, axis=0))

    def pooled(changed: np.ndarray) -> float:
        return float(100.0 * np.sqrt(np.mean((changed / spread) ** 2)))

    def alone(changed: dict[int, PlannedLayer]) -> np.ndarray:
        return changes([changed.get(i, layer) for i, layer in enumerate(exact)])

    def with_layers(changed: dict[int, PlannedLayer]) -> float:
        return pooled(alone(changed))

    every = range(len(plan.layers))
    ranked = [
        {
            "name": chain.layers[i].name,
            "precision": plan.layers[i].form.name,
            "change": pooled(own := alone({i: plan.layers[i]})),
            "targets": own.tolist(),
            "data": with_layers({i: data_rounded(plan, i)}),
            "weights": with_layers({i: weights_rounded(plan, i)}),
        }
        for i in every
    ]
    whole = changes(plan.layers)
    return {
        "rows": len(rows),
        "targets": list(names),
        "all": pooled(whole),
        "all_targets": whole.tolist(),
        "parts": {
            "input": with_layers({0: data_rounded(plan, 0)}),
            "weights": with_layers({i: weights_rounded(plan, i) for i in every}),
            "activations": with_layers({i: data_rounded(plan, i) for i in every if i}),
        },
        "layers": sorted(ranked, key=lambda entry: -entry["change"]),
    }
