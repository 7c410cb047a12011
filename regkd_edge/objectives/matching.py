"""The matching terms in torch, each once: what :mod:`regkd_edge.fused.reference` adds to the base of a step.

Every function takes the points of one step with the answers of both networks and returns a scalar: the mean over the
points of a sum over the outputs (METHODS section 1). The table :data:`regkd_edge.recipes.TERMS` names them; the
explicit passes that the kernels repeat are in :mod:`regkd_edge.fused.twin`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .bases import squared
from .step_recipe import StepRecipe

__all__ = ["StepPoints", "adversarial", "gradient", "perturbation"]


@dataclass(eq=False)
class StepPoints:
    """The points of one step by kind (``original``, ``perturbed``, ``ascended``) and what both networks answer there.

    Parameters
    ----------
    student, teacher : callable
        [P, ...] -> [P, o]; a term may ask them at points of its own.
    recipe : StepRecipe
    everywhere : Tensor [P, ...]
        All points, one kind after the other; requires a gradient where a term needs one.
    points, s, t : dict of Tensor
        Kind -> points [P_k, ...], the student's answers [P_k, o] (with their graph), the teacher's (constants).
    out : Tensor [P, o]
        The student's answers to ``everywhere``.
    teacher_products : callable or None
        ``v [P, o] -> J_T^T v [P, ...]`` at all points, where the recipe matches gradients. ``last=True``: the term asks
        no more, so that what the teacher keeps for it can be freed.
    cotangents : callable
        ``kind -> signs [P_k, C, o]`` or None, where every output is taken in turn.
    """

    student: Callable[[Tensor], Tensor]
    teacher: Callable[[Tensor], Tensor]
    recipe: StepRecipe
    everywhere: Tensor
    points: dict[str, Tensor]
    s: dict[str, Tensor]
    t: dict[str, Tensor]
    out: Tensor
    teacher_products: Callable[..., Tensor] | None
    cotangents: Callable[[str], Tensor | None]


def perturbation(step: StepPoints) -> Tensor:
    """Return mean |S - T|^2 over the perturbed points."""
    return squared(step.s["perturbed"], step.t["perturbed"]).mean()


def adversarial(step: StepPoints) -> Tensor:
    """Return mean |S - T|^2 over the points that the search for disagreement found."""
    return squared(step.s["ascended"], step.t["ascended"]).mean()


def gradient(step: StepPoints) -> Tensor:
    """Return mean |J_S - J_T|_F^2 over the points that ``gm_on`` names, or its estimate by random signs."""
    out, outputs = step.out, step.out.shape[-1]
    count = step.recipe.cotangent_count(outputs)
    chosen = [
        torch.full((p.shape[0],), float(kind in step.recipe.gm_points), dtype=out.dtype, device=out.device)
        for kind, p in step.points.items()
    ]
    mask = torch.cat(chosen)  # [P]
    signs = torch.cat([step.cotangents(kind).to(out.dtype) for kind in step.points]) if count else None  # [P, C, o]
    sums = 0.0
    for c in range(count or outputs):
        v = signs[:, c] if count else torch.eye(outputs, dtype=out.dtype, device=out.device)[c].expand_as(out)
        # The teacher first: its graph is gone before the student's second one is made.
        theirs = step.teacher_products(v, last=c + 1 == (count or outputs))
        (ours,) = torch.autograd.grad((out * v).sum(), step.everywhere, create_graph=True)
        sums = sums + (ours - theirs).flatten(1).square().sum(1)
    return (mask * sums).sum() / (mask.sum() * (count or 1))
