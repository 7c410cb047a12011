"""Networks: students from a spec, imported teachers, models on disk."""

from __future__ import annotations

from .mlp import ACTIVATIONS, MLP
from .predict import predict
from .spec import MLPSpec, build, parse_spec
from .store import SavedModel, load_model, save_model
from .student import Student
from .teacher import Teacher
from .teachers import ArrayFunction, answers_of, check_teacher, load_teacher, open_teacher, save_teacher, teacher_for

__all__ = [
    "ACTIVATIONS",
    "ArrayFunction",
    "MLP",
    "MLPSpec",
    "SavedModel",
    "Student",
    "Teacher",
    "answers_of",
    "build",
    "check_teacher",
    "load_model",
    "load_teacher",
    "open_teacher",
    "parse_spec",
    "predict",
    "save_model",
    "save_teacher",
    "teacher_for",
]
