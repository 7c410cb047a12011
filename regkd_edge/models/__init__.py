"""Networks: students from a spec, imported teachers, models on disk."""

from __future__ import annotations

from .families import FAMILIES, Cost, Family
from .mlp import ACTIVATIONS, MLP
from .predict import predict
from .spec import MLPSpec, Spec, build, cost_of, family_of, parse_spec, places_for, shape_for
from .store import SavedModel, load_model, save_model
from .student import Student
from .teacher import Teacher
from .teachers import ArrayFunction, answers_of, check_teacher, load_teacher, open_teacher, save_teacher, teacher_for

__all__ = [
    "ACTIVATIONS",
    "ArrayFunction",
    "Cost",
    "FAMILIES",
    "Family",
    "MLP",
    "MLPSpec",
    "SavedModel",
    "Spec",
    "Student",
    "Teacher",
    "answers_of",
    "build",
    "check_teacher",
    "cost_of",
    "family_of",
    "load_model",
    "load_teacher",
    "open_teacher",
    "parse_spec",
    "places_for",
    "predict",
    "save_model",
    "save_teacher",
    "shape_for",
    "teacher_for",
]
