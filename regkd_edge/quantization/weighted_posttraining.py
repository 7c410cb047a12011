"""Post-training quantization of convolutions, GRUs and other graphs by the error of the output.

Ranges of the data are searched by the output's error, steps of the weights by their own; biases take up the mean error
of each output; and INT8 numbers go in two parts where one is too coarse for what is allowed. A correction is kept only
where it lowers the error on rows that it was not fitted on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..graph.formats import FORMATS, SPLIT
from ..graph.weighted import WeightedGraph, run_model
from .calibration import TOLERANCE
from .posttraining import CORRECTIONS, Outcome
from .ranges import range_of
from .weighted_plan import WeightedPlan, nearest_weighted

__all__ = ["plan_weighted"]

_CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5)  # of the largest value that was met
_ROWS = 256  # rows of a search: each candidate runs the graph on them
_NUMBERS = 20_000_000  # that a layer's data may hold at once
_WIDER = 2.0  # times what was met, for data in two parts: later rows go further
_LEFT = 0.5  # of the squared tolerance: what the parts that stay as they are may add up to
_FORMS = {(1, 1): "int8", (2, 1): "int8-split-data", (1, 2): "int8-split-weights", (2, 2): "int8-split"}


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
) -> Outcome:
    """Quantize the layers of ``chain`` to ``forms``; the arguments are those of :func:`.posttraining.plan_layers`.

    Of the corrections it has ``bias`` and ``split``.
    """
    points = _Points.of(chain, rows, tolerance)
    ranges = _ranges(chain, points.fit, "minmax" if method == "output" else method, percentile)

    def make(names: Sequence[str]) -> Outcome:
        # NVIDIA's compiler (tensorrt-rtx 1.7) takes no single Q/DQ pair in front of a GRU, on data or weights, but the
        # sum of two.
        gru = [layer.node.op_type == "GRU" for layer in chain.layers]
        names = ["int8-split" if is_gru and name in ("int8", *SPLIT) else name for name, is_gru in zip(names, gru)]
        wider = [_WIDER * r if FORMATS[name].data_parts == 2 else r for r, name in zip(ranges, names)]
        outcome = Outcome(nearest_weighted(chain, names, wider))
        if method == "output":
            _search_ranges(outcome, points)
        if "bias" in corrections:
            _correct_biases(outcome, points)
        return outcome

    outcome = make(forms)
    if "split" not in corrections or method != "output":
        return outcome
    best, error = outcome, points.worst(outcome.plan, held=True)
    least, tried = error, list(outcome.tried)
    while error > 1 and (finer := _more_parts(outcome.plan, points)) is not None:
        outcome = make(finer)
        before, error = error, points.worst(outcome.plan, held=True)
        tried += [*outcome.tried, ("split", before, error, error < before)]
        if error < least:
            best, least = outcome, error
    return replace(best, tried=tried)


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


def _search_ranges(outcome: Outcome, points: _Points) -> None:
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


def _correct_biases(outcome: Outcome, points: _Points) -> None:
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
    """Formats with more parts where the roundings do most harm; None when every INT8 layer has all of them."""
    parts = [[layer.form.data_parts, layer.form.weight_parts] for layer in plan.layers]
    int8 = [layer.form.label == "int8" for layer in plan.layers]
    harm = {}
    for index in range(len(plan.layers)):
        for kind, only in ((0, {"weights": False}), (1, {"data": False})):
            if int8[index] and parts[index][kind] == 1:
                harm[index, kind] = points.worst(plan.only(index, **only), held=True) ** 2
    if not harm:
        return None
    left = sum(harm.values())
    for (index, kind), share in sorted(harm.items(), key=lambda item: -item[1]):
        parts[index][kind] = 2
        left -= share
        if left <= _LEFT:
            break
    return [_FORMS[tuple(p)] if is_int8 else layer.form.name for layer, p, is_int8 in zip(plan.layers, parts, int8)]
