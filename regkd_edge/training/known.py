"""What is known about the inputs: a description by hand, a few rows, or what the teacher keeps of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..config import DistillConfig
from ..data.named import read_inputs
from ..errors import DataError
from ..models import Teacher
from ..sampling import InputDescription
from ..sampling.synthetic import known_inputs

__all__ = ["STANDARD", "description_of"]

STANDARD = "standard"


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
        drawn = config.kind is not None and config.kind.described
        description = _stored(teacher, names) if drawn else InputDescription.from_scaler(teacher.scalers.x, names)
    else:
        raise DataError(
            "nothing is known about the inputs: this teacher stores no scalers.",
            "Give --describe inputs.yaml, --like rows.csv, or --describe standard if its inputs are N(0,1).",
        )
    return description if like is None else replace(description, correlation=like.correlation)


def _stored(teacher: Teacher, names: Sequence[str]) -> InputDescription:
    """What a teacher keeps of its inputs: a summary of the rows that it was trained on, or its scaler alone."""
    summary = teacher.extra.get("inputs")
    if isinstance(summary, Mapping) and "quantiles" in summary:
        return replace(known_inputs(teacher.scalers.x, dict(summary)).description, names=list(names))
    return InputDescription.from_scaler(teacher.scalers.x, names).recognised()
