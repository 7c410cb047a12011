"""Post-training quantization of convolutions, GRUs and other graphs by the error of the output.

Ranges of the data are searched by the output's error, steps of the weights by their own; biases take up the mean error
of each output; and INT8 numbers go in two parts where one is too coarse for what is allowed. A correction is kept only
where it lowers the error on rows that it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..graph.formats import FORMATS, SPLIT
from ..graph.weighted import WeightedGraph, run_model
from .calibration import TOLERANCE
from .posttraining import CORRECTIONS, CorrectedPlan
from .ranges import range_of
from .splitting import finer_forms, refined
from .weighted_plan import WeightedPlan, nearest_weighted

__all__ = ["plan_weighted"]

_CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # of the largest value that was met
_ROWS = 256  # rows of a search: each candidate runs the graph on them
_NUMBERS = 20_000_000  # that a layer's data may hold at once
_WIDER = 2.0  # times what was met, for data in two parts: later rows go further


@dataclass(frozen=True, eq=False)
class _Points:
    """Rows to fit on and rows to accept by, with the FP32 answers and the change that is allowed."""

    fit: np.ndarray
    held: np.ndarray
    fit_y: np.ndarray
    held_y: np.ndarray
    tolerance: np.ndarray  # [o]

    @classmethod
    def of(cls, chain: WeightedGraph, rows: np.ndarray, tolerance: np.ndarray | None) -> _Points:
        if len(rows) > 2 * _ROWS:
            rows = rows[np.random.default_rng(0).permutation(len(rows))[: 2 * _ROWS]]
        held = np.arange(len(rows)) % 3 == 2 if len(rows) >= 3 else np.ones(len(rows), bool)
        fit = ~held if len(rows) >= 3 else held
        y = chain(rows).astype(np.float64)
        spread = np.maximum(y.std(axis=0), 1e-12)
        allowed = TOLERANCE * spread if tolerance is None else np.maximum(tolerance, 1e-6 * spread)
        return cls(rows[fit], rows[held], y[fit], y[held], allowed)

    def worst(self, plan: WeightedPlan, *, held: bool) -> float:
        """The RMS change of the output that exceeds its tolerance most, in units of it."""
        rows, y = (self.held, self.held_y) if held else (self.fit, self.fit_y)
        return float((np.sqrt(np.mean((plan(rows) - y) ** 2, axis=0)) / self.tolerance).max())


def plan_weighted(
    chain: WeightedGraph,
    rows: np.ndarray,  # [n, d] raw units
    forms: Sequence[str],
    *,
    method: str = "output",
    percentile: float = 99.99,
    corrections: Sequence[str] = CORRECTIONS,
    tolerance: np.ndarray | None = None,  # [o] target units
) -> CorrectedPlan:
    """Quantize the layers of ``chain`` to ``forms``; the arguments are those of :func:`.posttraining.plan_layers`.

    Of the corrections it has ``bias`` and ``split``.
    """
    points = _Points.of(chain, rows, tolerance)
    ranges = _ranges(chain, points.fit, "minmax" if method == "output" else method, percentile)

    def make(names: Sequence[str]) -> CorrectedPlan:
        # NVIDIA's compiler (tensorrt-rtx 1.7) takes no single Q/DQ pair in front of a GRU, on data or weights, but the
        # sum of two.
        gru = [layer.node.op_type == "GRU" for layer in chain.layers]
        names = ["int8-split" if is_gru and name in ("int8", *SPLIT) else name for name, is_gru in zip(names, gru)]
        wider = [_WIDER * r if FORMATS[name].data_parts == 2 else r for r, name in zip(ranges, names)]
        outcome = CorrectedPlan(nearest_weighted(chain, names, wider))
        if method == "output":
            _search_ranges(outcome, points)
        if "bias" in corrections:
            _correct_biases(outcome, points)
        return outcome

    outcome = make(forms)
    if "split" not in corrections or method != "output":
        return outcome
    return refined(outcome, make, lambda plan: points.worst(plan, held=True), lambda plan: _more_parts(plan, points))


def _ranges(chain: WeightedGraph, rows: np.ndarray, method: str, percentile: float) -> list[float]:
    """Largest value to represent of each layer's data."""
    found = []
    for layer in chain.layers:
        name = layer.node.input[0]
        if name == chain.model.graph.input[0].name:
            values = rows
        else:
            one = run_model(chain.model, rows[:1], (name,))[1].size
            values = run_model(chain.model, rows[: max(8, _NUMBERS // one)], (name,))[1]
        found.append(range_of(values, method, percentile))
    return found


def _search_ranges(outcome: CorrectedPlan, points: _Points) -> None:
    """Clip the data of a layer where that lowers the error of the output."""
    for index, layer in enumerate(outcome.plan.layers):
        if not (layer.form.scaled and layer.form.data) or layer.form.data_parts == 2:
            continue
        met, errors = layer.data_scale, {}
        for share in _CLIPS:
            scale = float(np.float32(share * met))
            errors[scale] = points.worst(
                outcome.plan.with_layer(index, data_scale=scale).only(index, weights=False), held=False
            )
        best = min(errors, key=lambda scale: errors[scale])
        candidate = outcome.plan.with_layer(index, data_scale=best)
        if best == met:
            continue
        before, after = (points.worst(plan.only(index, weights=False), held=True) for plan in (outcome.plan, candidate))
        outcome.tried.append(("ranges", before, after, after < before))
        if after < before:
            outcome.plan = candidate


def _correct_biases(outcome: CorrectedPlan, points: _Points) -> None:
    """Shift each layer's bias by the mean error of its outputs, layer by layer; kept where the held rows gain."""
    plan, chain = outcome.plan, outcome.plan.chain
    changed = plan
    for index, layer in enumerate(plan.layers):
        node = layer.layer.node
        if layer.form.name == "fp32" or node.op_type == "GRU" or layer.bias is None:
            continue
        name = node.output[0]
        if name == chain.model.graph.output[0].name:
            want, got = points.fit_y, changed(points.fit)
        else:
            want, got = (run_model(model, points.fit, (name,))[1] for model in (chain.model, changed.model()))
        axis = 1 if node.op_type == "Conv" else want.ndim - 1
        others = tuple(i for i in range(want.ndim) if i != axis)
        shift = (want.astype(np.float64) - got).mean(axis=others).astype(np.float32)
        changed = changed.with_layer(index, bias=layer.bias + shift)
    if changed is plan:
        return
    before, after = (points.worst(one, held=True) for one in (plan, changed))
    outcome.tried.append(("bias", before, after, after < before))
    if after < before:
        outcome.plan = changed


def _more_parts(plan: WeightedPlan, points: _Points) -> list[str] | None:
    harm = {}
    for index, layer in enumerate(plan.layers):
        if layer.form.label != "int8":
            continue
        if layer.form.data_parts == 1:
            harm[index, 0] = points.worst(plan.only(index, weights=False), held=True) ** 2
        if layer.form.weight_parts == 1:
            harm[index, 1] = points.worst(plan.only(index, data=False), held=True) ** 2
    return finer_forms(plan.layers, harm)
