"""How the inputs of each layer are made even: centre and powers, chosen by the output's error with that layer alone.

The choice belongs to a layer and its format, whatever the other layers are in, so it is made once for all plans.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..graph.chain import Chain
from ..graph.formats import FORMATS
from .calibration import Calibration
from .corrections import round_layer
from .equalize import EVEN_DATA, POWERS, Power, equalize
from .plan import Plan, nearest_plan
from .ranges import on_codes, range_of
from .splitting import MARGIN

__all__ = ["Choice", "Evenness", "on_values"]

_WORTH = 0.9  # what costs an operator at run time must take a tenth of the squared error away
# Of the widest input of a layer, where data are in two parts. A neuron that hardly answered to the calibration rows may
# answer to others: a range that just holds what was met would cut it off, and of sixteen bits three can be spared.
_LEAST_RANGE = 1 / 8
_NO_SHIFT: Power = (0.0, 0.0)


@dataclass(frozen=True, eq=False)
class Choice:
    """What was chosen for one layer: nothing (``power`` None), or its ends and power; and what was tried.

    ``few``: inputs whose values are on codes, as in :func:`~regkd_edge.quantization.equalize.equalize`.
    """

    power: Power | None
    low: np.ndarray  # [n_in]
    high: np.ndarray  # [n_in]
    tried: list[tuple[str, float, float, bool]]
    few: np.ndarray | None = None

    def applied(self, plan: Plan, index: int) -> Plan:
        return plan if self.power is None else equalize(plan, index, self.low, self.high, self.power, self.few)


class Evenness:
    """The choices for the layers of one chain, on one set of calibration points.

    Parameters
    ----------
    rows : float32 [n, d], raw units
        They determine the ranges.
    method, percentile
        Of the ranges; see :mod:`~regkd_edge.quantization.ranges`.
    corrections : subset of :data:`~regkd_edge.config.CORRECTIONS`
        ``equalize`` acts before the first layer, ``cross-layer`` (scales alone) and ``center`` (scales and a centre)
        before the others.
    """

    def __init__(
        self, chain: Chain, rows: np.ndarray, points: Calibration, method: str, percentile: float,
        corrections: Sequence[str]
    ):  # fmt: skip
        self.chain, self.points, self.corrections = chain, points, corrections
        self._rows, self._method, self._percentile = rows, method, percentile
        self._ranges = [range_of(a, method, percentile) for a in chain.activations(rows)[0]]
        self._found: dict[tuple[int, str], Choice] = {}
        self.attempts = itertools.count(1)  # plans that are made with these choices, for the progress

    def nearest(self, forms: Sequence[str]) -> Plan:
        """Return a round-to-nearest plan; data in two parts have room for values beyond those that were met."""
        wide = [MARGIN * r if FORMATS[name].data_parts == 2 else r for r, name in zip(self._ranges, forms)]
        return nearest_plan(self.chain, forms, wide)

    def error(self, plan: Plan, alone: int | None = None) -> float:
        """Return the squared error of a plan on the points to accept by.

        With ``alone`` only that layer is quantized, and its rounding is learnt, as it will be in the result:
        equalization makes weights uneven, which nearest rounding penalizes.
        """
        if alone is not None:
            plan = plan.only(alone)
            if "rounding" in self.corrections:
                plan = round_layer(plan, alone, self.points)
        return self.points.error(plan, held=True)

    def choice(self, index: int, form: str) -> Choice:
        """Return what makes the inputs of layer ``index`` even, where the layer is in this format."""
        if (index, form) not in self._found:
            self._found[index, form] = self._choose(index, form)
        return self._found[index, form]

    def fit(self, plan: Plan) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """Return :func:`on_values` of the calibration rows."""
        return on_values(plan, self.chain.scaled(self._rows))

    def _choose(self, index: int, form: str) -> Choice:
        plan = self.nearest([form] * len(self.chain.layers))
        a = self.chain.activations(self.points.rows if index else self._rows)[0][index]
        low, high = _bounds(a, self._method, self._percentile)
        parts, homogeneous = FORMATS[form].data_parts, index and self.chain.layers[index - 1].after.homogeneous
        room = MARGIN if parts == 2 else 1.0
        middle, half, wide = (low + high) / 2, room * (high - low) / 2, room * np.maximum(np.abs(low), np.abs(high))
        if parts == 2:
            half, wide = (np.maximum(r, _LEAST_RANGE * r.max()) for r in (half, wide))
        ends = middle - half, middle + half
        few = None
        if index == 0:
            if parts == 1:
                ends = self.fit(plan)(*ends)
                few = few_values(a) if form == "int8" else None
            groups = [("equalize", 1.0, ends, (EVEN_DATA, *POWERS[parts]) if parts == 2 else POWERS[parts])]
        else:
            scales = [("cross-layer", 1.0 if homogeneous else _WORTH, (-wide, wide), POWERS[parts])]
            groups = scales if homogeneous or parts == 2 else []
            groups += [("center", _WORTH, ends, (_NO_SHIFT, *POWERS[parts]))] if parts == 1 else []
        found, least = Choice(None, low, high, [], few), self.error(plan, index)
        for name, worth, (lowest, highest), powers in groups:
            if name not in self.corrections:
                continue
            errors = {p: self.error(equalize(plan, index, lowest, highest, p, few), index) for p in powers}
            power = min(errors, key=errors.__getitem__)
            kept = errors[power] < worth * least
            found.tried.append((name, least**0.5, errors[power] ** 0.5, kept))
            if kept:
                found, least = Choice(power, lowest, highest, found.tried, few), errors[power]
        return found


def _bounds(a: np.ndarray, method: str, percentile: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the range to represent of each input of a layer: all of it, or what the method keeps around its middle."""
    a = a.astype(np.float64)
    low, high = a.min(axis=0), a.max(axis=0)
    if method in ("minmax", "output"):
        return low, high
    centre = (low + high) / 2 if method == "entropy" else np.median(a, axis=0)
    half = np.array([range_of(a[:, j] - centre[j], method, percentile) for j in range(a.shape[1])])
    return np.maximum(low, centre - half), np.minimum(high, centre + half)


def few_values(x: np.ndarray) -> np.ndarray:  # [n, d] -> [d] bool
    """Return which columns take so few values that each comes twice on average."""
    return np.array([len(np.unique(column)) <= len(x) // 2 for column in x.T])


def on_values(
    plan: Plan,
    x: np.ndarray,  # [n, d] what reaches the first layer
) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return a function that adjusts ranges ``low, high`` [d] so that features of few values fall on codes."""
    if plan.layers[0].form.name != "int8":
        return lambda low, high: (low, high)
    known: dict[tuple[int, float, float], tuple[float, float]] = {}
    few = {j: np.unique(x[:, j].astype(np.float64)) for j in np.flatnonzero(few_values(x))}

    def fit(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = low.copy(), high.copy()
        for j, values in few.items():
            ends = (j, float(low[j]), float(high[j]))  # a search moves one pair of ends at a time
            if ends not in known:
                known[ends] = on_codes(values, *ends[1:])
            low[j], high[j] = known[ends]
        return low, high

    return fit
