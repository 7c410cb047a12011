"""Points of a step: its rows or Gaussian inputs, the perturbed points, the starts of the search, the cotangents.

Each is a function of (seed, step) and the recipe. ``perturb_twin`` is the specification of the operator ``perturb``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ..errors import RecipeError
from ..objectives import StepRecipe
from .philox import ASCENT, INPUT, PERTURB, normal, signs

__all__ = [
    "ascent_start",
    "clamp",
    "cotangents",
    "gaussian_inputs",
    "perturb_twin",
    "perturbed",
    "random_points",
    "smooth",
]


def _per_feature(values: float | tuple[float, ...] | Tensor, x: Tensor, name: str) -> float | Tensor:
    """Return a number unchanged, or d numbers in the shape of one row of ``x``."""
    if isinstance(values, (int, float)):
        return float(values)
    flat = torch.as_tensor(values, dtype=x.dtype, device=x.device).flatten()
    features = math.prod(x.shape[1:])
    if flat.numel() != features:
        raise RecipeError(
            f"{name} has {flat.numel()} numbers and a row has {features} features.",
            f"Give {name} one number, or one per feature.",
        )
    return flat.reshape(x.shape[1:])


def clamp(x: Tensor, recipe: StepRecipe) -> Tensor:  # [P, ...] -> [P, ...]
    """Clamp into the recipe's box, if it has one."""
    if recipe.low is not None:
        x = torch.maximum(x, torch.as_tensor(_per_feature(recipe.low, x, "low"), dtype=x.dtype, device=x.device))
    if recipe.high is not None:
        x = torch.minimum(x, torch.as_tensor(_per_feature(recipe.high, x, "high"), dtype=x.dtype, device=x.device))
    return x


def _noise(
    x: Tensor, seed: int, stream: int, step: int, draws: int, recipe: StepRecipe | None = None, first: int = 0
) -> Tensor:  # [B, draws, ...]
    features = math.prod(x.shape[1:])
    flat = normal(seed, stream, step, x.shape[0], draws, features, first=first, device=x.device).to(x.dtype)
    flat = flat if recipe is None else smooth(flat.flatten(0, 1), recipe)
    return flat.reshape(x.shape[0], draws, *x.shape[1:])


def smooth(noise: Tensor, recipe: StepRecipe) -> Tensor:  # [P, ...] -> [P, ...]
    """White noise as the recipe wants it: smooth over places or time steps where it has a ``noise_length``."""
    if not recipe.noise_length:
        return noise
    from ..data.places import Places  # late: tools/gpu_check runs the core with torch, NumPy and pydantic alone

    places = Places(recipe.shape, recipe.channel_axis)
    return places.smooth(noise.reshape(-1, places.d), recipe.noise_length).reshape(noise.shape)


def perturbed(
    x: Tensor,  # [B, ...]
    recipe: StepRecipe,
    seed: int,
    step: int,
    perturb: Callable[..., Tensor],  # the operator, or its twin
) -> Tensor:  # [B * draws, ...]
    """Return the perturbed points of a step, rows outermost, inside the recipe's box."""
    if not recipe.noise_length:
        return clamp(perturb(x, recipe.sigma, recipe.draws, seed, step).flatten(0, 1), recipe)
    white = perturb(torch.zeros_like(x), 1.0, recipe.draws, seed, step)
    sigma = _per_feature(recipe.sigma, x, "sigma")
    moved = x[:, None] + sigma * smooth(white.flatten(0, 1), recipe).reshape(white.shape)
    return clamp(moved.flatten(0, 1), recipe)


def perturb_twin(
    x: Tensor,  # [B, ...]
    sigma: float | tuple[float, ...] | Tensor,  # one number, or one per feature
    draws: int,
    seed: int,
    step: int,
) -> Tensor:  # [B, draws, ...]
    """Return ``x + sigma * eps``, eps = normal(PERTURB, step, sample b, draw k, feature j); rounds twice."""
    return x[:, None] + _per_feature(sigma, x, "sigma") * _noise(x, seed, PERTURB, step, draws)


def gaussian_inputs(
    samples: int, shape: tuple[int, ...], seed: int, step: int, *, dtype=torch.float32, device="cpu"
) -> Tensor:
    """Return inputs N(0, I) [samples, *shape] for a run without data: stream INPUT, fresh at every step."""
    flat = normal(seed, INPUT, step, samples, 1, math.prod(shape), device=device)
    return flat.to(dtype).reshape(samples, *shape)


def ascent_start(x: Tensor, recipe: StepRecipe, seed: int, step: int, first: int = 0) -> Tensor:  # [B, ...]
    """Return the start of the search for disagreement: ``from_anchor * x + ascent_sigma * eps`` on stream ASCENT.

    ``first``: the number of the first of these rows in its step.
    """
    shift = recipe.ascent_sigma * _noise(x, seed, ASCENT, step, 1, recipe, first)[:, 0]
    return clamp(x + shift if recipe.ascent_from_anchor else shift, recipe)


def random_points(x: Tensor, recipe: StepRecipe, seed: int, step: int, first: int = 0) -> Tensor:  # [B, C, ...]
    """Return random points around each row (or around 0), among which the largest disagreement is picked."""
    shift = recipe.ascent_sigma * _noise(x, seed, ASCENT, step, recipe.ascent_candidates, recipe, first)
    around = x[:, None] + shift if recipe.ascent_from_anchor else shift
    return clamp(around.flatten(0, 1), recipe).reshape(around.shape)


def cotangents(
    kind: str, samples: int, outputs: int, recipe: StepRecipe, seed: int, step: int, device="cpu", row: int = 0
) -> Tensor | None:
    """Return random signs for all points of a kind, [points, C, o], or None if every output is taken in turn.

    Slots of the draw index: 0 original, 1 + k the k-th perturbation, 1 + K ascended; slot * C + c is the draw.
    ``row``: the number of the first of the ``samples`` rows in its step.
    """
    count = recipe.cotangent_count(outputs)
    if count == 0:
        return None
    slots = {"original": (0, 1), "perturbed": (1, recipe.draws), "ascended": (1 + recipe.draws, 1)}
    first, many = slots[kind]
    all_signs = signs(seed, step, samples, first * count, many * count, outputs, sample=row, device=device)
    return all_signs.reshape(samples * many, count, outputs)
