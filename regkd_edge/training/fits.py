"""Requirements on the teacher: what needs its gradient or its hidden layers is refused before training."""

from __future__ import annotations

from ..config import DistillConfig
from ..config.objective import AUTO
from ..data import Places
from ..errors import DataError, RecipeError
from ..models import Teacher
from ..recipes import TERMS

__all__ = ["needs_gradient", "require_fit", "require_tensors", "require_units"]

_MOST_CENTRAL = 1_024  # numbers of a row


def needs_gradient(config: DistillConfig) -> list[tuple[str, str]]:
    """The parts of the objective that need the teacher's gradient, each with what to use in its place."""
    parts: list[tuple[str, str]] = []
    if config.recipe == AUTO:  # it takes candidates that fit
        return parts
    for name in config.active_terms:
        if TERMS[name].teacher_gradient:
            parts.append((f"the term {name}", f"omit {name} from --terms"))
    if config.kind is not None and config.kind.teacher_gradient:
        if config.drawn != "direct":
            parts.append((f"the sampler {config.drawn}", "use --sampler gaussian, described or anchored"))
        elif config.ascent_rule != "candidates":
            by, instead = f"direct by {config.ascent_rule} steps", "--ascent-rule candidates or --sampler anchored"
            parts.append((f"the sampler {by}", f"use {instead}"))
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


def require_tensors(config: DistillConfig, places: Places | None) -> None:
    """Refuse what images and signals do not have yet, or what would cost too much on them."""
    if places is None:
        return
    if config.drawn == "latent":
        raise RecipeError(
            "sampler latent has a VAE of flat rows, and this student reads images or signals.",
            "Use --sampler neighbours, generator or direct.",
        )
    if config.teacher_gradient == "central" and places.d > _MOST_CENTRAL and needs_gradient(config):
        raise RecipeError(
            f"central differences take {2 * places.d:,} teacher evaluations for each point of {places.d:,} numbers, "
            f"expected at most {_MOST_CENTRAL:,} numbers.",
            "Use --recipe auto, or a teacher with gradients.",
        )


def require_units(teacher: Teacher) -> None:
    """Refuse a teacher in standardised space of unknown scalers: without rows its units have no meaning."""
    if teacher.scalers is None and teacher.units == "standardized":
        raise DataError(
            f"this teacher ({teacher.source}) uses standardized values, and without rows nothing says how "
            "they are standardized.",
            "Let the factory's module take raw units and give --units raw, or distil with rows.",
        )
