"""Training: a teacher on labels, a student on its teacher, and the same student with its base alone."""

from __future__ import annotations

from .described import described_rows, described_table
from .fits import require_fit
from .guard import check_against_rows, require_teacher
from .objective import optimizer_of, recipe_of
from .result import Trained, save_trained
from .train import baseline, distill, train_teacher

__all__ = [
    "Trained",
    "baseline",
    "check_against_rows",
    "described_rows",
    "described_table",
    "distill",
    "optimizer_of",
    "recipe_of",
    "require_fit",
    "require_teacher",
    "save_trained",
    "train_teacher",
]
