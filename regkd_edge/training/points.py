"""Points for a student's steps: its rows, synthetic inputs, or both; the choice of the sampler."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..config import DistillConfig
from ..config.distill import LEARNING, ROUND
from ..config.fields import weight_parts
from ..data import Scalers
from ..data.named import read_inputs
from ..objectives import RowQuantities, StepRecipe, row_quantities
from ..sampling import (
    AdversarialGenerator,
    DescribedInputs,
    Feed,
    Gaussian,
    InputDescription,
    Part,
    Rows,
    Sampler,
    TargetAnchored,
    TunedLatent,
)
from ..sampling.latent import fit_vae, tune
from .free import POOLED, Spread
from .pair import Pair
from .recipe import schedule_of

__all__ = ["Known", "Source", "answers", "box_of", "source_of"]

_AT_ONCE = 65_536  # points per round of a sampler that does not learn
_UNKNOWN = 1e9  # [standard deviations] stands for an unknown end of a range
_LATENT = 4  # size of the latent, as in tools/reproduce/nguyen2021.py


@dataclass(frozen=True, eq=False)
class Known:
    """Data available before the first step; arrays in the space of ``scalers``."""

    train: tuple[np.ndarray, np.ndarray]  # [N, d], [N, o]
    scalers: Scalers
    description: InputDescription | None
    names: list[str]
    answers: np.ndarray | None = None  # [N, o], the teacher's to the raw rows, where it is no MLP


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
    if known.description is None or (config.describe is None and config.like is None):
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
    if drawn is None or (config.no_data and drawn in POOLED):
        return _of_rows(recipe, pair, known, config.batch)
    parts = []
    if not config.no_data:
        rows = _of_rows(recipe, pair, known, config.batch)
        real = Rows(rows.x, rows.y, rows.rows, seed=seed)
        parts.append(Part(real, config.batch - half, schedule_of(config.w_base)))
    elif _active(config.w_base):
        parts.append(
            Part(
                Spread("described", known.description, known.scalers.x, seed=seed),
                config.batch - half,
                schedule_of(config.w_base),
            )
        )
    many = half if parts else config.batch
    sampler = _sampler(config, pair, known, many, seed)
    if known.description is not None and (config.describe is not None or config.like is not None):
        sampler = _Within(sampler, known)
    parts.append(Part(sampler, many, schedule_of(config.w_sampler)))
    length = ROUND if drawn in LEARNING else _round(config.evaluate_every, config.batch)
    return Source(config.batch, feed=Feed(parts, steps=length, look=pair.look))


def _of_rows(recipe: StepRecipe, pair: Pair, known: Known, batch: int) -> Source:
    x, y = (torch.from_numpy(np.ascontiguousarray(v)).float() for v in known.train)
    if pair.teacher is None or not recipe.needs_teacher:
        return Source(batch, x, y)
    t = answers(pair.teacher, x) if known.answers is None else torch.from_numpy(known.answers).float()
    if not recipe.needs_labels:
        return Source(batch, x, y if y.shape == t.shape else None, RowQuantities(t))
    quantities = row_quantities(t, y, recipe.outlier_k, recipe.outlier_rule)
    return Source(batch, x, y, replace(quantities, mix=quantities.phi) if recipe.base == "mix" else quantities)


def _sampler(config: DistillConfig, pair: Pair, known: Known, many: int, seed: int) -> Sampler:
    """Return the named sampler; ``many`` points per step are drawn from it."""
    drawn, d, teacher = config.drawn, known.scalers.x.width, pair.plain_teacher
    if drawn == "gaussian":
        return Gaussian(d, seed=seed)
    if drawn == "generator":
        return AdversarialGenerator(d, seed=seed, batch=many)
    if drawn == "latent":
        return _latent(config, teacher, known, seed)
    if drawn == "anchored":
        low, high = (torch.from_numpy(v).float() for v in known.description.box(known.scalers.x))
        around = answers(teacher, DescribedInputs(known.description, known.scalers.x, seed=seed).draw(2048, 0))
        # The authors' outputs lie in (0, 1); here the targets span the teacher's answers to described inputs (ours).
        spread = torch.quantile(around, torch.tensor([0.01, 0.99]))
        return TargetAnchored(low, high, seed=seed, targets=(spread[0].item(), spread[1].item()))
    return Spread(drawn, known.description, known.scalers.x, seed=seed)


def _latent(config: DistillConfig, teacher, known: Known, seed: int) -> TunedLatent:
    """Build it from the rows and labels; without data from ``like`` rows, the teacher's answers and uncertainty."""
    if config.no_data:
        x = torch.from_numpy(known.scalers.x.standardize(read_inputs(config.like, known.names))).float()
        c, reward = answers(teacher, x), "uncertainty"
    else:
        (x, c), reward = (torch.from_numpy(v).float() for v in known.train), "label"
    vae = fit_vae(x, c, latent=_LATENT, seed=seed)
    return TunedLatent(vae, tune(vae, teacher, c, reward=reward, seed=seed), teacher, c, reward=reward, seed=seed)


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


def _active(weight: float | str) -> bool:
    return any(weight_parts(weight)[:2])


def _round(every: int, batch: int) -> int:
    """Return the longest round that ends with every validation and draws no more than ``_AT_ONCE`` points."""
    most = max(1, min(every, _AT_ONCE // batch))
    return next(length for length in range(most, 0, -1) if every % length == 0)
