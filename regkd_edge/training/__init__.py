"""Training: a teacher on labels, a student on its teacher, and the same student with its base alone."""

from __future__ import annotations

from .described import described_rows
from .guard import check_against_rows
from .objective import optimizer_of, recipe_of
from .result import Trained
from .train import baseline, distill, train_teacher

__all__ = [
    "Trained",
    "baseline",
    "check_against_rows",
    "described_rows",
    "distill",
    "optimizer_of",
    "recipe_of",
    "train_teacher",
]
