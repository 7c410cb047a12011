"""Mixed precision under a bound on the RMSE: as few and as small layers as possible in the higher precision."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np

from ..errors import UserError
from ..graph.formats import FORMATS, HIGH
from .plan import Plan
from .posttraining import CorrectedPlan

__all__ = ["Bound", "cautious_rise", "search_mixed"]

_SURE = 0.1  # of the FP32 error's square: no estimate is lower
_EXHAUSTIVE = 6  # maximum layers for which every subset is tried
_ALL_MADE = 3  # maximum layers for which every subset is requantized, whatever the full plan's estimate


@dataclass(frozen=True, eq=False)
class Bound:
    """The allowed increase of the RMSE, and the rows it is evaluated on.

    Parameters
    ----------
    increase : float
        0.01 allows +1 % of the FP32 student's RMSE.
    rows : float32 [n, d], raw units
        Rows that the quantization has not seen (validation rows), or synthetic ones.
    targets : [n, o]
        Their labels, or the teacher's answers without labels.
    high : str
        The precision of the layers that are kept: fp16, bf16 or fp32.
    margin : float
        Standard errors added to the estimate, which is uncertain on few rows. 2.33 leaves a
        chance of 1 in 100.
    """

    increase: float
    rows: np.ndarray
    targets: np.ndarray
    high: str = "fp16"
    margin: float = 2.33

    def __post_init__(self) -> None:
        if not self.increase > 0:
            raise UserError(
                f"the allowed increase is {self.increase:g}, expected more than 0.", "Give a value such as 0.01 or 1%."
            )
        if self.high not in HIGH:
            raise UserError(
                f"unknown precision '{self.high}' for the layers that are kept.", f"Use one of: {', '.join(HIGH)}."
            )

    def judge(self, plan: Plan) -> tuple[float, float]:
        """Return ``(rise, upper)``: relative rise of the RMSE on the rows, and an upper estimate for unseen rows.

        With d the change of the output and e the FP32 error, RMSE^2 rises by mean(d^2) + 2 mean(d e), and the second
        part has the standard error |d| |e| / sqrt(n). With several targets both are those of the target that rises
        most: a target that nothing predicts must not hide what is lost in another. The FP32 RMSE itself is uncertain on
        few rows, and a smaller one makes the same d weigh more: for the margin it is taken one standard error lower.
        """
        rise, change, luck = _against_exact(plan, self.rows, self.targets)
        change = change / np.sqrt(np.maximum(1.0 - luck, _SURE))
        upper = rise + self.margin * change / np.sqrt(len(self.targets))
        return float(rise.max()), float(upper.max())


def cautious_rise(
    plan: Plan,
    rows: np.ndarray,  # [n, d] raw units
    targets: np.ndarray,  # [n, o]
    margin: float = 1.5,
) -> float:
    """Return the relative rise of the RMSE over FP32 on rows, plus ``margin`` standard errors of what chance
    contributes to it, of the target that rises most.

    Used to compare two plans: one far from FP32 must be better by a larger margin than a close one, the more so on few
    rows.
    """
    rise, change, _ = _against_exact(plan, rows, targets)
    return float((rise + margin * change / np.sqrt(len(targets))).max())


def _against_exact(
    plan: Plan, rows: np.ndarray, targets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # [o] each
    """For each target the relative rise of the RMSE, the RMS change of the output in units of the FP32 RMSE, and the
    relative standard error of the FP32 RMSE's square."""
    spread = np.maximum(targets.std(axis=0), 1e-12)
    exact, got = plan.chain(rows), plan(rows)
    squares = ((exact - targets) / spread).astype(np.float64) ** 2
    base = np.maximum(np.sqrt(squares.mean(axis=0)), 1e-12)
    rise = np.sqrt(np.mean(((got - targets) / spread) ** 2, axis=0)) / base - 1.0
    change = np.sqrt(np.mean(((got - exact) / spread) ** 2, axis=0)) / base
    return rise, change, squares.std(axis=0) / np.sqrt(len(squares)) / base**2


def search_mixed(
    full: CorrectedPlan,
    make: Callable[[Sequence[str]], CorrectedPlan],
    forms: Sequence[str],
    bound: Bound,
    *,
    finer: Callable[[], CorrectedPlan] | None = None,
) -> tuple[CorrectedPlan, list[str]]:
    """Return the plan with the fewest layers in ``bound.high`` that meets the bound, and notes on it.

    Where ``full``, in one part, does not meet the bound, INT8 numbers in two parts are tried first: in the layers that
    need it (``finer`` makes that plan; None tries no parts), then in all. They cost a second product, and no layer is
    kept. Candidates are looked at in the order of their number of kept layers, then of their multiply-adds. With more
    than three layers each is first judged by switching layers of the ``full`` plan, which costs a forward pass, and
    made again only when that comes near the bound. That estimate can be far too high: the ranges and scales that were
    chosen for a layer in the lower precision stay in it, so that a few layers are made again without asking it.
    """
    chain = full.plan.chain
    macs = chain.multiply_adds
    rise, upper = bound.judge(full.plan)
    said = [
        f"all layers {forms[0]}: RMSE {rise:+.2%} on {len(bound.rows)} rows, at most {upper:+.2%} with sampling noise"
    ]
    if upper <= bound.increase:
        return full, said
    best, best_upper = full, upper
    every = lambda: make(["int8-split" if form == "int8" else form for form in forms])
    for what, parted in () if finer is None else (("layers that need it", finer), ("all layers", every)):
        full = parted()
        if all(layer.form.data_parts == layer.form.weight_parts == 1 for layer in full.plan.layers):
            continue
        rise, upper = bound.judge(full.plan)
        said.append(f"{what} in two INT8 parts: RMSE {rise:+.2%}, at most {upper:+.2%}")
        if upper <= bound.increase:
            return full, said
        if upper < best_upper:
            best, best_upper = full, upper
    for kept in _candidates(len(macs), macs, full.plan, bound):
        estimated = _ALL_MADE < len(macs) > len(kept)
        if estimated and bound.judge(_switched(full.plan, kept, bound.high))[1] > 2 * bound.increase:
            continue
        names = [bound.high if i in kept else form for i, form in enumerate(forms)]
        made = make(names)
        rise, upper = bound.judge(made.plan)
        if upper < best_upper:
            best, best_upper = made, upper
        if upper <= bound.increase:
            layers = ", ".join(chain.layers[i].name for i in kept)
            return made, [*said, f"kept in {bound.high}: {layers}; RMSE {rise:+.2%}, at most {upper:+.2%}"]
    return best, [
        *said,
        f"no choice of layers meets the bound of {bound.increase:+.2%}: the best one reaches {best_upper:+.2%}",
    ]


def _candidates(count: int, macs: Sequence[int], plan: Plan, bound: Bound) -> list[tuple[int, ...]]:
    """Yield sets of layers to keep, cheapest first; beyond a few layers only those of a greedy search."""
    if count <= _EXHAUSTIVE:
        sets = [c for size in range(1, count + 1) for c in combinations(range(count), size)]
        return sorted(sets, key=lambda c: (len(c), sum(macs[i] for i in c)))
    kept: tuple[int, ...] = ()
    found: list[tuple[int, ...]] = []
    while len(kept) < count:
        left = [i for i in range(count) if i not in kept]
        best = min(left, key=lambda i: bound.judge(_switched(plan, (*kept, i), bound.high))[1])
        kept = tuple(sorted((*kept, best)))
        found.append(kept)
    return found


def _switched(plan: Plan, kept: Sequence[int], high: str) -> Plan:
    """Return the plan with some layers in another precision and everything else unchanged."""
    changes: dict[str, Any] = {"form": FORMATS[high], "codes": None}
    return replace(
        plan, layers=tuple(replace(layer, **changes) if i in kept else layer for i, layer in enumerate(plan.layers))
    )
