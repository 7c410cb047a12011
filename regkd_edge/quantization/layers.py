"""Layer-wise quantization: one precision for all layers, or as few as a bound allows in a higher precision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import GraphError, UserError
from ..graph.chain import Chain, read_chain
from ..graph.formats import FORMATS
from ..graph.graph import input_of
from ..graph.int8_cost import SAME_SIZE, int8_cost
from ..graph.weighted import WeightedGraph, read_weighted
from ..io.files import write_atomic
from .calibration import allowed_change
from .mixed import Bound, search_mixed
from .plan import Plan
from .posttraining import CORRECTIONS, CorrectedPlan, plan_layers
from .ranges import check_method
from .sensitivity import sensitivity
from .summary import QuantizeSummary, checked_rows, summarize, target_names
from .weighted_posttraining import plan_weighted
from .writer import write_plan

__all__ = ["layered", "quantize_layers", "write_quantized"]


def layered(source: str | Path) -> Chain | WeightedGraph:
    """Return the graph as a chain of dense layers, or else as the layers of any graph (convolutions, GRUs)."""
    chain = read_chain(source)
    found = read_weighted(source) if isinstance(chain, str) else chain
    if isinstance(found, str):
        raise GraphError(
            f"'{Path(source).name}' has no layers to quantize: {found}.", "Give the FP32 graph of a student."
        )
    return found


def quantize_layers(
    source: str | Path,
    target: str | Path,
    calibration_rows: Any,
    precision: str | Sequence[str] = "int8",
    *,
    method: str = "output",
    percentile: float = 99.99,
    corrections: Sequence[str] = CORRECTIONS,
    bound: Bound | None = None,
    labelled: tuple[Any, Any] | None = None,
    check_rows: Any = None,
    rank_layers: bool = False,
) -> QuantizeSummary:
    """Write ``source`` with its layers in ``precision``.

    Parameters
    ----------
    source, target : path
        FP32 graph to read (a chain of dense layers, or any graph of Conv, GRU, Gemm and MatMul layers); graph to write
        (atomically).
    calibration_rows : float32 [n, d]
        Inputs in raw units. No labels are needed: the FP32 student provides the targets.
    precision : str, or one per layer
        int8, int8-weights, fp8, fp16, bf16, fp32.
    method, percentile
        How ranges are derived from the calibration rows; see :mod:`~regkd_edge.quantization.ranges`.
    corrections : subset of :data:`CORRECTIONS`
        Each is kept only where it lowers the output's error on calibration points that it was not fitted on.
    bound : Bound, optional
        Keep as few layers as possible in ``bound.high`` so that the RMSE rises by no more than ``bound.increase``.
    labelled : (rows [n, d], targets [n, o]), optional
        Rows with labels (or a teacher's answers), raw units, which the student was not trained on. They say how exact
        the student is, hence how exact its INT8 layers have to be: what is 7 % of its own error in each target
        does no harm. Without them (and without ``bound``) the change of
        an output is kept below 0.25 % of its deviation.
    check_rows : float32 [n, d], optional
        Rows on which the two graphs are compared; by default the calibration rows.
    rank_layers : bool
        Add the error that each layer alone causes, split into input, weights and activations.

    Raises
    ------
    GraphError
        The graph has no layers, nothing was quantized, or the outputs are not finite.
    DataError
        The rows have another width, are empty, or are not finite.
    """
    check_method(method, percentile)
    unknown = [name for name in corrections if name not in CORRECTIONS]
    if unknown:
        raise UserError(f"unknown correction '{unknown[0]}'.", f"Use any of: {', '.join(CORRECTIONS)}.")
    chain = layered(source)
    if rank_layers and not isinstance(chain, Chain):
        raise UserError("the ranking of the layers needs a chain of dense layers.", "Omit --rank-layers.")
    make = plan_layers if isinstance(chain, Chain) else plan_weighted
    forms = [precision] * len(chain.layers) if isinstance(precision, str) else list(precision)
    if len(forms) != len(chain.layers) or any(name not in FORMATS for name in forms):
        raise UserError(
            f"precision {precision!r} does not fit {len(chain.layers)} layers.",
            f"Give one, or {len(chain.layers)}, of: {', '.join(FORMATS)}.",
        )
    width = input_of(chain.model)[1]
    rows = checked_rows(calibration_rows, width, "calibration rows")
    check = rows if check_rows is None else checked_rows(check_rows, width, "check rows")
    notes: list[str] = []
    if labelled is None and bound is not None:
        labelled = (bound.rows, bound.targets)
    tolerance = None if labelled is None else allowed_change(chain, *labelled)
    splits = "split" in corrections

    def plan(names: Sequence[str], split: bool = splits) -> CorrectedPlan:
        tried = [name for name in corrections if split or name != "split"]
        return make(chain, rows, names, method=method, percentile=percentile, corrections=tried, tolerance=tolerance)

    if bound is None:
        outcome = plan(forms)
    else:  # an allowance that one part keeps needs no second product
        finer = (lambda: plan(forms)) if splits and "int8" in forms else None
        outcome, notes = search_mixed(plan(forms, split=False), plan, forms, bound, finer=finer)
    notes += split_notes(outcome.plan)
    label = forms[0] if len(set(forms)) == 1 else "mixed"
    calibration = {
        "rows": len(rows),
        "method": method,
        **({"percentile": percentile} if method == "percentile" else {}),
    }
    extra = {"corrections": outcome.record()}
    if rank_layers:
        assert isinstance(chain, Chain)
        extra["sensitivity"] = sensitivity(outcome.plan, check, target_names(source, chain(check[:1]).shape[1]))
    return write_quantized(
        outcome.plan,
        source,
        target,
        label,
        check,
        calibration=calibration,
        notes=notes,
        extra=extra,
        searched=bound is not None,
    )


def in_two_parts(plan: Plan) -> dict[str, list[str]]:
    """Return layer -> what of it is in two INT8 parts (``data``, ``weights``), for the layers where something is."""
    parts = {
        layer.name: [
            what for what, count in (("data", planned.form.data_parts), ("weights", planned.form.weight_parts))
            if count == 2
        ]
        for layer, planned in zip(plan.chain.layers, plan.layers)
    }  # fmt: skip
    return {name: what for name, what in parts.items() if what}


def _by_choice(plan: Plan) -> dict[str, list[str]]:
    """The same without GRUs, which always are."""
    gru = {layer.name for layer in plan.chain.layers if getattr(getattr(layer, "node", None), "op_type", "") == "GRU"}
    return {name: what for name, what in in_two_parts(plan).items() if name not in gru}


def split_notes(plan: Plan) -> list[str]:
    """Return one line on the layers whose INT8 numbers are in two parts, or none; and one on GRUs, which always are."""
    chosen = _by_choice(plan)
    named = [f"{name} ({' and '.join(what)})" for name, what in chosen.items()]
    found = [f"in two INT8 parts, since one is too coarse: {', '.join(named)}"] if named else []
    if set(in_two_parts(plan)) - set(chosen):
        found.append("a GRU has data and weights in two INT8 parts: NVIDIA's compiler takes no single part")
    return found


def write_quantized(
    plan: Plan,
    source: str | Path,
    target: str | Path,
    label: str,
    check: Any,
    *,
    calibration: dict[str, Any] | None,
    notes: list[str],
    extra: dict[str, Any],
    searched: bool = False,
) -> QuantizeSummary:
    """Write a plan as a graph, count it and compare it; a refused graph leaves no file.

    A search that ends without any layer in the requested precision gives a graph of another precision, and the summary
    names it by that.
    """
    import onnx

    label = FORMATS[label].label if label in FORMATS else label
    if searched and label not in plan.share:
        notes = [*notes, f"no layer is {label}: this is the {'+'.join(sorted(plan.share))} graph"]
        label = "+".join(sorted(plan.share))
    expected = None if searched or label == "mixed" else label
    two = _by_choice(plan)
    extra = {**extra, **({"two_parts": two} if two else {})}
    with write_atomic(target) as temporary:
        onnx.save(write_plan(plan) if isinstance(plan, Plan) else plan.model(), temporary)
        summarize(
            label, source, temporary, check, notes=[], expected=expected
        )  # refuse before the file gets its final name
    ours, theirs = (Path(path).stat().st_size for path in (target, source))
    if "int8" in label and ours > (1 + SAME_SIZE) * theirs:
        notes = [*notes, f"its file is larger than that of FP32 ({ours:,} bytes, {theirs:,}): {int8_cost(two)}"]
    return summarize(label, source, target, check, calibration=calibration, notes=notes, extra=extra, expected=expected)
