"""From the fields of a configuration to the objective and the optimizer of the steps."""

from __future__ import annotations

from collections.abc import Sequence

from ..config import DistillConfig, TeacherConfig
from ..config.fields import weight_parts
from ..errors import RecipeError
from ..fused import Optimizer
from ..objectives import Schedule, StepRecipe

__all__ = ["optimizer_of", "recipe_of", "schedule_of"]


def schedule_of(weight: float | str) -> Schedule:
    """Return a weight from its form in the configuration (``1.0`` or ``"1..0/10"``)."""
    return Schedule(*weight_parts(weight))


def recipe_of(
    config: DistillConfig,
    d: int,
    *,
    fed: bool = False,
    differentiable: bool = True,
    plain: bool = False,
    box: tuple[Sequence[float], Sequence[float]] | None = None,
) -> StepRecipe:
    """Return the objective that ``config`` names, for d inputs.

    Parameters
    ----------
    fed : bool
        A feed supplies the rows, and the weights of the base with them.
    differentiable : bool
        Without a gradient of the teacher, ABM picks among candidates.
    plain : bool
        For a student without a second head or a widened output (as in training after distillation).
    box : (low [d], high [d]), optional
        Bounds of perturbed and searched points, standardised.
    """
    sigma = list(config.sigma)
    if len(sigma) not in (1, d):
        raise RecipeError(
            f"sigma has {len(sigma)} values for {d} inputs.", "Give one number, or one for each input column."
        )
    weights = {
        name: schedule_of(getattr(config, f"w_{name}")) if name in config.terms else 0.0 for name in ("pm", "abm", "gm")
    }
    search = {"ascent_sigma": sum(sigma) / len(sigma)}
    if config.drawn == "direct":
        # Zhou & Chiam 2023, from the authors' code: from N(0, I), with weight decay on the input and a ridge on |S|^2.
        weights["abm"] = schedule_of(config.w_sampler)
        search |= {"ascent_weight_decay": 1e-5, "ascent_ridge": 1e-5}
        if config.describe is None and config.like is None:  # else from described inputs, perturbed by sigma
            search |= {"ascent_sigma": 1.0, "ascent_from_anchor": False}
    return StepRecipe(
        base="mimic" if config.base == "hint" else config.base,
        alpha=config.alpha,
        nu=config.nu,
        margin=config.margin,
        imitate=config.imitate,
        outlier_rule=config.outlier_rule,
        outlier_k=config.outlier_k,
        outlier_loss=config.outlier_loss,
        second_head=config.head_weight if config.heads == 2 and not plain else 0.0,
        w_base=1.0 if fed else schedule_of(config.w_base),
        w_pm=weights["pm"],
        w_abm=weights["abm"],
        w_gm=weights["gm"],
        sigma=sigma[0] if len(sigma) == 1 else tuple(sigma),
        draws=config.draws,
        ascent_steps=config.ascent_steps,
        ascent_rule=config.ascent_rule if differentiable else "candidates",
        ascent_size=config.ascent_size,
        candidates=config.candidates,
        gm_on=tuple(config.gm_on),
        teacher_gradient=config.teacher_gradient,
        teacher_step=config.teacher_step,
        low=None if box is None else tuple(float(v) for v in box[0]),
        high=None if box is None else tuple(float(v) for v in box[1]),
        **search,
    )


def optimizer_of(config: DistillConfig | TeacherConfig) -> Optimizer:
    """Return the optimizer that ``config`` names; a teacher's learning rate has cosine decay to 0."""
    schedule = getattr(config, "lr_schedule", "cosine")
    return Optimizer(kind=config.optimizer, lr=config.lr, weight_decay=config.weight_decay, schedule=schedule)
