"""The single-call operators, registered with PyTorch so that they work under autograd, compile and export.

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

from ..errors import ModelError, RecipeError
from ..models.mlp import MLP
from ..objectives import KERNEL_COLUMNS, RowQuantities, StepRecipe, base_rows_and_gradient
from . import native
from .eager import WithGradient, plainly_eager
from .passes import Net
from .points import perturb_twin
from .twin import distill_step_twin

__all__ = ["distill_step", "matching_loss", "matching_loss_twin", "perturb"]

_ROW_FIELDS = ("t", "e", "phi", "outlier", "mix", "weight")


@lru_cache(maxsize=256)
def _recipe(text: str) -> StepRecipe:
    return StepRecipe.from_dict(json.loads(text))


# perturb


def _perturbed(x, sigma, draws, seed, step):
    fast = native.perturb(x, sigma, draws, seed, step)
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
    """Return ``x + sigma * eps`` with ``draws`` fresh normals per element, bit-identical on every device and back end.

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
    fast = native.matching_loss(s, y, rows, recipe)
    return fast if fast is not None else matching_loss_twin(s, y, rows, recipe)


@library.custom_op(
    "regkd_edge::matching_loss",
    mutates_args=(),
    schema="(Tensor s, Tensor? y, Tensor? t, Tensor? e, Tensor? phi, Tensor? outlier, Tensor? mix, Tensor? weight,"
    " str recipe)"
    " -> (Tensor, Tensor)",
)
def _matching_loss(s, y, t, e, phi, outlier, mix, weight, recipe):
    return _loss_and_slope(s, y, RowQuantities(t, e, phi, outlier, mix, weight), _recipe(recipe))


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
    if recipe.torch_only:
        raise RecipeError(f"the operator has no such base: {recipe.torch_only}.", "Use objectives.base_rows.")
    if plainly_eager(s):

        def call():
            value, slope = _loss_and_slope(s, y, rows, recipe)
            return value, None, slope.flatten()

        return WithGradient.apply(call, s)[0]
    return _matching_loss(s, y, *(getattr(rows, name) for name in _ROW_FIELDS), recipe.text)[0]


# distill_step


def _step_and_gradient(student, teacher, x, y, rows, activations, recipe, seed, step, total, counter):
    ours, theirs = activations
    s_net = Net(student[::2], student[1::2], ours)
    t_net = Net(teacher[::2], teacher[1::2], theirs) if teacher else None
    fast = native.distill_step(s_net, t_net, x, y, rows, recipe, seed, step, total, counter)
    if fast is None:
        step = step if counter is None else step + int(counter)
        terms, dw, db = distill_step_twin(s_net, t_net, x, y, rows, recipe, seed=seed, step=step, total=total)
        flat = torch.cat([g.reshape(-1) for pair in zip(dw, db) for g in pair])
    else:
        terms, flat = fast
    return terms[0].clone(), terms, flat


@library.custom_op(
    "regkd_edge::distill_step",
    mutates_args=(),
    schema="(Tensor[] student, Tensor[] teacher, Tensor x, Tensor? y, Tensor? t, Tensor? e, Tensor? phi,"
    " Tensor? outlier, Tensor? mix, Tensor? weight, str activations, str recipe, int seed, int step, int total,"
    " Tensor? counter) -> (Tensor, Tensor, Tensor)",
)
def _distill_step(
    student, teacher, x, y, t, e, phi, outlier, mix, weight, activations, recipe, seed, step, total, counter
):
    rows = RowQuantities(t, e, phi, outlier, mix, weight)
    names = activations.split(",")
    return _step_and_gradient(student, teacher, x, y, rows, names, _recipe(recipe), seed, step, total, counter)


@_distill_step.register_fake
def _(student, teacher, x, y, t, e, phi, outlier, mix, weight, activations, recipe, seed, step, total, counter):
    count = sum(p.numel() for p in student)
    return x.new_empty(()), x.new_empty((len(KERNEL_COLUMNS),)), x.new_empty((count,))


def _save_gradient(ctx, inputs, output):
    ctx.shapes = [p.shape for p in inputs[0]]
    ctx.teachers = len(inputs[1])
    ctx.save_for_backward(output[2])


def _scale_gradient(ctx, upstream, _terms, _flat):
    parts = (upstream * ctx.saved_tensors[0]).split([shape.numel() for shape in ctx.shapes])
    student = [part.reshape(shape) for part, shape in zip(parts, ctx.shapes)]
    return (student, [None] * ctx.teachers, *[None] * 14)


_distill_step.register_autograd(_scale_gradient, setup_context=_save_gradient)


def _parameters(net: MLP) -> list[Tensor]:  # W_1, b_1, W_2, ...
    return [p for layer in net.layers for p in (layer.weight, layer.bias)]


def distill_step(
    student: MLP,
    teacher: MLP | None,
    x: Tensor,  # [B, d]
    y: Tensor | None,  # [B, o]
    recipe: StepRecipe,
    *,
    seed: int,
    step: int = 0,
    total: int = 1,
    rows: RowQuantities | None = None,  # of these rows
    counter: Tensor | None = None,  # [1] int64 on the device of x
) -> tuple[Tensor, Tensor]:  # scalar, [5]
    """Compute one whole step of two MLPs as a differentiable operator: sampling, search, matching, base.

    The noise and the weights are those of step ``step + counter``. In a captured CUDA graph (call once before the
    capture) the counter is read on the device at every replay: let the graph add 1 to it.

    Returns
    -------
    loss, terms
        The loss, whose backward gives the gradient of every parameter of the student (computed already, in the same
        pass), and the detached row of the table of losses. ``x`` is the batch itself; nothing is drawn from it.

    Raises
    ------
    ModelError
        A network is not an MLP (use :func:`regkd_edge.fused.reference.step_loss`), or the widths do not fit.
    """
    for name, net in (("student", student), ("teacher", teacher)):
        if net is None and name == "teacher" and not recipe.needs_teacher:
            continue
        if not isinstance(net, MLP):
            raise ModelError(
                f"the {name} is a {type(net).__name__}, and the operator takes MLPs.", "Use reference.step_loss."
            )
        if net.widths[0] != x.shape[-1]:
            raise ModelError(
                f"the {name} takes {net.widths[0]} inputs and the rows have {x.shape[-1]}.", "Check the data."
            )
    if teacher is not None and recipe.needs_teacher and teacher.widths[-1] != student.widths[-1]:
        raise ModelError(
            f"teacher and student have {teacher.widths[-1]} and {student.widths[-1]} outputs.", "Give both the same."
        )
    if recipe.torch_only:
        raise RecipeError(f"the operator has no such base: {recipe.torch_only}.", "Use reference.step_loss.")
    if recipe.w_abm.active and recipe.ascent_rule == "candidates":
        raise RecipeError(
            "the operator searches along gradients only, not among candidates.", "Use reference.step_loss."
        )
    ask = teacher if recipe.needs_teacher else None
    if rows is None:
        rows = RowQuantities(None)
    ours, theirs = _parameters(student), _parameters(ask) if ask is not None else []
    names = (student.activation, ask.activation if ask is not None else "identity")
    if plainly_eager(x):

        def call():
            return _step_and_gradient(ours, theirs, x, y, rows, names, recipe, seed, step, total, counter)

        return WithGradient.apply(call, *ours)
    fields = [getattr(rows, name) for name in _ROW_FIELDS]
    theirs = [p.detach() for p in theirs]
    place = (seed, step, total, counter)
    loss, terms, _ = _distill_step(ours, theirs, x, y, *fields, ",".join(names), recipe.text, *place)
    return loss, terms.detach()
