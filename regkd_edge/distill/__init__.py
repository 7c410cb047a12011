"""Training: a teacher on labels, a student towards its teacher, and the same student by its base alone."""

from __future__ import annotations

from .recipe import optimizer_of, recipe_of
from .result import Trained, save_trained
from .train import baseline, distill, train_teacher

__all__ = ["Trained", "baseline", "distill", "optimizer_of", "recipe_of", "save_trained", "train_teacher"]
