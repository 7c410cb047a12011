"""Inputs with a given spread of outputs: disagreement anchored at random targets (Zhou & Chiam 2023, protein study).

For each point a target r is drawn, and ``-weight |T-S|^2 + |T-r|^2`` is minimised over a box by differential
evolution: the networks disagree there, but the teacher's output stays near r. No gradient of either network is needed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import RecipeError
from .sampler import Network, Sampler, noise

__all__ = ["TargetAnchored", "evolve"]

_START, _TARGET, _EVOLVE, _DRAW = 20, 21, 22, 23


@torch.no_grad()
def evolve(
    cost,  # [n, p, d] -> [n, p]
    low: Tensor,  # [d]
    high: Tensor,  # [d]
    points: int,
    generator: torch.Generator,
    *,
    population: int = 32,
    generations: int = 40,
    recombination: float = 0.7,
) -> tuple[Tensor, Tensor]:  # [n, d], [n]
    """Run differential evolution (Storn & Price 1997; best/1/bin with a dither of 0.5 to 1, SciPy's defaults) on
    ``points`` independent problems in parallel; return the best member of each and its cost."""
    rand = lambda *shape: torch.rand(*shape, generator=generator)
    d, index = low.numel(), torch.arange(points)
    members = low + (high - low) * rand(points, population, d)
    costs = cost(members)
    for _ in range(generations):
        best = members[index, costs.argmin(1)][:, None]
        # Two other members of the same problem for each: a random order, shifted by one and two places.
        order = rand(points, population).argsort(1)
        pairs = [torch.gather(members, 1, order.roll(k, 1)[..., None].expand(-1, -1, d)) for k in (1, 2)]
        mutant = best + (0.5 + 0.5 * rand(points, 1, 1)) * (pairs[0] - pairs[1])
        outside = (mutant < low) | (mutant > high)
        mutant = torch.where(outside, low + (high - low) * rand(points, population, d), mutant)
        taken = rand(points, population, d) < recombination
        taken[..., :] |= torch.nn.functional.one_hot((rand(points, population) * d).long().clamp(max=d - 1), d).bool()
        trial = torch.where(taken, mutant, members)
        trial_costs = cost(trial)
        better = trial_costs < costs
        members = torch.where(better[..., None], trial, members)
        costs = torch.where(better, trial_costs, costs)
    least = costs.argmin(1)
    return members[index, least], costs[index, least]


class TargetAnchored(Sampler):
    """A pool of anchored points, searched again every ``every`` rounds of training; steps draw from the pool.

    Parameters
    ----------
    low, high : Tensor [d]
        The box, standardised (``InputDescription.box`` gives one).
    targets : (float, float)
        r ~ U(targets) for each output, in standardised units; (0, 1) in the authors' code, whose outputs lie there.
    weight : float
        Weight of the disagreement; 0.05 in the authors' code.
    pool, every, population, generations : int
        Size and cost of the search (ours).
    """

    def __init__(
        self,
        low: Tensor,
        high: Tensor,
        *,
        seed: int = 0,
        targets: tuple[float, float] = (0.0, 1.0),
        weight: float = 0.05,
        pool: int = 100,
        every: int = 10,
        population: int = 32,
        generations: int = 40,
    ):
        low, high = torch.as_tensor(low, dtype=torch.float32), torch.as_tensor(high, dtype=torch.float32)
        if low.shape != high.shape or low.ndim != 1 or not (low <= high).all() or not torch.isfinite(high - low).all():
            raise RecipeError(
                "the box needs finite low <= high for each feature.",
                "Check the description of the inputs.",
            )
        self.low, self.high, self.features, self.seed = low, high, low.numel(), seed
        self.targets, self.weight, self.every = targets, weight, every
        self.population, self.generations, self.rounds = population, generations, 0
        # Before the first search: points spread evenly over the box.
        self.points = low + (high - low) * torch.rand(pool, self.features, generator=noise(seed, _START, 0))

    def draw(self, count: int, step: int) -> Tensor:  # [count, d]
        return self.points[torch.randint(len(self.points), (count,), generator=noise(self.seed, _DRAW, step))]

    def learn(self, student: Network, teacher: Network, step: int) -> None:
        if self.rounds % self.every == 0:
            self.points = self.search(student, teacher, step)
        self.rounds += 1

    def search(self, student: Network, teacher: Network, step: int) -> Tensor:  # [pool, d]
        """Return new points for the current networks."""
        with torch.no_grad():
            outputs = teacher(self.points[:1]).shape[-1]
        a, b = self.targets
        r = a + (b - a) * torch.rand(len(self.points), 1, outputs, generator=noise(self.seed, _TARGET, step))

        def cost(x: Tensor) -> Tensor:  # [n, p, d] -> [n, p]
            t, s = (f(x.flatten(0, 1)).reshape(*x.shape[:2], -1) for f in (teacher, student))
            return (-self.weight * (t - s).square() + (t - r).square()).sum(-1)

        settings = {"population": self.population, "generations": self.generations}
        return evolve(cost, self.low, self.high, len(self.points), noise(self.seed, _EVOLVE, step), **settings)[0]

    def state_dict(self) -> dict[str, Tensor]:
        return {"points": self.points.clone(), "rounds": torch.tensor(self.rounds)}

    def load_state_dict(self, flat) -> None:
        self.points, self.rounds = flat["points"].clone(), int(flat["rounds"])
