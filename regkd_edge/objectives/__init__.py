"""Training objectives: bases, matching terms, and the recipe that names and weights them (needs torch)."""

from .bases import base_rows, base_rows_and_gradient, blend, huber, squared, tbr, tor
from .networks import ascend, is_differentiable, jacobian_products, pick_farthest
from .rows import RowQuantities, row_quantities
from .step_recipe import (
    KERNEL_COLUMNS,
    LOSS_COLUMNS,
    POINT_KINDS,
    STEP_BASES,
    Schedule,
    StepRecipe,
)

__all__ = [
    "STEP_BASES",
    "KERNEL_COLUMNS",
    "LOSS_COLUMNS",
    "POINT_KINDS",
    "RowQuantities",
    "Schedule",
    "StepRecipe",
    "ascend",
    "base_rows",
    "base_rows_and_gradient",
    "blend",
    "huber",
    "is_differentiable",
    "jacobian_products",
    "pick_farthest",
    "row_quantities",
    "squared",
    "tbr",
    "tor",
]
