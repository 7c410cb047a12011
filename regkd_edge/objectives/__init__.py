"""Training objectives: bases, matching terms, and the recipe that names and weights them (needs torch)."""

from .bases import base_rows, base_rows_and_gradient, blend, huber, squared, tbr, tor
from .recipe import ASCENT_RULES, BASES, OUTLIER_LOSSES, OUTLIER_RULES, POINT_KINDS, TERMS, Schedule, StepRecipe
from .rows import RowQuantities, row_quantities
from .terms import ascend, gradient_rows, is_differentiable, jacobian_products, matching, pick_candidates

__all__ = [
    "ASCENT_RULES",
    "BASES",
    "OUTLIER_LOSSES",
    "OUTLIER_RULES",
    "POINT_KINDS",
    "TERMS",
    "RowQuantities",
    "Schedule",
    "StepRecipe",
    "ascend",
    "base_rows",
    "base_rows_and_gradient",
    "blend",
    "gradient_rows",
    "huber",
    "is_differentiable",
    "jacobian_products",
    "matching",
    "pick_candidates",
    "row_quantities",
    "squared",
    "tbr",
    "tor",
]
