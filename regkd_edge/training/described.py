"""A table for a run that has none: inputs as described, with the teacher's answers as targets."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from torch import nn

from ..config import DistillConfig
from ..config.contradictions.loaded import require_units
from ..data import Columns, Table
from ..data.arrays import require_shape
from ..data.named import column_names
from ..errors import DataError
from ..io.words import counted
from ..models import Teacher, places_for
from ..sampling import DescribedInputs, InputDescription
from .known import STANDARD, description_of

__all__ = ["described_rows"]

_ROWS = 4000


def described_rows(teacher: Teacher, config: DistillConfig, seed: int, shape: tuple[int, ...] | None = None) -> Table:
    """A table for a student that has none (``no_data``): inputs as described, the teacher's answers as targets.

    It serves the reports: every RMSE on it is a distance from the teacher. The student sees none of its rows.
    ``shape``: that of a row that is an image or a signal.
    """
    require_units(teacher)
    shape = shape or teacher.shape
    names = _names(config, teacher, None if shape is None else math.prod(shape))
    require_shape(shape, len(names), "the described inputs")
    places = places_for(config.student, len(names), shape)
    description = description_of(config, teacher, names)
    z = np.random.default_rng([seed, 7]).standard_normal((_ROWS, len(names)))
    x = description.inputs(DescribedInputs(description, seed=seed, places=places).scores(z))
    if teacher.shape is None:
        teacher.read_as(shape, x if teacher.units == "raw" else teacher.scalers.x.standardize(x))
    try:
        y = teacher.predict(x)
    except Exception as error:  # a foreign module may raise anything on rows of this width
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise DataError(
            f"the teacher ({teacher.source}) fails on rows of {counted(len(names), 'input')}: {reason}.",
            "Describe each of its inputs, in order.",
        ) from error
    if not np.isfinite(y).all():
        raise DataError(
            "the teacher's answers to the described inputs are not finite.", "Check --describe and --units."
        )
    targets = list(teacher.extra.get("target_names") or [f"y{j}" for j in range(y.shape[1])])
    constant = [name for name, values in zip(targets, y.T) if values.min() == values.max()]
    if constant:
        raise DataError(
            f"the teacher gives the same answer to all described inputs (target '{constant[0]}').",
            "Check --describe and --units.",
        )
    note = (
        f"no rows were given: {_ROWS:,} inputs were drawn from the description and answered by the teacher; "
        "every RMSE is a distance from the teacher on them"
    )
    table = Table(x, y, list(names), targets, "described inputs", [note], input_shape=shape)
    return table if shape is None else replace(table, columns=Columns.of_tensors(x, names))


def _names(config: DistillConfig, teacher: Teacher, d: int | None) -> list[str]:
    """Return the inputs of a teacher when no table names them."""
    stored = teacher.extra.get("feature_names")
    if stored:
        return list(stored)
    if config.describe not in (None, STANDARD):
        return InputDescription.from_yaml(config.describe).names
    if config.like is not None:
        return column_names(config.like)
    if d is not None:
        return [f"x{j}" for j in range(d)]
    layer = next((m for m in teacher.module.modules() if isinstance(m, nn.Linear)), None)
    if teacher.widths[0] is not None:
        return [f"x{j}" for j in range(teacher.widths[0])]
    if layer is None:
        raise DataError(
            "the number of inputs is unknown: neither a table nor the teacher tells it.",
            "Give --describe inputs.yaml, or --data.",
        )
    return [f"x{j}" for j in range(layer.in_features)]
