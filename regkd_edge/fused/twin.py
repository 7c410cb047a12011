"""``distill_step_twin``: one step of two MLPs by the explicit passes, in torch, as in the compiled core.

Same noise, same points, same formulas as :func:`regkd_edge.fused.reference.step_loss`, but no autograd: the derivatives
are those of :mod:`.passes`. In float64 it is the reference for the kernels, in float32 the fallback for
them.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..objectives import KERNEL_COLUMNS, LOSS_COLUMNS, RowQuantities, StepRecipe, base_rows_and_gradient
from ..objectives.networks import ascent_update
from ..recipes import TERMS
from . import points
from .passes import Net, forward, pull_back, second_order, value_gradient

__all__ = ["distill_step_twin"]


@torch.no_grad()
def distill_step_twin(
    student: Net,
    teacher: Net | None,
    x: Tensor,  # [B, d]
    y: Tensor | None,  # [B, o]
    rows: RowQuantities | None,  # of these rows
    recipe: StepRecipe,
    *,
    seed: int,
    step: int,
    total: int,
) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """``(terms [1 + kernels], dW, db)``: the row of the table of losses
    (``KERNEL_COLUMNS``) and the gradient of its first entry.
    """
    weights = {name: w for name, w in zip(LOSS_COLUMNS[1:], recipe.weights(step, total)) if name in KERNEL_COLUMNS}
    made_by = {term.points: name for name, term in TERMS.items() if term.kernel and term.points}
    kinds = _points_by_kind(student, teacher, x, recipe, seed, step)
    terms = dict.fromkeys(weights, x.new_zeros(()))
    dw, db = [torch.zeros_like(w) for w in student.weights], [torch.zeros_like(b) for b in student.biases]
    matched = sum(kinds[kind].shape[0] for kind in recipe.gm_points)

    def add(gradient: tuple[list[Tensor], list[Tensor]]) -> None:
        for into, parts in zip((dw, db), gradient):
            for tensor, part in zip(into, parts):
                tensor += part

    for kind, where in kinds.items():
        ours = forward(student, where)
        theirs = forward(teacher, where) if teacher is not None and recipe.needs_teacher else None
        if kind == "original":
            if recipe.base_active:
                t = rows.t if rows is not None and rows.t is not None else theirs.out if theirs is not None else None
                value, slope = base_rows_and_gradient(recipe, ours.out, t, y, rows)
                terms["base"] = value.mean()
                add(value_gradient(student, ours, weights["base"] / where.shape[0] * slope))
        else:
            name = made_by[kind]
            away = ours.out - theirs.out
            terms[name] = away.square().sum(1).mean()
            add(value_gradient(student, ours, 2.0 * weights[name] / where.shape[0] * away))
        if kind in recipe.gm_points:
            value, gradient = _match_gradients(
                student, ours, teacher, theirs, kind, x.shape[0], recipe, weights["gm"] / matched, seed, step
            )
            terms["gm"] = terms["gm"] + value / matched
            add(gradient)
    loss = sum(weights[name] * terms[name] for name in weights)
    return torch.stack([loss, *terms.values()]), dw, db


def _points_by_kind(student, teacher, x, recipe, seed, step) -> dict[str, Tensor]:
    kinds = {}
    if recipe.base_active or "original" in recipe.gm_points:
        kinds["original"] = x
    if "perturbed" in recipe.made:
        kinds["perturbed"] = points.clamp(
            points.perturb_twin(x, recipe.sigma, recipe.draws, seed, step).flatten(0, 1), recipe
        )
    if "ascended" in recipe.made:
        z = points.ascent_start(x, recipe, seed, step)
        v = torch.zeros_like(z)
        for _ in range(recipe.ascent_steps):
            ours, theirs = forward(student, z), forward(teacher, z)
            away = ours.out - theirs.out
            # d/dx of mean(-|S-T|^2 + ridge |S|^2), each network pulled back once.
            up = pull_back(student, ours, -2.0 * away + 2.0 * recipe.ascent_ridge * ours.out)[0]
            up = (up + pull_back(teacher, theirs, 2.0 * away)[0]) / z.shape[0] + recipe.ascent_weight_decay * z
            z, v = ascent_update(z, up, v, recipe)
            z = points.clamp(z, recipe)
        kinds["ascended"] = z
    return kinds


def _match_gradients(student, ours, teacher, theirs, kind, samples, recipe, weight, seed, step):
    """Return the sum over the kind's points of |J_S - J_T|_F^2 and the gradient of ``weight`` times it."""
    outputs = ours.out.shape[1]
    signs = points.cotangents(kind, samples, outputs, recipe, seed, step)
    count = outputs if signs is None else signs.shape[1]
    share = 1.0 if signs is None else 1.0 / count
    value = ours.out.new_zeros(())
    dw, db = None, None
    for c in range(count):
        v = (
            torch.eye(outputs, dtype=ours.out.dtype)[c].expand_as(ours.out)
            if signs is None
            else signs[:, c].to(ours.out.dtype)
        )
        g, ds, us = pull_back(student, ours, v)
        away = g - pull_back(teacher, theirs, v)[0]
        value = value + share * away.square().sum()
        more_w, more_b = second_order(student, ours, ds, us, 2.0 * weight * share * away)
        dw = more_w if dw is None else [a + b for a, b in zip(dw, more_w)]
        db = more_b if db is None else [a + b for a, b in zip(db, more_b)]
    return value, (dw, db)
