"""What only a loaded teacher, or the data, can tell: refused before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...errors import DataError, RecipeError
from ...io.words import counted
from ...recipes import TERMS
from ..objective import AUTO

if TYPE_CHECKING:
    from ..distill import DistillConfig

__all__ = [
    "asks_more_than_answers",
    "require_fit",
    "require_labels",
    "require_noise",
    "require_sigma",
    "require_tensors",
    "require_units",
]

_MOST_CENTRAL = 1_024  # numbers of a row


def asks_more_than_answers(config: DistillConfig) -> bool:
    """Whether some teachers lack what these fields need: gradients, or the hidden layers of an MLP."""
    return config.base == "hint" or (config.teacher_gradient == "exact" and bool(_needs_gradient(config)))


def require_fit(config: DistillConfig, teacher: Any) -> None:
    """Raise :class:`RecipeError` with the reason and the remedy if this teacher lacks something needed.

    Parameters
    ----------
    teacher : Teacher
        Its ``differentiable``, ``mlp``, ``source`` and ``module`` are looked at.
    """
    if not teacher.differentiable and config.teacher_gradient == "exact":
        for what, instead in _needs_gradient(config):
            raise RecipeError(
                f"{what} needs the teacher's gradient, and this teacher has none ({teacher.source} answers values "
                "only).",
                f"Either {instead}, or use finite differences: --teacher-gradient central (2 d teacher evaluations per "
                "point).",
            )
    if config.base == "hint" and teacher.mlp is None:
        raise RecipeError(
            f"base hint needs the hidden layers of an MLP, and this teacher ({teacher.source}) is a "
            f"{type(teacher.module).__name__}.",
            "Use --base mimic.",
        )


def _needs_gradient(config: DistillConfig) -> list[tuple[str, str]]:
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
        elif config.ascent_rule != "random":
            by, instead = f"direct by {config.ascent_rule} steps", "--ascent-rule random or --sampler anchored"
            parts.append((f"the sampler {by}", f"use {instead}"))
    return parts


def require_tensors(config: DistillConfig, places: Any) -> None:
    """Refuse what images and signals do not have yet, or what would cost too much on them.

    Parameters
    ----------
    places : Places or None
        Of rows that are images or signals.
    """
    if places is None:
        return
    if config.teacher_gradient == "central" and places.d > _MOST_CENTRAL and _needs_gradient(config):
        raise RecipeError(
            f"central differences take {2 * places.d:,} teacher evaluations for each point of {places.d:,} numbers, "
            f"expected at most {_MOST_CENTRAL:,} numbers.",
            "Use --recipe auto, or a teacher with gradients.",
        )


def require_units(teacher: Any) -> None:
    """Refuse a teacher in standardized space of unknown scalers: without rows its units have no meaning."""
    if teacher.scalers is None and teacher.units == "standardized":
        raise DataError(
            f"this teacher ({teacher.source}) uses standardized values, and without rows nothing says how "
            "they are standardized.",
            "Let the factory's module take raw units and give --units raw, or distil with rows.",
        )


def require_sigma(sigma: Sequence[float], d: int) -> None:
    """Refuse perturbations that are neither one for all inputs nor one for each."""
    if len(sigma) not in (1, d):
        raise RecipeError(
            f"sigma has {counted(len(sigma), 'value')} for {counted(d, 'input')}.",
            "Give one number, or one for each input column.",
        )


def require_noise(length: float, places: Any) -> None:
    """Refuse noise that is smooth over places where a row has none."""
    if length and places is None:
        raise RecipeError(
            f"noise_length {length:g} needs rows that are images or signals.",
            "Leave it out, or use a conv1d, conv2d or gru student.",
        )


def require_labels(base: str) -> None:
    """Refuse a base that reads labels where none are given."""
    from ..objective import WITHOUT_LABELS

    if base not in WITHOUT_LABELS:
        raise DataError(f"base '{base}' needs labels, and y was not given.", "Give y, or use base='mimic'.")
