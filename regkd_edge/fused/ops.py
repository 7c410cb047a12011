"""The small operators, registered with PyTorch so that they work under autograd, compile and export.

Each runs the compiled core if possible, else its twin. Every operator returns its derivative beside its value
(one pass gives both), and its backward multiplies by the upstream gradient.

Plain eager calls bypass the dispatcher and use the same implementation (see :mod:`.eager`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor, library

from ..errors import RecipeError
from ..objectives import RowQuantities, StepRecipe, base_rows_and_gradient
from . import native_operators
from .eager import layout_of, plainly_eager, with_gradient
from .points import perturb_twin

__all__ = ["matching_loss", "matching_loss_twin", "perturb", "stored_recipe"]

ROW_FIELDS = ("t", "e", "phi", "outlier", "mix", "weight")


@lru_cache(maxsize=256)
def stored_recipe(text: str) -> StepRecipe:
    """The recipe of a ``StepRecipe.text``: how an operator of PyTorch carries one."""
    return StepRecipe.from_dict(json.loads(text))


# perturb


def _perturbed(x, sigma, draws, seed, step):
    fast = native_operators.perturb(x, sigma, draws, seed, step)
    return (
        fast if fast is not None else perturb_twin(x, sigma if sigma.numel() > 1 else float(sigma), draws, seed, step)
    )


_perturb = library.custom_op(
    "regkd_edge::perturb", mutates_args=(), schema="(Tensor x, Tensor sigma, int draws, int seed, int step) -> Tensor"
)(_perturbed)


@_perturb.register_fake
def _(x, sigma, draws, seed, step):
    return x.new_empty((x.shape[0], draws, *x.shape[1:]))


_perturb.register_autograd(lambda ctx, upstream: (upstream.sum(1), None, None, None, None))


def perturb(
    x: Tensor,  # [B, ...]
    sigma: float | Sequence[float] | Tensor,
    draws: int,
    seed: int,
    step: int,
) -> Tensor:  # [B, draws, ...]
    """Return ``x + sigma * eps`` with ``draws`` fresh normals per element,
    bit-identical on every device, by core or torch.

    Parameters
    ----------
    x : Tensor
        Rows of any shape; the element of a row is its feature.
    sigma : float or d floats
        Standard deviation, in the units of ``x``.
    draws, seed, step : int
        K >= 1; the key in [0, 2^63); the step in [0, 2^32).

    Raises
    ------
    RecipeError
        ``sigma`` has neither one number nor one per feature, or ``draws``, ``seed`` or ``step`` are out of range.
    """
    for name, value, low, high in (("draws", draws, 1, 65536), ("seed", seed, 0, 2**63), ("step", step, 0, 2**32)):
        if not low <= value < high:
            raise RecipeError(f"{name} must be at least {low} and below {high}, got {value}.", f"Change {name}.")
    sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).flatten()
    features = x[:1].numel() if x.shape[0] else 1
    if sigma.numel() not in (1, features):
        raise RecipeError(
            f"sigma has {sigma.numel()} numbers and a row has {features} features.",
            "Give sigma one number, or one per feature.",
        )
    if plainly_eager(x) and not (x.requires_grad and torch.is_grad_enabled()):
        return _perturbed(x, sigma, draws, seed, step)
    return _perturb(x, sigma, draws, seed, step)


# matching_loss


def _loss_and_slope(s, y, rows, recipe):
    fast = native_operators.matching_loss(s, y, rows, recipe)
    return fast if fast is not None else matching_loss_twin(s, y, rows, recipe)


@library.custom_op(
    "regkd_edge::matching_loss",
    mutates_args=(),
    schema="(Tensor s, Tensor? y, Tensor? t, Tensor? e, Tensor? phi, Tensor? outlier, Tensor? mix, Tensor? weight,"
    " str recipe)"
    " -> (Tensor, Tensor)",
)
def _matching_loss(s, y, t, e, phi, outlier, mix, weight, recipe):
    return _loss_and_slope(s, y, RowQuantities(t, e, phi, outlier, mix, weight), stored_recipe(recipe))


@_matching_loss.register_fake
def _(s, y, t, e, phi, outlier, mix, weight, recipe):
    return s.new_empty(()), torch.empty_like(s)


_matching_loss.register_autograd(
    lambda ctx, upstream, _: (upstream * ctx.saved_tensors[0], *[None] * 8),
    setup_context=lambda ctx, inputs, output: ctx.save_for_backward(output[1]),
)


def matching_loss_twin(
    s: Tensor, y: Tensor | None, rows: RowQuantities, recipe: StepRecipe
) -> tuple[Tensor, Tensor]:  # scalar, [B, o]
    """The specification of ``matching_loss``: ``(mean over the rows of the base, its derivative by s)``."""
    with torch.no_grad():
        value, slope = base_rows_and_gradient(recipe, s, rows.t, y, rows)
        return value.mean(), slope / s.shape[0]


def matching_loss(
    s: Tensor,  # [B, o] the student's output, of any network
    rows: RowQuantities,  # of these rows
    y: Tensor | None,  # [B, o]
    recipe: StepRecipe,
) -> Tensor:  # scalar
    """Compute the recipe's base on outputs, value and gradient in one pass: squared, Huber, ail, tbr, tor, row weights.

    Differentiable by ``s``; the teacher's outputs, the labels and the row quantities are constants.

    Raises
    ------
    RecipeError
        The base needs labels or a row quantity that is missing, or the shapes differ.
    """
    for name, other in (("y", y), ("rows.t", rows.t)):
        if other is not None and other.shape != s.shape:
            raise RecipeError(
                f"the student's output has shape {tuple(s.shape)} and {name} has {tuple(other.shape)}.",
                "Give both as [rows, outputs].",
            )
    if recipe.base_in_torch:
        raise RecipeError(f"the operator has no such base: {recipe.base_in_torch}.", "Use objectives.base_rows.")
    if plainly_eager(s):
        value, slope = _loss_and_slope(s, y, rows, recipe)
        return with_gradient(value, slope.flatten(), [s], layout_of([s.shape]))
    return _matching_loss(s, y, *(getattr(rows, name) for name in ROW_FIELDS), recipe.text)[0]
