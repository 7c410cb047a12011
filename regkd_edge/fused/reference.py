"""The step for any student module and any teacher, by autograd: the definition that all else is compared with.

One pass over all points of the step together; gradients of the networks by autograd, of the student twice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import RecipeError
from ..objectives import RowQuantities, StepRecipe, base_rows, is_differentiable, pick_farthest
from ..objectives.bases import squared
from ..objectives.heads import check_two_heads, first_head
from ..objectives.matching import StepPoints
from ..objectives.networks import Network, ascend, central_products
from ..recipes import TERMS
from . import points
from .share import Slice

__all__ = ["Operators", "searches_at_random", "step_loss", "synthetic_points"]


@dataclass(frozen=True)
class Operators:
    """The single-call operators that a step of any network goes through (:mod:`.ops`)."""

    perturb: Callable[..., Tensor]
    matching_loss: Callable[..., Tensor]


def searches_at_random(recipe: StepRecipe, teacher: Network | None) -> bool:
    """Return whether ABM must pick among random points: on request, or because the teacher has no gradient."""
    return recipe.ascent_rule == "random" or not is_differentiable(teacher)


def synthetic_points(
    student: Network,
    teacher: Network,
    x: Tensor,  # [B, ...]
    recipe: StepRecipe,
    seed: int,
    step: int,
    perturb: Callable[..., Tensor] = points.perturb_twin,
    part: Slice | None = None,
) -> dict[str, Tensor]:
    """Return ``perturbed`` [B*K, ...] (rows outermost) and ``ascended`` [B, ...], as the recipe needs; constants."""
    made, first, whole = {}, 0, None
    if part is not None:
        perturb, first, whole = part.placed(perturb), part.first, part.whole
    if "perturbed" in recipe.made:
        made["perturbed"] = points.perturbed(x, recipe, seed, step, perturb)
    if "ascended" in recipe.made:
        if searches_at_random(recipe, teacher):
            made["ascended"] = pick_farthest(student, teacher, points.random_points(x, recipe, seed, step, first))
        else:
            start = points.ascent_start(x, recipe, seed, step, first)
            made["ascended"] = ascend(student, teacher, start, recipe, lambda z: points.clamp(z, recipe), whole)
    return made


def step_loss(
    student: Network,
    teacher: Network | None,
    x: Tensor,  # [B, ...] the step's rows
    y: Tensor | None,  # [B, o]
    rows: RowQuantities | None,  # of these rows
    recipe: StepRecipe,
    *,
    seed: int,
    step: int,
    total: int,
    operators: Operators | None = None,
    part: Slice | None = None,
) -> tuple[Tensor, Tensor]:
    """``(loss, terms)``: the scalar to differentiate, and the detached row of the table of losses (``LOSS_COLUMNS``).

    ``operators`` compute the noise and the base in place of their definitions in torch, with the same values. ``part``:
    which rows of the step these are, where they are not all; the losses are means over them.
    """
    weights = recipe.weights(step, total)
    whole, student = student, first_head(student, y.shape[-1]) if recipe.second_head else student
    kinds: dict[str, Tensor] = {}
    if recipe.base_active or "original" in recipe.gm_points:
        kinds["original"] = x.detach()
    perturb = points.perturb_twin if operators is None else operators.perturb
    if recipe.needs_teacher:
        kinds.update(synthetic_points(student, teacher, x.detach(), recipe, seed, step, perturb, part))
    sizes = [p.shape[0] for p in kinds.values()]
    everywhere = torch.cat(list(kinds.values()))
    if recipe.gm_points:
        everywhere.requires_grad_(True)
    heads = whole(everywhere).to(x.dtype)  # [P, o], or [P, 2 o] with a second head; autocast computes in another type
    if recipe.second_head:
        check_two_heads(heads, y.shape[-1])
    out = heads[..., : y.shape[-1]] if recipe.second_head else heads
    t, products = _ask_teacher(teacher, everywhere, kinds, sizes, rows, recipe)

    row = 0 if part is None else part.first

    def signs(kind: str) -> Tensor | None:
        return points.cotangents(kind, x.shape[0], out.shape[-1], recipe, seed, step, out.device, row)

    at = StepPoints(
        student, teacher, recipe, everywhere, kinds, dict(zip(kinds, out.split(sizes))), t, out, products, signs
    )
    zero = out.new_zeros(())
    base = zero
    if recipe.base_active:
        if operators is None or recipe.base_in_torch:
            base = base_rows(recipe, at.s["original"], t.get("original"), y, rows).mean()
        else:
            known = RowQuantities(t.get("original")) if rows is None or rows.t is None else rows
            base = operators.matching_loss(at.s["original"], known, y, recipe.base_alone)
    if recipe.second_head:
        second = dict(zip(kinds, heads.split(sizes)))["original"][..., y.shape[-1] :]
        base = base + recipe.second_head * squared(second, t["original"]).mean()
    values = [base, *(term.resolve()(at) if recipe.weight_of(name).active else zero for name, term in TERMS.items())]
    loss = sum((w * value for w, value in zip(weights, values)), start=zero)
    return loss, torch.stack([v.detach() for v in (loss, *values)])


@dataclass(eq=False)
class _Products:
    """J_T^T v of a teacher at ``z``. After the last one its graph is freed,
    as large as the student's; see StepPoints."""

    teacher: Network
    z: Tensor
    out: Tensor | None

    def __call__(self, v: Tensor, last: bool = False) -> Tensor:
        if self.out is None:  # another term asks after the last of one
            with torch.enable_grad():
                self.out = self.teacher(self.z).to(self.z.dtype)
        (product,) = torch.autograd.grad((self.out * v).sum(), self.z, retain_graph=not last)
        if last:
            self.out = None
        return product


def _ask_teacher(teacher, everywhere, kinds, sizes, rows, recipe):
    """Return the teacher's outputs by kind, and a function (cotangents or None) -> J^T v at all points."""
    if not recipe.needs_teacher:
        return {}, None
    stored = rows.t if rows is not None else None
    exact = is_differentiable(teacher)
    if recipe.gm_points and not exact and recipe.teacher_gradient != "central":
        raise RecipeError(
            "gradient matching (w_gm) needs the teacher's gradient, and this teacher has none.",
            "Set w_gm to 0, or teacher_gradient='central' (2 d teacher evaluations per point).",
        )
    if recipe.gm_points and exact:
        with torch.enable_grad():
            z = everywhere.detach().requires_grad_(True)
            out = teacher(z).to(z.dtype)
        answers = dict(zip(kinds, out.detach().split(sizes)))
        if stored is not None:
            answers["original"] = stored
        return answers, _Products(teacher, z, out)
    with torch.no_grad():
        if stored is not None:
            new = {kind: p for kind, p in kinds.items() if kind != "original"}
            answers = {"original": stored}
        else:
            new, answers = kinds, {}
        if new:
            where = torch.cat([p.detach() for p in new.values()])
            out = teacher(where).to(where.dtype)
            answers.update(zip(new, out.split([p.shape[0] for p in new.values()])))
    where = everywhere.detach()
    return answers, lambda v, last=False: central_products(teacher, where, v[:, None], recipe.teacher_step)[:, 0]
