"""From what is known of the inputs to the sampler of a kind (:mod:`regkd_edge.recipes.samplers`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from ..data.places import Places
from ..fused import answers
from .anchored import TargetAnchored
from .gaussian import DescribedInputs, Gaussian
from .generator import AdversarialGenerator
from .latent import TunedLatent, fit_vae, tune
from .sampler import Network, Sampler
from .spread import Spread

__all__ = ["Context", "anchored", "gaussian", "generator", "latent", "spread"]

_LATENT = 4  # numbers of the latent, as in tools/reproduce/nguyen2021.py
_LATENT_OF_TENSORS = 8


@dataclass(frozen=True)
class Context:
    """What a sampler can be made from; arrays and tensors are standardised.

    Parameters
    ----------
    name : str
        Of the kind.
    d : int
    teacher : callable
        [n, d] -> [n, o].
    scaler : Scaler
        From raw inputs to the space of the points.
    description : InputDescription or None
    rows : (x [N, d], y [N, o]) or None
        The rows that the student sees; None without data.
    like : float64 [n, d] or None
        Real inputs beside a description, raw units.
    many : int
        Points per step.
    sigma : tuple of float
        Of the noise around a row: one number, or one per feature.
    seed : int
    places : Places or None
        How the numbers of a row lie where rows are images or signals.
    """

    name: str
    d: int
    teacher: Network
    scaler: Any
    description: Any
    rows: Any
    like: Any
    many: int
    sigma: tuple[float, ...]
    seed: int
    places: Places | None = None


def gaussian(about: Context) -> Sampler:
    """N(0, 1) in every feature."""
    return Gaussian(about.d, seed=about.seed)


def spread(about: Context) -> Sampler:
    """Points spread as described, or wider."""
    return Spread(about.name, about.description, about.scaler, seed=about.seed)


def generator(about: Context) -> Sampler:
    """An adversarial network (Kang & Kang 2021)."""
    return AdversarialGenerator(about.d, seed=about.seed, batch=about.many)


def anchored(about: Context) -> Sampler:
    """Points whose answers are near random targets (Zhou & Chiam 2023)."""
    low, high = (torch.from_numpy(v).float() for v in about.description.box(about.scaler))
    around = answers(about.teacher, DescribedInputs(about.description, about.scaler, seed=about.seed).draw(2048, 0))
    # The authors' outputs lie in (0, 1); here the targets span what the teacher answers to described inputs (ours).
    span = torch.quantile(around, torch.tensor([0.01, 0.99]))
    return TargetAnchored(low, high, seed=about.seed, targets=(span[0].item(), span[1].item()))


def latent(about: Context) -> Sampler:
    """From the rows and their labels; without data from ``like`` rows, the teacher's answers, its uncertainty."""
    if about.rows is None:
        x = torch.from_numpy(about.scaler.standardize(about.like)).float()
        c, reward = answers(about.teacher, x), "uncertainty"
    else:
        (x, c), reward = (torch.from_numpy(v).float() for v in about.rows), "label"
    flat = about.places is None
    vae = fit_vae(x, c, latent=_LATENT if flat else _LATENT_OF_TENSORS, seed=about.seed, places=about.places)
    tuned = tune(vae, about.teacher, c, reward=reward, seed=about.seed)
    return TunedLatent(vae, tuned, about.teacher, c, reward=reward, seed=about.seed)
