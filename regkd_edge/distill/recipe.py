"""From the fields of a configuration to the objective and the optimizer of the steps."""

from __future__ import annotations

from ..config import DistillConfig, TeacherConfig
from ..errors import RecipeError
from ..fused import Optimizer
from ..objectives import Schedule, StepRecipe

__all__ = ["optimizer_of", "recipe_of"]


def recipe_of(config: DistillConfig, d: int) -> StepRecipe:
    """The objective that ``config`` names, for d inputs. ABM's weight falls linearly to 0 (METHODS section 1)."""
    sigma = list(config.sigma)
    if len(sigma) not in (1, d):
        raise RecipeError(f"sigma has {len(sigma)} values for {d} inputs.", "Give one number, or one for each input column.")
    return StepRecipe(
        base=config.base,
        alpha=config.alpha,
        nu=config.nu,
        margin=config.margin,
        imitate=config.imitate,
        w_pm=config.w_pm if "pm" in config.terms else 0.0,
        w_abm=Schedule(config.w_abm, 0.0) if "abm" in config.terms else 0.0,
        w_gm=config.w_gm if "gm" in config.terms else 0.0,
        sigma=sigma[0] if len(sigma) == 1 else tuple(sigma),
        draws=config.draws,
        ascent_steps=config.ascent_steps,
        ascent_rule=config.ascent_rule,
        ascent_size=config.ascent_size,
        ascent_sigma=sum(sigma) / len(sigma),
    )


def optimizer_of(config: DistillConfig | TeacherConfig) -> Optimizer:
    """The optimizer that ``config`` names, its learning rate falling to 0 along a cosine."""
    return Optimizer(kind=config.optimizer, lr=config.lr, weight_decay=config.weight_decay, schedule="cosine")
