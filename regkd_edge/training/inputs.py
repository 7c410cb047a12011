"""Knowledge of the inputs: a written description, a few rows, or the teacher's scalers; a table drawn from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from ..config import DistillConfig, RunConfig
from ..data import Table
from ..data.named import column_names, read_inputs
from ..errors import DataError
from ..models import Teacher, open_teacher
from ..sampling import InputDescription

__all__ = ["described_rows", "described_table", "description_of", "require_units"]

STANDARD = "standard"
_ROWS = 4000  # of a table drawn for the reports


def description_of(
    config: DistillConfig, teacher: Teacher, names: Sequence[str], rows: np.ndarray | None = None
) -> InputDescription:
    """Return the inputs' description from ``config`` (``describe``, ``like``), ``rows`` [n, d] or the scalers.

    The sources are tried in this order. ``like`` with ``describe`` gives the correlation alone.

    Raises
    ------
    DataError
        The description has a different width, or nothing describes the inputs.
    """
    like = None if config.like is None else InputDescription.from_rows(read_inputs(config.like, names), names)
    if config.describe == STANDARD:  # in the space of the teacher's inputs
        known = teacher.scalers is not None
        description = (
            InputDescription.from_scaler(teacher.scalers.x, names)
            if known
            else InputDescription.standard(len(names), names)
        )
    elif config.describe is not None:
        description = InputDescription.from_yaml(config.describe)
        if description.d != len(names):
            raise DataError(
                f"'{config.describe}' describes {description.d} inputs and the teacher takes {len(names)}.",
                "Describe each input of the teacher, in order.",
            )
    elif like is not None:
        return like
    elif rows is not None:
        return InputDescription.from_rows(rows, names)
    elif teacher.scalers is not None:
        description = InputDescription.from_scaler(teacher.scalers.x, names)
    else:
        raise DataError(
            "nothing is known about the inputs: this teacher stores no scalers.",
            "Give --describe inputs.yaml, --like rows.csv, or --describe standard if its inputs are N(0,1).",
        )
    return description if like is None else replace(description, correlation=like.correlation)


def require_units(teacher: Teacher) -> None:
    """Refuse a teacher in standardised space without scalers: without rows its units have no meaning."""
    if teacher.scalers is None and teacher.units == "standardized":
        raise DataError(
            f"this teacher ({teacher.source}) uses standardized values, and without rows nothing tells how "
            "they are standardized.",
            "Let the factory's module take raw units and give --inputs raw, or distil with rows.",
        )


def described_table(config: RunConfig) -> Table:
    """:func:`described_rows` of the teacher that a configuration names."""
    return described_rows(open_teacher(config.teacher), config.distill, config.seed)


def described_rows(teacher: Teacher, config: DistillConfig, seed: int) -> Table:
    """A table for a student that has none (``no_data``): inputs as described, the teacher's answers as targets.

    It serves the reports: every RMSE on it is a distance from the teacher. The student sees none of its rows.
    """
    require_units(teacher)
    names = _names(config, teacher)
    description = description_of(config, teacher, names)
    x = description.inputs(np.random.default_rng([seed, 7]).standard_normal((_ROWS, len(names))))
    try:
        y = teacher.predict(x)
    except Exception as error:  # a foreign module may raise anything on rows of this width
        reason = str(error).splitlines()[0].rstrip(".") if str(error) else type(error).__name__
        raise DataError(
            f"the teacher ({teacher.source}) fails on rows of {len(names)} inputs: {reason}.",
            "Describe each of its inputs, in order.",
        ) from error
    if not np.isfinite(y).all():
        raise DataError(
            "the teacher's answers to the described inputs are not finite.", "Check --describe and --inputs."
        )
    targets = list(teacher.extra.get("target_names") or [f"y{j}" for j in range(y.shape[1])])
    constant = [name for name, values in zip(targets, y.T) if values.min() == values.max()]
    if constant:
        raise DataError(
            f"the teacher gives the same answer to all described inputs (target '{constant[0]}').",
            "Check --describe and --inputs.",
        )
    note = (
        f"no rows were given: {_ROWS:,} inputs were drawn from the description and answered by the teacher; "
        "every RMSE is a distance from the teacher on them"
    )
    return Table(x, y, list(names), targets, "described inputs", [note])


def _names(config: DistillConfig, teacher: Teacher) -> list[str]:
    """Return the inputs of a teacher when no table names them."""
    stored = teacher.extra.get("feature_names")
    if stored:
        return list(stored)
    if config.describe not in (None, STANDARD):
        return InputDescription.from_yaml(config.describe).names
    if config.like is not None:
        return column_names(config.like)
    layer = next((m for m in teacher.module.modules() if isinstance(m, nn.Linear)), None)
    if layer is None:
        raise DataError(
            "the number of inputs is unknown: neither a table nor the teacher tells it.",
            "Give --describe inputs.yaml, or --data.",
        )
    return [f"x{j}" for j in range(layer.in_features)]
