"""What the terms ask of any student and teacher: the search for points of disagreement, products with Jacobians.

They take points, not noise, so that they serve any sampler: perturbed rows, Gaussian inputs, a generator's output.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from .bases import squared
from .step_recipe import StepRecipe

__all__ = [
    "Network",
    "ascend",
    "is_differentiable",
    "jacobian_products",
    "pick_farthest",
]

Network = Callable[[Tensor], Tensor]  # [B, ...] -> [B, o]


def is_differentiable(teacher: Network) -> bool:
    """Return whether autograd can pass through a teacher: its ``differentiable`` attribute, or being an nn.Module."""
    return bool(getattr(teacher, "differentiable", isinstance(teacher, nn.Module)))


def ascent_gradient(
    student: Network, teacher: Network, x: Tensor, recipe: StepRecipe, whole: int | None = None
) -> Tensor:  # [B, ...]
    """Return the gradient over the inputs of ``mean(-|S-T|^2 + ridge |S|^2)`` plus weight decay, for a search step.

    ``whole``: the rows of the step, over which the mean is, where these are some of them.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_(True)
        s = student(x)
        loss = (-squared(s, teacher(x)) + recipe.ascent_ridge * s.square().sum(-1)).mean()
        (grad,) = torch.autograd.grad(loss, x)
    grad = grad if whole is None else grad * (len(x) / whole)
    return grad + recipe.ascent_weight_decay * x.detach()


def ascent_update(x: Tensor, grad: Tensor, v: Tensor, recipe: StepRecipe) -> tuple[Tensor, Tensor]:
    """Take one step of the search: return ``(x, v)``, both [B, ...]. ``v`` is RMSprop's state, initially 0."""
    if recipe.ascent_rule == "rmsprop":
        v = 0.99 * v + 0.01 * grad * grad
        return x - recipe.ascent_size * grad / (v.sqrt() + 1e-8), v
    if recipe.ascent_rule == "sign":
        return x - recipe.ascent_size * grad.sign(), v
    length = (grad.flatten(1).square().sum(1) + 1e-24).sqrt().reshape(-1, *[1] * (grad.ndim - 1))
    return x - recipe.ascent_size * grad / length, v


def ascend(
    student: Network,
    teacher: Network,
    start: Tensor,  # [B, ...]
    recipe: StepRecipe,
    clamp: Callable[[Tensor], Tensor] = lambda x: x,
    whole: int | None = None,  # rows of the step, where ``start`` has some of them
) -> Tensor:  # [B, ...], a constant
    """Return points of disagreement, found from ``start`` by input ascent (Zhou & Chiam 2023, bounded ascent)."""
    x, v = start.detach(), torch.zeros_like(start)
    for _ in range(recipe.ascent_steps):
        x, v = ascent_update(x, ascent_gradient(student, teacher, x, recipe, whole), v, recipe)
        x = clamp(x)
    return x.detach()


@torch.no_grad()
def pick_farthest(student: Network, teacher: Network, points: Tensor) -> Tensor:  # [B, C, ...] -> [B, ...]
    """Return of each row's C points the one with the largest |S-T|^2: the search that needs no gradient."""
    b, c = points.shape[:2]
    flat = points.reshape(b * c, *points.shape[2:])
    best = squared(student(flat), teacher(flat)).reshape(b, c).argmax(1)
    return points[torch.arange(b, device=points.device), best]


def jacobian_products(
    f: Network,
    points: Tensor,  # [P, ...]
    cotangents: Tensor | None,  # [P, C, o], or None: every output in turn
    *,
    graph: bool,
) -> tuple[Tensor, Tensor]:
    """Return ``(f(x) [P, o], J^T v [P, C, ...])``, differentiable with ``graph``. Rows must not mix in ``f``."""
    with torch.enable_grad():
        x = points.detach().requires_grad_(True)
        out = f(x)
        count = out.shape[-1] if cotangents is None else cotangents.shape[1]
        products = []
        for c in range(count):
            v = torch.zeros_like(out) if cotangents is None else cotangents[:, c].to(out.dtype)
            if cotangents is None:
                v[:, c] = 1
            # Of a sum, for given cotangents make torch import a second of packages.
            (g,) = torch.autograd.grad((out * v).sum(), x, create_graph=graph, retain_graph=graph or c + 1 < count)
            products.append(g)
    return out, torch.stack(products, 1)


@torch.no_grad()
def central_products(teacher: Network, points: Tensor, cotangents: Tensor | None, half: float) -> Tensor:  # [P, C, ...]
    """J^T v of a teacher without gradients, by central differences: 2 d teacher evaluations per point."""
    flat = points.flatten(1)
    columns = []
    for j in range(flat.shape[1]):
        shift = torch.zeros_like(flat)
        shift[:, j] = half
        up, down = ((flat + s * shift).reshape(points.shape) for s in (1, -1))
        columns.append((teacher(up) - teacher(down)) / (2 * half))
    jacobian = torch.stack(columns, -1)  # [P, o, d]
    if cotangents is not None:
        jacobian = cotangents.to(jacobian.dtype) @ jacobian
    return jacobian.reshape(points.shape[0], -1, *points.shape[1:])
