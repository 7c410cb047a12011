"""Requirements on the teacher: what needs its gradient or its hidden layers is refused before training."""

from __future__ import annotations

from ..config import DistillConfig
from ..config.fields import weight_parts
from ..errors import RecipeError
from ..models import Teacher

__all__ = ["needs_gradient", "require_fit"]


def needs_gradient(config: DistillConfig) -> list[tuple[str, str]]:
    """Return the parts of the objective that need the teacher's gradient, each with an alternative."""
    parts = []
    if "gm" in config.terms and any(weight_parts(config.w_gm)[:2]):
        parts.append(("the term gm", "omit gm from --terms"))
    if config.drawn == "generator":
        parts.append(("the sampler generator", "use --sampler gaussian, described or anchored"))
    if config.drawn == "direct" and config.ascent_rule != "candidates":
        parts.append(
            (f"the sampler direct by {config.ascent_rule} steps", "use --ascent-rule candidates or --sampler anchored")
        )
    return parts


def require_fit(config: DistillConfig, teacher: Teacher) -> None:
    """Raise :class:`RecipeError` with the reason and the remedy if this teacher lacks something needed."""
    if not teacher.differentiable and config.teacher_gradient == "exact":
        for what, instead in needs_gradient(config):
            raise RecipeError(
                f"{what} needs the teacher's gradient, and this teacher has none ({teacher.source} answers values "
                "only).",
                f"Either {instead}, or use finite differences: --teacher-gradient central (2 d teacher evaluations per point).",
            )
    if config.base == "hint" and teacher.mlp is None:
        raise RecipeError(
            f"base hint needs the hidden layers of an MLP, and this teacher ({teacher.source}) is a "
            f"{type(teacher.module).__name__}.",
            "Use --base mimic.",
        )
