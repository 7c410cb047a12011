"""Where the steps of a student get their points: its rows, synthetic inputs, or both."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..config import DistillConfig
from ..config.objective import ROUND
from ..data import Places, Scalers
from ..data.named import read_inputs
from ..objectives import RowQuantities, StepRecipe, row_quantities
from ..objectives.schedule import weight
from ..sampling import DescribedInputs, Feed, InputDescription, Part, RealRows, Sampler, Spread
from ..sampling.making import Context
from .pair import Pair
from .pool import Pool

__all__ = ["Known", "Source", "answers", "box_of", "source_of"]

_AT_ONCE = 65_536  # points that are drawn for a round of a sampler that does not learn
_ROWS_SHARE = 0.5  # of a table of rows and neighbours
_UNKNOWN = 1e9  # [standard deviations] in place of an unknown end of a range


@dataclass(frozen=True, eq=False)
class Known:
    """Data available before the first step; arrays in the space of ``scalers``."""

    train: tuple[np.ndarray, np.ndarray]  # [N, d], [N, o]
    scalers: Scalers
    description: InputDescription | None
    names: list[str]
    answers: np.ndarray | None = None  # [N, o], the teacher's to the rows
    pool: Pool | None = None  # of the sampler neighbours
    places: Places | None = None  # of rows that are images or signals


@dataclass(eq=False)
class Source:
    """The rows of a member (``x`` None: N(0, I) from the step's own noise), or the feed that supplies them."""

    batch: int
    x: Tensor | None = None
    y: Tensor | None = None
    rows: RowQuantities | None = None
    feed: Feed | None = None


def box_of(config: DistillConfig, known: Known) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the bounds of perturbed and searched points, if ranges are known; standardised ``(low, high)`` [d]."""
    if config.bounds == "rows":
        return known.train[0].min(0), known.train[0].max(0)
    told = config.describe is not None or config.like is not None
    searched = config.no_data and config.ascent_start == "inputs" and config.describe is None  # what the teacher keeps
    if known.description is None or not (told or searched):
        return None
    described = known.description
    if not (np.isfinite(described.low) | np.isfinite(described.high) | (described.sd == 0)).any():
        return None
    low, high = described.box(known.scalers.x, beyond=_UNKNOWN)
    return low, high


def source_of(config: DistillConfig, recipe: StepRecipe, pair: Pair, known: Known, seed: int) -> Source:
    """Return the points that ``config`` names (``no_data``, ``sampler`` and related fields)."""
    half = config.batch // 2
    drawn = config.drawn
    if drawn == "direct":
        batch = config.batch - half if _active(config.w_base) else config.batch
        if config.no_data and config.describe is None and config.like is None:
            return Source(batch)
        return _of_rows(recipe, pair, known, batch)
    if drawn is not None and config.kind.pooled:
        return _with_neighbours(config, recipe, pair, known)
    if drawn is None or (config.no_data and config.kind.plain):
        return _of_rows(recipe, pair, known, config.batch)
    parts = []
    if not config.no_data:
        rows = _of_rows(recipe, pair, known, config.batch)
        real = RealRows(rows.x, rows.y, rows.rows, seed=seed)
        parts.append(Part(real, config.batch - half, weight(config.w_base)))
    elif _active(config.w_base):
        parts.append(
            Part(
                Spread("described", known.description, known.scalers.x, seed=seed),
                config.batch - half,
                weight(config.w_base),
            )
        )
    many = half if parts else config.batch
    sampler = _sampler(config, pair, known, many, seed)
    if known.description is not None and (config.describe is not None or config.like is not None):
        sampler = _Within(sampler, known)
    parts.append(Part(sampler, many, weight(config.w_sampler)))
    length = ROUND if config.kind.learns else _round(config.evaluate_every, config.batch)
    return Source(config.batch, feed=Feed(parts, steps=length, look=pair.look))


def _of_rows(recipe: StepRecipe, pair: Pair, known: Known, batch: int) -> Source:
    x, y = (torch.from_numpy(np.ascontiguousarray(v)).float() for v in known.train)
    if pair.teacher is None or not recipe.needs_teacher:
        return Source(batch, x, y)
    known_ones = known.answers is not None and pair.teacher is pair.plain_teacher  # not widened by a hidden layer
    t = torch.from_numpy(known.answers).float() if known_ones else answers(pair.teacher, x)
    if not recipe.needs_labels:
        return Source(batch, x, y if y.shape == t.shape else None, RowQuantities(t))
    quantities = row_quantities(t, y, recipe.outlier_k, recipe.outlier_rule)
    return Source(batch, x, y, replace(quantities, mix=quantities.phi) if recipe.base == "mix" else quantities)


def _with_neighbours(config: DistillConfig, recipe: StepRecipe, pair: Pair, known: Known) -> Source:
    """RealRows and their neighbours in one table; a neighbour counts as a row whose label is the teacher's answer.

    Beside n neighbours the rows are repeated until they are ``_ROWS_SHARE`` of the table; the weights of rows and
    neighbours are those of the configuration, relative to the means over each.
    """
    points, t = known.pool.points(config.noise, tuple(config.sigma))
    if pair.teacher is not pair.plain_teacher:  # widened by a hidden layer
        t = answers(pair.teacher, points)
    made = RowQuantities(t, *(torch.zeros(len(t)), torch.ones(len(t)), torch.zeros(len(t), dtype=torch.bool)))
    if config.no_data:
        return Source(config.batch, points, None, made)
    rows = _of_rows(recipe, pair, known, config.batch)
    times = max(1, round(_ROWS_SHARE / (1 - _ROWS_SHARE) * len(points) / len(rows.x)))
    many, few = times * len(rows.x), len(points)
    shares = [weight(w).start * (many + few) / n for w, n in ((config.w_base, many), (config.w_sampler, few))]
    each = torch.cat([torch.full((n,), share) for n, share in zip((many, few), shares)])
    both = {
        name: torch.cat([stored.repeat(times, *[1] * (stored.ndim - 1)), getattr(made, name)])
        for name in ("t", "e", "phi", "outlier")
        if (stored := getattr(rows.rows, name)) is not None
    }
    quantities = RowQuantities(**both, weight=each / 2)  # two means of equal weight are the mean over the table
    if recipe.base == "mix":
        quantities = replace(quantities, mix=quantities.phi)
    x = torch.cat([rows.x.repeat(times, 1), points])
    y = None if rows.y is None or rows.y.shape[1] != t.shape[1] else torch.cat([rows.y.repeat(times, 1), t])
    return Source(config.batch, x, y, quantities)


def _sampler(config: DistillConfig, pair: Pair, known: Known, many: int, seed: int) -> Sampler:
    """The sampler that is named; ``many`` points per step are taken from it."""
    kind = config.kind
    return kind.make(
        Context(
            name=kind.name,
            d=known.scalers.x.width,
            teacher=pair.plain_teacher,
            scaler=known.scalers.x,
            description=known.description,
            rows=None if config.no_data else known.train,
            like=None if config.like is None or not kind.needs_rows else read_inputs(config.like, known.names),
            many=many,
            sigma=tuple(config.sigma),
            seed=seed,
            places=known.places,
        )
    )


class _Within(Sampler):
    """Sampler that moves another sampler's points to the nearest valid inputs: ranges, whole numbers, constants."""

    def __init__(self, inner: Sampler, known: Known):
        self.inner, self.features = inner, inner.features
        self.restrict = DescribedInputs(known.description, known.scalers.x).restrict

    def draw(self, count: int, step: int) -> Tensor:  # [count, d]
        return self.restrict(self.inner.draw(count, step))

    def learn(self, student, teacher, step: int) -> None:
        self.inner.learn(student, teacher, step)

    def state_dict(self) -> dict[str, Tensor]:
        return self.inner.state_dict()

    def load_state_dict(self, flat) -> None:
        self.inner.load_state_dict(flat)


@torch.no_grad()
def answers(network: torch.nn.Module, x: Tensor) -> Tensor:  # [n, d] -> [n, o]
    """Return a network's outputs for many rows, some thousands at a time."""
    return torch.cat([network(part) for part in x.split(4096)])


def _active(written: float | str) -> bool:
    return weight(written).active


def _round(every: int, batch: int) -> int:
    """Return the longest round that ends with every validation and draws no more than ``_AT_ONCE`` points."""
    most = max(1, min(every, _AT_ONCE // batch))
    return next(length for length in range(most, 0, -1) if every % length == 0)
