"""Sources of teachers, one per file; :func:`load_teacher` accepts any of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from ...config.sources import factory_of
from ...data import Scalers
from ...errors import ModelError
from ..teacher import Teacher
from ..weights import read_weights
from .callables import ArrayFunction
from .checks import check_teacher
from .estimator_networks import with_network
from .factory import from_factory
from .file import from_file
from .intake import open_teacher, teacher_for
from .module import from_module
from .named_scaler import scalers_named
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
    scalers: Scalers | str | Path | None = None,
    feature_names: Sequence[str] | None = None,
    target_names: Sequence[str] | None = None,
    output: str | int | None = None,
    trust: bool = False,
) -> Teacher:
    """Return a teacher from any supported source.

    Parameters
    ----------
    source : Teacher, nn.Module, regressor, callable, str or path
        A torch module (a copy is taken), an object with ``predict(x)``, a function on float64 arrays
        [n, d] -> [n, o] or [n]; a run folder; a file (ONNX, ``torch.export``, TorchScript, XGBoost, LightGBM, CatBoost,
        skops); or ``"package.module:factory"`` or ``"path/to/file.py:factory"``.
    weights : path, optional
        State dict or checkpoint for a factory: ``.safetensors``, or a ``.pt`` that loads with ``weights_only``.
    units : ``"raw"`` or ``"standardized"``
        Units of a module's inputs and outputs.
    scalers : Scalers or path, optional
        For a module in standardized units: the scalers that it was trained with, or a file of them.
    feature_names, target_names : sequences of str, optional
        Names of the inputs and outputs in their order; a data frame is then read by them.
    output : str or int, optional
        Name or index of the output that holds the predictions, where the module returns several.
    trust : bool
        Load pickles, which runs code of those files.

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
    output = None if output is None else str(output)
    name = str(source) if isinstance(source, (str, Path)) else None
    if isinstance(source, nn.Module):
        teacher = from_module(source, None, units, extra, output)
    elif name is not None and factory_of(name) is not None:
        tensors = read_weights(weights, trust=trust) if weights is not None else None
        teacher = from_factory(name, units, tensors, f"'{weights}'", output)
    elif name is not None and (Path(name).suffix if not Path(name).exists() else not Path(name).is_dir()):
        teacher = from_file(name, units, output=output, trust=trust)
    elif name is not None:
        teacher = from_run(name, trust=trust)
    else:
        learnt = getattr(source, "feature_names_in_", None)  # scikit-learn keeps the columns that it was fitted on
        if learnt is not None and "feature_names" not in extra:
            extra["feature_names"] = [str(name) for name in learnt]
        teacher = Teacher(ArrayFunction(source), None, units, type(source).__name__, extra=extra, output=output)
        with_network(teacher)
        if learnt is not None or hasattr(source, "n_features_in_"):  # fitted here: an answer costs little
            teacher.ask_once()
    teacher.extra.update(extra)
    teacher.trust = trust
    if isinstance(scalers, (str, Path)):
        if None in teacher.widths:
            raise ModelError(
                "the numbers of inputs and outputs are unknown before the scaler is read.",
                "Give feature_names and target_names, or the scalers themselves.",
            )
        scalers = scalers_named(str(scalers), *teacher.widths, trust=trust)
    if scalers is not None and teacher.scalers is None and teacher.units == "standardized":
        teacher.scalers = scalers
    if scalers is not None and teacher.units == "raw":
        raise ModelError(
            "scalers belong to a module in standardized units.", "Add units='standardized', or omit scalers."
        )
    return teacher
