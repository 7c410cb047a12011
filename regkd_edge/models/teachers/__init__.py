"""Sources of teachers, one per file; :func:`load_teacher` accepts any of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ...data import Scalers
from ...errors import ModelError
from ..store import read_tensors
from ..teacher import Teacher
from .callables import ArrayFunction
from .factory import from_factory
from .intake import check_teacher, open_teacher, teacher_for
from .module import from_module
from .run import answers_of, from_run, save_teacher

__all__ = [
    "ArrayFunction",
    "answers_of",
    "check_teacher",
    "load_teacher",
    "open_teacher",
    "save_teacher",
    "teacher_for",
]


def load_teacher(
    source: Any,
    *,
    weights: str | Path | None = None,
    units: str = "raw",
    scalers: Scalers | None = None,
    feature_names: Sequence[str] | None = None,
    target_names: Sequence[str] | None = None,
) -> Teacher:
    """Return a teacher from any supported source.

    Parameters
    ----------
    source : Teacher, nn.Module, regressor, callable, str or path
        A torch module (a copy is taken), an object with ``predict(x)``, a function on float64 arrays
        [n, d] -> [n, o] or [n]; a run folder; or ``"package.module:factory"``.
    weights : path, optional
        State dict for a factory: ``.safetensors``, or a ``.pt`` that loads with ``weights_only``.
    units : ``"raw"`` or ``"standardized"``
        Units of a module's inputs and outputs.
    scalers : Scalers, optional
        For a module in standardized units: the scalers that it was trained with.
    feature_names, target_names : sequences of str, optional
        Names of the inputs and outputs in order; a data frame is then read by them.

    Raises
    ------
    ModelError
        Another kind of source, a module whose layers behave differently in its current training mode, or an unusable
        factory or state dict.
    RunFolderError
        No run folder, or one without a teacher.
    """
    if isinstance(source, Teacher):
        return source
    if units not in ("raw", "standardized"):
        raise ModelError(f"units is {units!r}.", "Use 'raw' or 'standardized'.")
    names = {"feature_names": feature_names, "target_names": target_names}
    extra = {key: [str(name) for name in value] for key, value in names.items() if value is not None}
    if isinstance(source, nn.Module):
        teacher = from_module(source, scalers, units, extra)
    elif isinstance(source, (str, Path)) and ":" in str(source) and not Path(source).exists():
        tensors = read_tensors(weights) if weights is not None else None
        teacher = from_factory(str(source), units, tensors, f"'{weights}'")
        teacher.scalers = scalers
        teacher.extra.update(extra)
    elif isinstance(source, (str, Path)):
        teacher = from_run(source)
        teacher.extra.update(extra)
    else:
        learnt = getattr(source, "feature_names_in_", None)  # scikit-learn keeps the columns that it was fitted on
        if learnt is not None and "feature_names" not in extra:
            extra["feature_names"] = [str(name) for name in learnt]
        teacher = Teacher(ArrayFunction(source), scalers, units, type(source).__name__, extra=extra)
        teacher.differentiable = False
    if scalers is not None and teacher.units == "raw":
        raise ModelError(
            "scalers belong to a module in standardized units.", "Add units='standardized', or omit scalers."
        )
    return teacher
