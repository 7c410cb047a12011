"""Names of the objective: bases, terms, samplers, and which fields of a configuration say what is minimised."""

from __future__ import annotations

from ..recipes import TERMS as TABLE
from ..recipes import defaults
from ..recipes.samplers import KINDS
from .fields import weight_parts

__all__ = [
    "AUTO",
    "BASES",
    "GM_ON",
    "LEAST_GAIN",
    "MOST_AUTO",
    "OBJECTIVE",
    "ROUND",
    "SAMPLERS",
    "TERMS",
    "WITHOUT_LABELS",
    "active",
]

BASES = ("mimic", "blend", "ail", "mix", "tbr", "tor", "rkd", "hint")
TERMS = tuple(TABLE)
GM_ON = defaults.POINT_KINDS
SAMPLERS = tuple(KINDS)
AUTO = "auto"
LEAST_GAIN = 0.02  # of the distance to the teacher, by a doubling of the steps
MOST_AUTO = 40_000  # [steps]

WITHOUT_LABELS = ("mimic", "rkd", "hint")  # bases that ask the teacher alone
ROUND = 10  # [steps] of a round, as in Zhou & Chiam 2023

#: Fields that say what is minimised, and on which points.
OBJECTIVE = frozenset(
    {"base", "alpha", "nu", "margin", "imitate", "outlier_rule", "outlier_k", "outlier_loss", "hint_layers", "heads",
     "head_weight", "export_head", "w_base", "terms", "gm_on", "gm_scale", "sigma", "draws", "ascent_rule",
     "ascent_start", "bounds", "ascent_steps", "noise_length", "ascent_size", "ascent_candidates", "sampler",
     "w_sampler", "noise", *(f"w_{name}" for name in TERMS)}
)  # fmt: skip


def active(weight: float | str) -> bool:
    """Whether a weight is ever anything but 0."""
    start, end, _ = weight_parts(weight)
    return start != 0 or end != 0
