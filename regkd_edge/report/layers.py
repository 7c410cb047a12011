"""The error that the quantization of each layer alone causes: per target in its unit, and pooled second."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .markup import figure
from .plot_training import bars
from .table import figure as written

__all__ = ["LAYERS_EXPLAINED", "layer_figures"]

_MOST_TARGETS = 4

LAYERS_EXPLAINED = (
    '<p class="quiet">How far the answers move from those of the FP32 student (root mean square over the rows of the '
    "check) when one layer alone is rounded, in the unit of each target. In percent of their standard deviation, 100 % "
    "is as far as answering with their mean. A layer is corrected for the rounding of those before it: alone it can "
    "move the answers more than all layers together. The labels play no part here: whether such a change matters, the "
    "RMSE in the table above says.</p>"
)


def layer_figures(precision: str, found: Mapping[str, Any]) -> list[str]:
    """Return a figure for each of the first targets in its unit, then the pooled one in percent.

    Parameters
    ----------
    found : mapping
        What :func:`~regkd_edge.quantization.sensitivity.sensitivity` gave; records of earlier versions hold pooled
        figures alone.
    """
    names, whole = found.get("targets"), found.get("all_targets")
    layers = [(f"{one['name']} ({one['precision']})", one) for one in found["layers"]]
    figures = []
    for j, name in enumerate(names[:_MOST_TARGETS] if isinstance(names, list) else ()):
        own = [(title, _numbers(one.get("targets"))) for title, one in layers]
        values = [(title, changes[j], False) for title, changes in own if j < len(changes)]
        all_of = _numbers(whole)
        moved = f"moves the answers by {written(all_of[j], 3)}, {name}" if j < len(all_of) else f"and {name}"
        drawn = bars(values, f"change by this layer alone, {name}", f"error by layer, {precision}, {name}")
        figures.append(figure(f"{precision}: rounding all layers {moved}", drawn))
    values = [(title, float(one["change"]), False) for title, one in layers]
    caption = (
        f"{precision}: the answers move by {written(float(found.get('all', 0.0)), 3)} % of their standard deviation"
    )
    pooled = ", pooled" if isinstance(names, list) and len(names) > 1 else ""
    drawn = bars(values, f"change by this layer alone, %{pooled}", f"error by layer, {precision}, percent{pooled}")
    return [*figures, figure(caption + (", pooled over the targets" if pooled else ""), drawn)]


def _numbers(values: Any) -> list[float]:
    numbers = values if isinstance(values, list) else []
    return [float(v) for v in numbers] if all(isinstance(v, (int, float)) for v in numbers) else []
