"""The bases: one value per row from the student's output, the teacher's and the label (METHODS sections 0 and 4).

Every function takes and returns plain tensors, ``s``, ``t``, ``y`` of shape [B, o] and a result of shape [B]; autograd
runs through ``s`` only. :func:`base_rows` is the dispatcher that a :class:`StepRecipe` goes through;
:func:`base_rows_and_gradient` adds the derivative in closed form for the twin of the kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..errors import RecipeError
from .rows import RowQuantities
from .step_recipe import StepRecipe

__all__ = ["base_rows", "base_rows_and_gradient", "blend", "huber", "relational", "squared", "tbr", "tor"]

_TINY = 1e-7  # inside tor's root, as in the third party's code


def squared(s: Tensor, target: Tensor) -> Tensor:
    """Compute |s - target|^2, summed over the outputs."""
    return (s - target).square().sum(-1)


def huber(s: Tensor, target: Tensor, delta: float = 1.0) -> Tensor:
    """Compute r^2/2 for |r| < delta, else delta (|r| - delta/2), summed over the outputs (delta = 1 is smooth L1)."""
    r = (s - target).abs()
    return torch.where(r < delta, 0.5 * r * r, delta * (r - 0.5 * delta)).sum(-1)


def blend(s: Tensor, t: Tensor, y: Tensor, label: float | Tensor, teacher: float | Tensor) -> Tensor:
    """Compute label |S-y|^2 + teacher |S-T|^2, each weight one number or one per row: mimic, blend, ail and mix have
    this form."""
    return label * squared(s, y) + teacher * squared(s, t)


def tbr(
    s: Tensor, t: Tensor, y: Tensor, e: Tensor, nu: float = 0.5, margin: float = 0.0, imitate: bool = False
) -> Tensor:
    """Compute teacher-bounded regression (Chen et al. 2017): smooth L1 on the label, plus a squared term while the
    student is worse than the teacher by the margin. The gate is a constant for the gradient."""
    to_label = squared(s, y)
    gate = (to_label.detach() + margin > e).to(s.dtype)
    return huber(s, y) + nu * gate * (squared(s, t) if imitate else to_label)


def tor(s: Tensor, t: Tensor, y: Tensor, outlier: Tensor, drop: bool = False) -> Tensor:
    """Compute teacher outlier rejection (Imaoka et al. 2020): the label for an inlier, the root of the distance to the
    teacher for an outlier (Euclidean over several outputs: ours), zero for one that is dropped."""
    if drop:
        return torch.where(outlier, torch.zeros_like(s[..., 0]), squared(s, y))
    r2 = squared(s, t)
    # The root has no derivative at S = T: the double `where` gives 0 there, never NaN.
    distance = torch.where(r2 > 0, torch.where(r2 > 0, r2, torch.ones_like(r2)).sqrt(), torch.zeros_like(r2))
    return torch.where(outlier, (distance + _TINY).sqrt(), squared(s, y))


def relational(s: Tensor, t: Tensor) -> Tensor:
    """Compute relational distillation by distances (Park et al. 2019, equation 6): per row the mean over the others of
    the Huber loss between the distance of the student's outputs and of the teacher's, each in units of its mean."""
    if s.shape[0] < 2:
        return torch.zeros_like(s[..., 0])
    off = ~torch.eye(s.shape[0], dtype=torch.bool, device=s.device)

    def distances(out: Tensor) -> Tensor:  # [B, B-1]
        r2 = (out[:, None] - out[None]).square().sum(-1)[off].reshape(len(out), -1)
        # The root has no derivative at 0: the double `where` gives 0 there, never NaN.
        r = torch.where(r2 > 0, torch.where(r2 > 0, r2, torch.ones_like(r2)).sqrt(), torch.zeros_like(r2))
        return r / r.mean().clamp(min=1e-12)

    return huber(distances(s)[..., None], distances(t)[..., None]).mean(1)


def label_and_teacher_weights(recipe: StepRecipe, rows: RowQuantities) -> tuple[float | Tensor, float | Tensor] | None:
    """Return the two weights of a base of the form ``a_i |S-y|^2 + b_i |S-T|^2``, or None for another form."""
    if recipe.base == "tor" and recipe.outlier_loss == "squared":
        outlier = _need(rows.outlier, "tor", "outlier").to(rows.t.dtype)
        return 1.0 - outlier, outlier
    a = recipe.alpha
    if recipe.base == "labels":
        return 1.0, 0.0
    if recipe.base == "mimic":
        return 0.0, 1.0
    if recipe.base == "blend":
        return a, 1.0 - a
    if recipe.base == "ail":
        return a, (1.0 - a) * _need(rows.phi, "ail", "phi")
    if recipe.base == "mix":
        mix = _need(rows.mix, "mix", "mix")
        return 1.0 - mix, mix
    return None


def base_rows(
    recipe: StepRecipe, s: Tensor, t: Tensor | None, y: Tensor | None, rows: RowQuantities | None
) -> Tensor:  # [B]
    """Return the recipe's base for each row, times the row's weight. ``rows`` are the quantities of the same rows."""
    rows = rows if rows is not None else RowQuantities(t)
    if recipe.needs_labels and y is None:
        raise RecipeError(f"base '{recipe.base}' needs labels, and there are none.", "Use base 'mimic', or give y.")
    if recipe.base == "huber":
        value = huber(s, y, recipe.delta)
    elif recipe.base == "tbr":
        value = tbr(s, t, y, _need(rows.e, "tbr", "e"), recipe.nu, recipe.margin, recipe.imitate)
    elif recipe.base == "tor" and recipe.outlier_loss != "squared":
        value = tor(s, t, y, _need(rows.outlier, "tor", "outlier"), recipe.outlier_loss == "drop")
    elif recipe.base == "rkd":
        value = squared(s, t) + recipe.nu * relational(s, t)
    elif recipe.base == "none":
        value = torch.zeros_like(s[..., 0])
    else:
        label, teacher = label_and_teacher_weights(recipe, rows)
        value = (
            squared(s, t) if y is None else squared(s, y) if recipe.base == "labels" else blend(s, t, y, label, teacher)
        )
    return value if rows.weight is None else rows.weight * value


def base_rows_and_gradient(
    recipe: StepRecipe, s: Tensor, t: Tensor | None, y: Tensor | None, rows: RowQuantities | None
) -> tuple[Tensor, Tensor]:
    """Return ``(value [B], d value / d s [B, o])`` in closed form, as the kernel computes it in one pass."""
    if recipe.base_in_torch:
        raise RecipeError(
            f"no closed form: {recipe.base_in_torch}.", "Use distill_steps with backend 'auto' or 'torch'."
        )
    value = base_rows(recipe, s, t, y, rows)
    rows = rows if rows is not None else RowQuantities(t)
    if recipe.base == "huber":
        grad = (s - y).clamp(-recipe.delta, recipe.delta)
    elif recipe.base == "tbr":
        gate = (squared(s, y) + recipe.margin > rows.e).to(s.dtype)[..., None]
        grad = (s - y).clamp(-1, 1) + 2 * recipe.nu * gate * (s - (t if recipe.imitate else y))
    elif recipe.base == "tor" and recipe.outlier_loss != "squared":
        grad = 2 * (s - y)
        if recipe.outlier_loss == "drop":
            away = torch.zeros_like(grad)
        else:
            r = squared(s, t).sqrt()[..., None]
            away = torch.where(
                r > 0,
                (s - t) / torch.where(r > 0, r, torch.ones_like(r)) * 0.5 / (r + _TINY).sqrt(),
                torch.zeros_like(s),
            )
        grad = torch.where(rows.outlier[..., None], away, grad)
    elif recipe.base == "none":
        grad = torch.zeros_like(s)
    else:
        label, teacher = (w[..., None] if isinstance(w, Tensor) else w for w in label_and_teacher_weights(recipe, rows))
        grad = torch.zeros_like(s)
        if not (isinstance(label, float) and label == 0.0):
            grad = grad + 2 * label * (s - y)
        if not (isinstance(teacher, float) and teacher == 0.0):
            grad = grad + 2 * teacher * (s - t)
    return value, grad if rows.weight is None else rows.weight[..., None] * grad


def _need(value: Tensor | None, base: str, name: str) -> Tensor:
    if value is None:
        raise RecipeError(
            f"base '{base}' needs the row quantity '{name}'.", "Pass rows=row_quantities(teacher outputs, labels)."
        )
    return value
