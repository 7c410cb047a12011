"""A quantized graph of convolutions, GRUs and products as a plan: the same
shape as :class:`.plan.Plan`, run by writing it.

The forms of a layer are those of :mod:`regkd_edge.graph.formats`. Data have one scale per tensor, weights one per
output; biases, and the state of a GRU, stay float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..graph.formats import FORMATS, Format, low_scale, round_to
from ..graph.weighted import WeightedGraph, WeightedLayer, run_model
from .plan import TINY

__all__ = ["PlannedWeights", "WeightedPlan", "nearest_weighted", "weight_steps"]

_SHRINK = (1.0, 0.96, 0.92, 0.88, 0.84, 0.8)  # of the largest weight of an output: what is clipped rounds finer


@dataclass(frozen=True, eq=False)
class PlannedWeights:
    """A layer with its format.

    Attributes
    ----------
    form : Format
    layer : WeightedLayer
    data_scale : float
        Of the rounding of the data, where the format has scaled data.
    weight_scales : tuple of float32 arrays
        One step per output, of each matrix of weights.
    bias : float32 array or None
        With corrections.
    codes : None
        Rounding is to nearest.
    """

    form: Format
    layer: WeightedLayer
    data_scale: float = 1.0
    weight_scales: tuple[np.ndarray, ...] = ()
    bias: np.ndarray | None = None
    codes: None = None

    def coded(self, which: int) -> list[np.ndarray]:
        """Codes of a matrix of weights, in one or two parts; the second in steps 254 times finer."""
        weight, axis = self.layer.weights[which], self.layer.axes[which]
        scale = _along(self.weight_scales[which], weight.ndim, axis)
        high = (
            np.clip(np.rint(weight / scale), -127, 127)
            if self.form.label != "fp8"
            else round_to(weight / scale, self.form)
        )
        if self.form.weight_parts == 1:
            return [high]
        low = low_scale(scale)
        return [high, np.clip(np.rint((weight - high.astype(np.float32) * scale) / low), -127, 127)]


@dataclass(frozen=True, eq=False)
class WeightedPlan:
    """The whole student, layer by layer; a call computes what the written graph defines."""

    chain: WeightedGraph
    layers: tuple[PlannedWeights, ...]

    def __call__(self, rows: np.ndarray) -> np.ndarray:  # [n, d] raw units -> [n, o]
        return run_model(self.model(), rows)[0]

    def model(self) -> Any:
        """Return the ``onnx.ModelProto``."""
        from .weighted_writer import write_weighted

        return write_weighted(self)

    def with_layer(self, index: int, **changes: Any) -> WeightedPlan:
        """Return a copy with fields of one layer replaced."""
        layers = list(self.layers)
        layers[index] = replace(layers[index], **changes)
        return replace(self, layers=tuple(layers))

    def only(self, index: int, *, data: bool = True, weights: bool = True) -> WeightedPlan:
        """Return a copy where only layer ``index`` is quantized, or only its data or its weights."""
        layers = [replace(layer, form=FORMATS["fp32"]) for layer in self.layers]
        form = self.layers[index].form
        if not data:
            form = replace(form, data=False)
        if not weights:
            form = replace(form, weight_parts=0)
        layers[index] = replace(self.layers[index], form=form)
        return replace(self, layers=tuple(layers))

    @property
    def share(self) -> dict[str, float]:
        """Share of the multiply-adds by format."""
        total, found = sum(self.chain.multiply_adds), {}
        for layer, macs in zip(self.layers, self.chain.multiply_adds):
            found[layer.form.label] = found.get(layer.form.label, 0.0) + macs / total
        return found


def weight_steps(weight: np.ndarray, axis: int, largest: float) -> np.ndarray:  # [outputs] float32
    """Return one step per output, the one of a few with the least squared error of its weights."""
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1).astype(np.float64)
    top = np.maximum(np.abs(rows).max(axis=1), TINY * largest)
    best, least = None, None
    for share in _SHRINK:
        scale = share * top / largest
        error = ((np.clip(np.rint(rows / scale[:, None]), -largest, largest) * scale[:, None] - rows) ** 2).sum(axis=1)
        best = scale if best is None else np.where(error < least, scale, best)
        least = error if least is None else np.minimum(error, least)
    return best.astype(np.float32)


def nearest_weighted(chain: WeightedGraph, forms: Sequence[str], ranges: Sequence[float]) -> WeightedPlan:
    """Return a round-to-nearest plan in the given formats; ``ranges`` are those of the layers' data."""
    planned = []
    for layer, name, largest in zip(chain.layers, forms, ranges):
        form = FORMATS[name]
        top = form.largest if form.scaled else 127.0
        # Two parts need no clipping: the second holds what the first leaves over.
        steps = (
            weight_steps(w, axis, top) if form.weight_parts == 1 and form.label != "fp8" else _full(w, axis, top)
            for w, axis in zip(layer.weights, layer.axes)
        )
        scale = float(np.float32(max(float(largest) / top, TINY)))
        planned.append(PlannedWeights(form, layer, scale, tuple(steps), layer.bias))
    return WeightedPlan(chain, tuple(planned))


def _full(weight: np.ndarray, axis: int, largest: float) -> np.ndarray:
    rows = np.moveaxis(weight, axis, 0).reshape(weight.shape[axis], -1)
    return np.maximum(np.abs(rows).max(axis=1) / largest, TINY).astype(np.float32)


def _along(values: np.ndarray, ndim: int, axis: int) -> np.ndarray:
    return values.reshape([-1 if i == axis else 1 for i in range(ndim)])
