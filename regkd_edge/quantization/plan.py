"""A quantized student as arrays: it computes what the written graph computes, up to the order of summation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..graph.chain import Chain
from ..graph.formats import FORMATS, Format, round_to, rounded_parts

__all__ = ["TINY", "Plan", "PlannedLayer", "nearest_plan", "weight_scales"]

TINY = 1e-12  # minimum scale: a dead unit has no range, and a scale must not be 0


@dataclass(frozen=True, eq=False)
class PlannedLayer:
    """A layer with its format: ``round((a - shift) * rate) @ stored^T + bias``.

    Attributes
    ----------
    form : Format
    weight : float32 [n_out, n_in]
        Real-valued weights, after ``shift`` and ``rate`` were folded into them.
    bias : float32 [n_out]
    shift, rate : float32 [n_in], or None
        Equalization of the input: before the first layer they are part of the scaler, elsewhere one Sub and one Mul.
    data_scale : float
        Of the rounding of the input; used where the format has scaled data.
    weight_scale : float32 [n_out]
    codes : float32 [n_out, n_in], optional
        Learnt rounding, in units of ``weight_scale``; None rounds to nearest.
    """

    form: Format
    weight: np.ndarray
    bias: np.ndarray
    shift: np.ndarray | None = None
    rate: np.ndarray | None = None
    data_scale: float = 1.0
    weight_scale: np.ndarray | None = None
    codes: np.ndarray | None = None

    @property
    def stored_parts(self) -> tuple[np.ndarray, ...]:  # [n_out, n_in] float32 each
        """The weights that the layer multiplies by, in one or two parts."""
        if self.codes is not None:
            return (self.codes * self.weight_scale[:, None],)
        scale = self.weight_scale[:, None] if self.form.scaled else 1.0
        return rounded_parts(self.weight, self.form, scale, self.form.weight_parts)

    @property
    def stored(self) -> np.ndarray:  # [n_out, n_in] float32
        """The weights that the layer multiplies by, as their sum."""
        return sum(self.stored_parts)

    @property
    def scaled_data(self) -> bool:
        """Whether the layer's input passes a Q/DQ pair."""
        return self.form.scaled and self.form.data

    def data_parts(self, a: np.ndarray) -> tuple[np.ndarray, ...]:  # [n, n_in] each
        """The layer's input as it is multiplied, in one or two parts."""
        if self.shift is not None:
            a = a - self.shift
        if self.rate is not None:
            a = a * self.rate
        return rounded_parts(a, self.form, self.data_scale, self.form.data_parts) if self.form.data else (a,)

    def data(self, a: np.ndarray) -> np.ndarray:  # [n, n_in]
        """The layer's input as it is multiplied, as the sum of its parts."""
        return sum(self.data_parts(a))

    def product(self, a: np.ndarray) -> np.ndarray:  # [n, n_out]
        high, *low = self.data_parts(a)
        weight, *low_weight = self.stored_parts
        z = high @ weight.T
        for part in low:
            z = z + part @ weight.T
        for part in low_weight:
            z = z + high @ part.T
        if not self.form.scaled:
            z = round_to(z, self.form)
        return z + self.bias


@dataclass(frozen=True, eq=False)
class Plan:
    """The whole student, layer by layer; :meth:`__call__` computes what the graph defines (float32)."""

    chain: Chain
    layers: tuple[PlannedLayer, ...]

    def inputs(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return the input of each layer, before it is equalized and rounded; the outputs last."""
        found = [self.chain.scaled(rows)]
        for planned, layer in zip(self.layers, self.chain.layers):
            found.append(layer.after(planned.product(found[-1])))
        return found

    def __call__(self, rows: np.ndarray) -> np.ndarray:  # [n, o] raw units
        return self.resume(self.chain.scaled(rows), 0)

    def resume(self, a: np.ndarray, first: int) -> np.ndarray:
        """Return outputs from the input of layer ``first``: a search over one layer need not repeat earlier ones."""
        for planned, layer in zip(self.layers[first:], self.chain.layers[first:]):
            a = layer.after(planned.product(a))
        return a

    def with_layer(self, index: int, **changes) -> Plan:
        """Return a copy with fields of one layer replaced."""
        layers = list(self.layers)
        layers[index] = replace(layers[index], **changes)
        return replace(self, layers=tuple(layers))

    def only(self, index: int) -> Plan:
        """Return a copy where only layer ``index`` is quantized."""
        layers = (
            layer if i == index else replace(layer, form=FORMATS["fp32"], codes=None)
            for i, layer in enumerate(self.layers)
        )
        return replace(self, layers=tuple(layers))

    @property
    def share(self) -> dict[str, float]:
        """Share of the multiply-adds by format."""
        total = sum(layer.weight.size for layer in self.layers)
        found: dict[str, float] = {}
        for layer in self.layers:
            found[layer.form.label] = found.get(layer.form.label, 0.0) + layer.weight.size / total
        return found


def weight_scales(weight: np.ndarray, form: Format) -> np.ndarray:  # [n_out] float32
    """Return one scale per output channel, from its largest weight."""
    return np.maximum(np.abs(weight).max(axis=1) / form.largest, TINY).astype(np.float32)


def nearest_plan(chain: Chain, forms: Sequence[str], ranges: Sequence[float]) -> Plan:
    """Return a round-to-nearest plan in the given formats.

    Parameters
    ----------
    forms : names of formats, one per layer
    ranges : largest absolute value of each layer's input to represent
    """
    layers = []
    for layer, name, largest in zip(chain.layers, forms, ranges):
        form = FORMATS[name]
        scale = float(np.float32(max(float(largest) / form.largest, TINY)))
        layers.append(
            PlannedLayer(
                form, layer.weight, layer.bias, data_scale=scale, weight_scale=weight_scales(layer.weight, form)
            )
        )
    return Plan(chain, tuple(layers))
