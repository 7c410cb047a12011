"""Inputs from a tuned latent distribution, for a student whose rows come from elsewhere (after Nguyen et al. 2021).

The paper is about classification and its code is not public; this is our adaptation to regression. A conditional VAE
learns x given c, where c is the label or the teacher's output. Its latent N(mu, sigma^2) is then moved to where the
teacher handles the decoded points well: ``J(mu, sigma) = mean r(G(z, c), c) - kappa KL(N(mu, sigma^2) | N(0, I))`` is
maximised by Bayesian optimisation (a Gaussian process of scikit-learn with expected improvement).
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ..data.places import Places
from ..errors import DataError, RecipeError
from .sampler import Network, Sampler, noise

__all__ = ["ConditionalVAE", "Latent", "TunedLatent", "fit_vae", "maximise", "tune"]

_FIT, _NOISE, _TUNE, _DRAW = 30, 31, 32, 33
STEPS, STEPS_OF_TENSORS = 2000, 1000  # of the training of a VAE
REWARDS = ("label", "uncertainty")


class ConditionalVAE(nn.Module):
    """Encoder (x, c) -> N(m, s^2) of k numbers, decoder (z, c) -> x with Gaussian noise of one learnt scale."""

    def __init__(self, features: int, conditions: int, latent: int = 4, hidden: int = 64):
        super().__init__()
        self.features, self.latent = features, latent
        self.encoder = nn.Sequential(nn.Linear(features + conditions, hidden), nn.Tanh(), nn.Linear(hidden, 2 * latent))
        self.decoder = nn.Sequential(nn.Linear(latent + conditions, hidden), nn.Tanh(), nn.Linear(hidden, features))
        self.log_scale = nn.Parameter(torch.zeros(()))

    def loss(self, x: Tensor, c: Tensor, eps: Tensor) -> Tensor:  # [B, d], [B, o], [B, k] -> scalar
        """Return the negative evidence lower bound."""
        mean, log_sd = self.encode(x, c).chunk(2, 1)
        decoded = self.decode(mean + log_sd.exp() * eps, c)
        fit = 0.5 * ((x - decoded) / self.log_scale.exp()).square().sum(1) + self.features * self.log_scale
        kl = 0.5 * (mean.square() + (2 * log_sd).exp() - 1 - 2 * log_sd).sum(1)
        return (fit + kl).mean()

    def encode(self, x: Tensor, c: Tensor) -> Tensor:  # [n, d], [n, o] -> [n, 2 k]
        return self.encoder(torch.cat([x, c], 1))

    def decode(self, z: Tensor, c: Tensor) -> Tensor:  # [n, k], [n, o] -> [n, d]
        return self.decoder(torch.cat([z, c], 1))


def fit_vae(
    x: Tensor,
    c: Tensor,
    *,
    latent: int = 4,
    hidden: int = 64,
    steps: int | None = None,
    batch: int = 64,
    seed: int = 0,
    places: Places | None = None,
) -> ConditionalVAE:
    """Fit to rows x [N, d] and conditions c [N, o], standardised; Adam, 2e-3 with cosine decay. ``places`` of rows that
    are images or signals: a :class:`~regkd_edge.sampling.latent_tensors.ConvolutionalVAE`.
    """
    if len(x) < 2 or len(x) != len(c):
        raise DataError(
            f"a conditional VAE needs at least 2 rows with their conditions, got {len(x)} and {len(c)}.",
            "Give more rows.",
        )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if places is None:
            vae = ConditionalVAE(x.shape[1], c.shape[1], latent, hidden)
        else:
            from .latent_tensors import ConvolutionalVAE

            vae = ConvolutionalVAE(places, c.shape[1], latent)
    steps = steps or (STEPS if places is None else STEPS_OF_TENSORS)
    optimizer = torch.optim.Adam(vae.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = noise(seed, _FIT, 0)
    for _ in range(steps):
        index = torch.randint(len(x), (min(batch, len(x)),), generator=generator)
        with torch.enable_grad():
            loss = vae.loss(x[index], c[index], torch.randn(len(index), latent, generator=generator))
            optimizer.zero_grad()
            loss.backward()
        optimizer.step()
        schedule.step()
    return vae.requires_grad_(False)


def maximise(
    score, low: np.ndarray, high: np.ndarray, *, evaluations: int = 40, first: int = 12, seed: int = 0
) -> tuple[np.ndarray, float]:
    """Maximise ``score(v) -> float`` over a box by Bayesian optimisation; return ``(best v, its score)``.

    Latin-hypercube starts, then the largest expected improvement under a Matern-5/2 process among 2000 random
    candidates.
    """
    from scipy.stats import norm, qmc
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    rng = np.random.default_rng(seed)
    tried = qmc.LatinHypercube(len(low), rng=rng).random(min(first, evaluations))
    found = [score(low + (high - low) * v) for v in tried]
    kernel = ConstantKernel() * Matern(0.3, (0.05, 5.0), nu=2.5) + WhiteKernel(1e-4, (1e-8, 0.3))
    while len(found) < evaluations:
        y = np.asarray(found)
        unit = (y - y.mean()) / (y.std() or 1.0)
        with warnings.catch_warnings():  # reaching a bound of the kernel is not a failure here
            warnings.simplefilter("ignore", UserWarning)
            process = GaussianProcessRegressor(kernel, random_state=0).fit(tried, unit)
        near = np.clip(tried[unit.argmax()] + 0.1 * rng.standard_normal((500, len(low))), 0, 1)
        candidates = np.concatenate([rng.random((1500, len(low))), near])
        mean, sd = process.predict(candidates, return_std=True)
        gain = mean - unit.max()
        improvement = gain * norm.cdf(gain / np.maximum(sd, 1e-9)) + sd * norm.pdf(gain / np.maximum(sd, 1e-9))
        tried = np.concatenate([tried, candidates[improvement.argmax()][None]])
        found.append(score(low + (high - low) * tried[-1]))
    best = int(np.argmax(found))
    return low + (high - low) * tried[best], found[best]


@dataclass(frozen=True)
class Latent:
    """A latent distribution N(mu, sigma^2), k numbers each, and the J it reached."""

    mu: tuple[float, ...]
    sigma: tuple[float, ...]
    score: float


def reward_of(teacher: Network, x: Tensor, c: Tensor, reward: str, generator: torch.Generator) -> Tensor:  # [n]
    """Return for ``label`` -|T(x) - c|^2, for ``uncertainty`` minus the variance of T under noise of 0.05 (4 draws)."""
    with torch.no_grad():
        if reward == "label":
            return -(teacher(x) - c).square().sum(1)
        draws = torch.stack([teacher(x + 0.05 * torch.randn(x.shape, generator=generator)) for _ in range(4)])
        return -draws.var(0).sum(1)


def tune(
    vae: ConditionalVAE,
    teacher: Network,
    c: Tensor,
    *,
    reward: str = "label",
    kappa: float = 0.01,
    points: int = 512,
    evaluations: int = 40,
    seed: int = 0,
) -> Latent:
    """Return the latent distribution of largest J over mu in [-2, 2], sigma in [0.2, 2] (c [N, o] from the rows)."""
    if reward not in REWARDS:
        raise RecipeError(f"reward '{reward}' is unknown.", f"Use one of: {', '.join(REWARDS)}.")
    k = vae.latent
    z0 = torch.randn(points, k, generator=noise(seed, _TUNE, 0))  # the same draws for every (mu, sigma) make J smooth
    labels = c[torch.randint(len(c), (points,), generator=noise(seed, _TUNE, 1))]

    def score(v: np.ndarray) -> float:
        mu, sigma = (torch.tensor(part, dtype=torch.float32) for part in (v[:k], v[k:]))
        x = vae.decode(mu + sigma * z0, labels)
        kl = 0.5 * (mu.square() + sigma.square() - 1 - 2 * sigma.log()).sum().item()
        return reward_of(teacher, x, labels, reward, noise(seed, _TUNE, 2)).mean().item() - kappa * kl

    low, high = np.r_[np.full(k, -2.0), np.full(k, 0.2)], np.r_[np.full(k, 2.0), np.full(k, 2.0)]
    best, value = maximise(score, low, high, evaluations=evaluations, seed=seed)
    plain = score(np.r_[np.zeros(k), np.ones(k)])
    if plain >= value:  # the untuned latent is a candidate too
        return Latent((0.0,) * k, (1.0,) * k, plain)
    return Latent(tuple(best[:k]), tuple(best[k:]), value)


class TunedLatent(Sampler):
    """Sampler of the tuned latent that keeps the share ``keep`` of each draw with the highest reward."""

    def __init__(
        self,
        vae: ConditionalVAE,
        latent: Latent,
        teacher: Network,
        c: Tensor,
        *,
        reward: str = "label",
        keep: float = 0.5,
        seed: int = 0,
    ):
        if not 0 < keep <= 1:
            raise RecipeError(f"keep must be a share in (0, 1], got {keep!r}.", "Give the share of the points to keep.")
        self.vae, self.latent, self.teacher, self.c = vae, latent, teacher, c
        self.reward, self.keep, self.seed, self.features = reward, keep, seed, vae.features

    @torch.no_grad()
    def draw(self, count: int, step: int) -> Tensor:  # [count, d]
        generator, many = noise(self.seed, _DRAW, step), math.ceil(count / self.keep)
        mu, sigma = (
            torch.tensor(self.latent.mu, dtype=torch.float32),
            torch.tensor(self.latent.sigma, dtype=torch.float32),
        )
        z = mu + sigma * torch.randn(many, self.vae.latent, generator=generator)
        c = self.c[torch.randint(len(self.c), (many,), generator=generator)]
        x = self.vae.decode(z, c)
        best = reward_of(self.teacher, x, c, self.reward, generator).topk(count).indices
        return x[best.sort().values]
