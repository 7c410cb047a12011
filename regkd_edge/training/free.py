"""Distillation without data: rows out of a description of the inputs, answers out of the teacher.

The student trains on fresh synthetic inputs and is selected on others, both answered by the teacher; neither the rows
nor the labels of the run are looked at. They serve the reports alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ..config import DistillConfig
from ..data import Dataset, Scaler, Scalers, Split
from ..errors import DataError
from ..models import Teacher
from ..sampling import DescribedInputs, InputDescription, Spread
from .fits import require_units
from .known import description_of

__all__ = ["Synthetic", "synthetic_rows"]

_MOST = 131_072  # synthetic training rows: beyond, fresh perturbations bring more than fresh rows
_VALIDATION = 2048


@dataclass(frozen=True, eq=False)
class Synthetic:
    """What a student without data trains on; arrays are float64, standardised, ``(x [n, d], y [n, o])``."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    scalers: Scalers
    teacher: nn.Module  # in the space of the scalers
    seen: Split  # no training and no validation row of the run
    description: InputDescription


def synthetic_rows(dataset: Dataset, teacher: Teacher, config: DistillConfig, seed: int) -> Synthetic:
    """Synthetic rows for ``config`` (``describe``, ``like``, ``sampler``), answered by the teacher.

    The samplers that search (generator, direct, anchored, latent) are selected on inputs as described.

    Raises
    ------
    DataError
        No description of the inputs, or one that does not fit the teacher; a teacher that answers all inputs alike.
    """
    require_units(teacher)
    description = description_of(config, teacher, dataset.table.feature_names)
    scalers = teacher.scalers or _learnt(description, teacher, seed)
    network = teacher.standardized(scalers)
    sampler = Spread(config.drawn if config.kind.plain else "described", description, scalers.x, seed=seed)
    parts = []
    for number, count in enumerate((min(config.steps * config.batch, _MOST), _VALIDATION)):
        x = sampler.draw_double(count, number).numpy()
        parts.append((x, _answers(network, x)))
    index = np.arange(0, dtype=np.int64)
    return Synthetic(*parts, scalers, network, replace(dataset.split, train=index, validation=index), description)


def _answers(network: nn.Module, x: np.ndarray) -> np.ndarray:  # [n, d] -> [n, o], both standardised
    with torch.no_grad():
        parts = [network(part) for part in torch.from_numpy(x).float().split(4096)]
    return torch.cat(parts).double().numpy()


def _learnt(description: InputDescription, teacher: Teacher, seed: int) -> Scalers:
    """Scalers for a teacher in raw units: inputs by the description, outputs by its answers to drawn inputs."""
    inputs = description.scaler()
    sampler = DescribedInputs(description, inputs, seed=seed)
    x = sampler.draw(_VALIDATION, 2).double().numpy()
    y = teacher.predict(inputs.restore(x))
    if not np.isfinite(y).all() or (y.std(0) == 0).any():
        raise DataError(
            "the teacher answers all described inputs alike, or with numbers that are not finite.",
            "Check --describe and --inputs.",
        )
    return Scalers(inputs, Scaler.fit(y))
