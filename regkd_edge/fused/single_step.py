"""``distill_step``: one whole step of two MLPs as an operator of PyTorch, and the same without autograd.

Registered with PyTorch so that it works under autograd, compile and export. A plain eager call goes past the dispatcher
by a plan (:mod:`.prepared`); what a plan does not fit runs here, on the compiled core if possible, else on the twin.
"""

from __future__ import annotations

import torch
from torch import Tensor, library

from ..errors import DataError, ModelError, RecipeError
from ..models.mlp import MLP
from ..objectives import KERNEL_COLUMNS, RowQuantities, StepRecipe
from . import native_operators, prepared
from .eager import layout_of, parts_of, plainly_eager, with_gradient
from .ops import ROW_FIELDS, stored_recipe
from .passes import Net
from .prepared import tensors_of
from .twin import distill_step_twin

__all__ = ["distill_backward", "distill_step"]


def _step_and_gradient(student, teacher, x, y, rows, activations, recipe, seed, step, total, counter):
    ours, theirs = activations
    s_net = Net(student[::2], student[1::2], ours)
    t_net = Net(teacher[::2], teacher[1::2], theirs) if teacher else None
    fast = native_operators.distill_step(s_net, t_net, x, y, rows, recipe, seed, step, total, counter)
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
    return _step_and_gradient(student, teacher, x, y, rows, names, stored_recipe(recipe), seed, step, total, counter)


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

    In a loop keep ``recipe`` rather than creating it in every step: what is prepared for a student, a teacher and a
    recipe is used again as long as they are the same objects. Their tensors may change in any way in between.

    Parameters
    ----------
    student, teacher : MLP
        A teacher is not needed where the recipe does not ask one.
    x, y : Tensor [B, d] and [B, o] or None
        Standardised rows of the batch and their labels, where the recipe needs them.
    recipe : StepRecipe
    seed, step, total : int
        Of the noise; and the place in a run of ``total`` steps, which sets scheduled weights.
    rows : RowQuantities, optional
        Of these rows, where the recipe weighs rows.
    counter : Tensor [1], int64, optional
        On the device of ``x``; added to ``step``.

    Returns
    -------
    loss, terms
        The loss, whose backward gives the gradient of every parameter of the student (computed already, in the same
        pass), and the detached row of the table of losses. ``x`` is the batch itself; nothing is drawn from it.

    Raises
    ------
    ModelError
        A network is not an MLP (use :func:`regkd_edge.fused.reference.step_loss`), or the widths do not fit.
    DataError
        ``y`` or ``rows`` do not have the rows of ``x``.
    """
    if plainly_eager(x):
        loss, terms, flat, ours, layout = _computed(student, teacher, x, y, recipe, seed, step, total, rows, counter)
        return with_gradient(loss, flat, ours, layout), terms
    ours, theirs, names, rows = _checked(student, teacher, x, y, recipe, rows)
    fields = [getattr(rows, name) for name in ROW_FIELDS]
    theirs = [p.detach() for p in theirs]
    place = (seed, step, total, counter)
    loss, terms, _ = _distill_step(ours, theirs, x, y, *fields, ",".join(names), recipe.text, *place)
    return loss, terms.detach()


def distill_backward(
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
) -> Tensor:  # [5]
    """Add the gradient of :func:`distill_step` to the student's ``.grad`` and return its terms.

    The arguments are those of :func:`distill_step`. The same as ``loss, terms = distill_step(...); loss.backward()``,
    without PyTorch's autograd, which takes longer than a small step. Hooks of parameters run as ever; those of gradient
    accumulators (DistributedDataParallel) do not: call ``backward`` there.

    Raises
    ------
    RecipeError
        The student has no trainable parameter.
    ModelError, DataError
        As :func:`distill_step`.
    """
    if not plainly_eager(x):
        call = {"seed": seed, "step": step, "total": total, "rows": rows, "counter": counter}
        loss, terms = distill_step(student, teacher, x, y, recipe, **call)
        loss.backward()
        return terms
    terms = _straight(student, teacher, x, y, recipe, rows, seed, step, total, counter)
    if terms is not None:
        return terms
    loss, terms, flat, ours, layout = _computed(student, teacher, x, y, recipe, seed, step, total, rows, counter)
    if not any(p.requires_grad for p in ours):
        raise RecipeError("the student has no trainable parameter.", "Unfreeze it, or use another student.")
    if any(map(_needs_autograd, ours)):
        with torch.enable_grad():
            with_gradient(loss, flat, ours, layout).backward()
        return terms
    for p, part in zip(ours, parts_of(flat, layout)):
        if p.requires_grad:
            p.grad = part if p.grad is None else p.grad.add_(part)
    return terms


def _straight(student, teacher, x, y, recipe, rows, *place) -> Tensor | None:
    """From the core into the gradients; None: the general path serves."""
    plan = prepared.find(student, teacher, recipe)
    if plan is None:
        return None
    ours = tensors_of(student)
    if any(map(_needs_autograd, ours)) or not any(p.requires_grad for p in ours):
        return None
    if len(set(map(id, ours))) < len(ours):  # tied: the second gradient is added to the first
        return None
    before = [p.grad if p.requires_grad else None for p in ours]
    into = [torch.empty_like(p) if p.requires_grad and g is None else g for p, g in zip(ours, before)]
    add, theirs = [g is not None for g in before], tensors_of(teacher) if plan.asks else []
    terms = plan.add_to(into, add, ours, theirs, x, y, rows, *place)
    if terms is not None:
        for p, old, new in zip(ours, before, into):
            if old is None and new is not None:
                p.grad = new
    return terms


def _needs_autograd(p: Tensor) -> bool:
    """Whether more happens to a gradient than being added to ``p.grad``: hooks, or a parameter that is computed."""
    return p.requires_grad and bool(p._backward_hooks or p._post_accumulate_grad_hooks or not p.is_leaf)


def _computed(student, teacher, x, y, recipe, seed, step, total, rows, counter):
    """``(loss [], terms [5], flat gradient [P], the student's tensors, where they lie in it)``, without a graph."""
    plan = prepared.find(student, teacher, recipe)
    if plan is not None:
        ours, theirs = tensors_of(student), tensors_of(teacher) if plan.asks else []
        done = plan.run(ours, theirs, x, y, rows, seed, step, total, counter)
        if done is not None:
            return *done, ours, plan.layout
    ours, theirs, names, rows = _checked(student, teacher, x, y, recipe, rows)
    done = _step_and_gradient(ours, theirs, x, y, rows, names, recipe, seed, step, total, counter)
    prepared.prepare(student, teacher, recipe, ours, theirs)
    return *done, ours, layout_of(p.shape for p in ours)


def _checked(student, teacher, x, y, recipe: StepRecipe, rows):
    """``(tensors of the student, of the teacher if it is asked, their activations, rows)``, which fit each other."""
    asked = teacher if recipe.needs_teacher else None
    widths = {}
    for name, net in (("student", student), ("teacher", asked)):
        if net is None and name == "teacher" and not recipe.needs_teacher:
            continue
        if not isinstance(net, MLP):
            raise ModelError(
                f"the {name} is a {type(net).__name__}, and the operator takes MLPs.", "Use reference.step_loss."
            )
        widths[name] = _widths(name, net)
        if widths[name][0] != x.shape[-1]:
            raise ModelError(
                f"the {name} takes {widths[name][0]} inputs and the rows have {x.shape[-1]}.", "Check the data."
            )
    outputs = widths["student"][-1]
    if asked is not None and widths["teacher"][-1] != outputs:
        raise ModelError(
            f"teacher and student have {widths['teacher'][-1]} and {outputs} outputs.", "Give both the same."
        )
    if recipe.torch_only:
        raise RecipeError(f"the operator has no such base: {recipe.torch_only}.", "Use reference.step_loss.")
    if recipe.w_abm.active and recipe.ascent_rule == "random":
        raise RecipeError(
            "the operator searches along gradients only, not among random points.", "Use reference.step_loss."
        )
    rows = rows if rows is not None else RowQuantities(None)
    given = {"y": y if recipe.needs_labels else None}
    if recipe.base_active:
        given.update((f"rows.{name}", getattr(rows, name)) for name in ROW_FIELDS)
    for name, value in given.items():
        expected = (x.shape[0], outputs) if name in ("y", "rows.t") else (x.shape[0],)
        if value is not None and tuple(value.shape) != expected:
            raise DataError(
                f"{name} has shape {tuple(value.shape)} and the step takes {expected}.", "Give one entry per row of x."
            )
    names = (student.activation, asked.activation if asked is not None else "identity")
    return tensors_of(student), [] if asked is None else tensors_of(asked), names, rows


def _widths(name: str, net: MLP) -> list[int]:
    """Inputs, hidden widths, outputs of the layers as they are now, which may have been replaced."""
    tensors, widths = tensors_of(net), []
    for i, (w, b) in enumerate(zip(tensors[::2], tensors[1::2])):
        if b is None:
            raise ModelError(f"layer {i} of the {name} has no bias.", "Give it one of zeros.")
        widths = widths or [w.shape[-1]]
        if w.ndim != 2 or w.shape[1] != widths[-1] or tuple(b.shape) != (w.shape[0],):
            raise ModelError(
                f"layer {i} of the {name} has weights {tuple(w.shape)} and biases {tuple(b.shape)} behind "
                f"{widths[-1]} units.",
                "Give linear layers that fit each other.",
            )
        widths.append(w.shape[0])
    return widths
