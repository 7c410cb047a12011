"""Inputs from a generator trained against the student (Kang & Kang 2021, as in Zhou & Chiam 2023's code)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..errors import RecipeError
from ..fused import Optimizer, TrainState, answers
from ..models.mlp import MLP
from ..objectives.networks import is_differentiable
from .sampler import Network, Sampler, noise, standard_normal

__all__ = ["AdversarialGenerator"]

_DRAW, _LEARN, _START = 10, 11, 12


class AdversarialGenerator(Sampler):
    """Sampler x = G(z), z ~ N(0, I), with G trained to find where student and teacher disagree.

    One learning step per round minimises ``mean[-|T-S|^2 + gamma |S|^2] + beta sum[|x|^2]``: the last two keep the
    student's outputs and the points from diverging. The sum is over the whole batch, not its mean, as in the
    authors' code: with a mean the points diverge much further.

    Parameters
    ----------
    features : int
        d.
    latent, hidden : int
        Widths of z and of G's hidden layer (tanh, linear output); 50 and 500 in the authors' code.
    batch : int
        Points per learning step; in the authors' code as many as a step of the student takes from the generator.
    beta, gamma : float
        1e-5 each in the authors' code.
    optimizer : Optimizer
        RMSprop, 1e-3, weight decay 1e-5 in the authors' code.
    """

    def __init__(
        self,
        features: int,
        *,
        seed: int = 0,
        latent: int = 50,
        hidden: int = 500,
        batch: int = 50,
        beta: float = 1e-5,
        gamma: float = 1e-5,
        optimizer: Optimizer = Optimizer("rmsprop", 1e-3, weight_decay=1e-5),
    ):
        self.features, self.latent, self.batch, self.seed = features, latent, batch, seed
        self.beta, self.gamma, self.optimizer = beta, gamma, optimizer
        self.network = MLP([latent, hidden, features], "tanh", generator=noise(seed, _START, 0))
        self.state = TrainState()

    @torch.no_grad()
    def draw(self, count: int, step: int) -> Tensor:  # [count, d]
        return answers(self.network, standard_normal(self.seed, _DRAW, step, count, self.latent))

    def learn(self, student: Network, teacher: Network, step: int) -> None:
        if not is_differentiable(teacher):
            raise RecipeError(
                "the adversarial generator needs the teacher's gradient, and this teacher has none.",
                "Use the samplers gaussian or anchored, or abm with the rule 'random'.",
            )
        with torch.enable_grad():
            x = self.network(standard_normal(self.seed, _LEARN, step, self.batch, self.latent))
            s = student(x)
            loss = (-(teacher(x) - s).square() + self.gamma * s.square()).sum(1).mean() + self.beta * x.square().sum()
            weights = list(self.network.parameters())
            gradients = torch.autograd.grad(loss, weights)
        # The generator's rate is constant, so the total number of rounds does not matter.
        self.optimizer.update(weights, gradients, self.state, total=max(1, self.state.step + 1))

    def state_dict(self) -> dict[str, Tensor]:
        weights = {f"network.{k}": v.detach().clone() for k, v in self.network.state_dict().items()}
        return {**weights, **{f"optimizer.{k}": v for k, v in self.state.state_dict().items()}}

    def load_state_dict(self, flat: Mapping[str, Tensor]) -> None:
        part = lambda name: {k.removeprefix(name): v for k, v in flat.items() if k.startswith(name)}
        self.network.load_state_dict(part("network."))
        self.state = TrainState.load(part("optimizer."))
