"""Which candidates of a race, and how many points, a slow teacher allows within a time that is given.

A teacher that is no MLP is asked once per point around the rows, of every kind of noise and in every fold: some hundred
thousand answers before the first step. At 0.2 ms each that is half a minute, whatever ``--budget`` says. So the teacher
is timed first; then a share of the budget decides.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...recipes.candidates import MIXTURE, Candidate
from ...sampling.neighbours import MIXTURES
from ..setting import Setting

__all__ = ["Means", "seconds_per_row", "within"]

_SHARE = 0.25  # of the budget that answers may take
_FEW, _MANY, _GROWTH = 32, 2_048, 4  # rows that time a teacher: so many times as many, as long as they take
_TIMED = 0.05  # of the budget at most
_ENOUGH = 1_024  # points of each kind that are worth asking for ten kinds; otherwise the mixture is the only one
_FEWEST = 128  # points that are worth anything
_TRAINED = 2  # pools of the winner: points to train on, and others to stop by
_GRADIENT = 3.0  # evaluations that one with its gradient costs
_STEP = 2e-3  # [s] of a step by PyTorch, which trains on the gradient of a teacher that is no MLP


@dataclass(frozen=True)
class Means:
    """What the time allows.

    Attributes
    ----------
    who : list of Candidate
    points : int or None
        Of each kind of noise; None: as many as without a budget.
    note : str or None
        What was left out, for the user.
    """

    who: list[Candidate]
    points: int | None = None
    note: str | None = None


def seconds_per_row(setting: Setting, budget: float) -> float:
    """Time the teacher on rows that the student sees; 0.0 for an MLP, which the core answers at once.

    A call may take long whatever the number of its rows, as that of a forest. So more rows are asked while the budget
    allows it; where it does not allow more than the first few, twice as many say what a row adds.
    """
    if setting.teacher.mlp is not None:
        return 0.0

    def seconds(count: int) -> float:
        rows = setting.dataset.x[np.resize(setting.rows.train, count)]
        started = time.monotonic()
        setting.teacher.answers_in(setting.scalers, rows)
        return time.monotonic() - started

    count, taken = _FEW, seconds(_FEW)
    while count < _MANY and _GROWTH * taken <= _TIMED * budget:
        count *= _GROWTH
        taken = seconds(count)
    if count > _FEW:
        return taken / count
    twice = seconds(2 * _FEW)
    return max((twice - taken) / _FEW, twice / (2 * _FEW) / _GROWTH)


def within(budget: float, who: Sequence[Candidate], per_row: float, *, folds: int, steps: int, batch: int) -> Means:
    """Leave out what would take too long.

    Parameters
    ----------
    budget : float
        Seconds for race and training together.
    per_row : float
        Seconds that the teacher takes for one row.
    folds, steps, batch : int
        Of the race: how often each candidate is trained, the steps of its first rung, the points of a step.
    """
    if not per_row:
        return Means(list(who))
    seconds = _SHARE * budget
    asking = lambda c: steps * (_STEP + _GRADIENT * per_row * c.share * batch)
    costly = [c for c in who if c.share != 1.0]
    kept = list(who) if folds * sum(map(asking, costly)) < seconds else [c for c in who if c not in costly]
    kinds = {_kind(c) for c in kept if "sampler" in c.fields}
    affordable = seconds / per_row
    points = int(affordable / (folds * len(kinds) + _TRAINED))
    if points < _ENOUGH:
        points = int(affordable / (folds + _TRAINED))
        kept = [c for c in kept if "sampler" not in c.fields or _kind(c) == _kind(MIXTURE)]
    if points < _FEWEST:
        kept, points = [c for c in kept if "sampler" not in c.fields], _FEWEST
    if len(kept) == len(who):
        return Means(kept, points)
    left = f"{len(kept)} of {len(who)} candidates"
    return Means(
        kept,
        points,
        f"the teacher takes {per_row * 1e3:.2g} ms per row: within {budget:g} s the race has {left}; give more time "
        "(--budget)",
    )


def _kind(candidate: Candidate) -> tuple[object, ...]:
    """Candidates of one kind read the same points."""
    noise = candidate.fields["noise"]
    return (noise,) if noise in MIXTURES else (noise, *candidate.fields["sigma"])
