"""Networks: students from a spec, imported teachers, models on disk."""

from __future__ import annotations

from .arrays import ArrayFunction
from .mlp import ACTIVATIONS, MLP
from .predict import predict
from .spec import MLPSpec, build, parse_spec
from .store import SavedModel, load_model, save_model
from .teacher import Teacher, load_teacher, open_teacher, save_teacher

__all__ = [
    "ACTIVATIONS",
    "ArrayFunction",
    "MLP",
    "MLPSpec",
    "SavedModel",
    "Teacher",
    "build",
    "load_model",
    "load_teacher",
    "open_teacher",
    "parse_spec",
    "predict",
    "save_model",
    "save_teacher",
]
