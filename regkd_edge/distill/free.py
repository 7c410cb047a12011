"""Distillation without data: rows out of a description of the inputs, answers out of the teacher.

The student trains on fresh synthetic inputs and is selected on others, both answered by the teacher; neither the rows nor the
labels of the run are looked at. They serve the reports alone.
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
from ..sampling import DescribedInputs, InputDescription

__all__ = ["Synthetic", "synthetic_rows"]

_MOST = 131_072  # synthetic training rows: beyond, fresh perturbations bring more than fresh rows
_VALIDATION = 2048
_TAIL = 0.7  # of sampling.HeavyTailed


@dataclass(frozen=True, eq=False)
class Synthetic:
    """What a student without data trains on; arrays are float64, standardised, ``(x [n, d], y [n, o])``."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    scalers: Scalers
    teacher: nn.Module  # in the space of the scalers
    seen: Split  # no training and no validation row of the run


def synthetic_rows(dataset: Dataset, teacher: Teacher, config: DistillConfig, seed: int) -> Synthetic:
    """Synthetic rows for ``config`` (``describe``, ``sampler``), answered by the teacher.

    Raises
    ------
    DataError
        No description of the inputs, or one that does not fit the teacher; a teacher that answers all inputs alike.
    """
    names = dataset.table.feature_names
    if config.describe is not None:
        description = InputDescription.from_yaml(config.describe)
        if description.d != dataset.d:
            raise DataError(
                f"'{config.describe}' describes {description.d} inputs and the teacher takes {dataset.d}.",
                "Describe each input of the teacher, in its order.",
            )
    elif teacher.scalers is not None:
        description = InputDescription.from_scaler(teacher.scalers.x, names)
    else:
        raise DataError("nothing is known about the inputs: this teacher stores no scalers.", "Give --describe inputs.yaml.")
    scalers = teacher.scalers or _learnt(description, teacher, seed)
    network = teacher.standardized(scalers)
    sampler = DescribedInputs(description, scalers.x, seed=seed)
    parts = []
    for number, count in enumerate((min(config.steps * config.batch, _MOST), _VALIDATION)):
        x = _draw(sampler, config.sampler, count, number)
        parts.append((x, _answers(network, x)))
    index = np.arange(0, dtype=np.int64)
    return Synthetic(*parts, scalers, network, replace(dataset.split, train=index, validation=index))


def _draw(sampler: DescribedInputs, kind: str, count: int, step: int) -> np.ndarray:  # [count, d] standardised
    x = sampler.draw(count, step).double()
    if kind != "described":
        # The same mean and variance for each feature, fewer middling values; then back to inputs that can occur.
        generator = torch.Generator().manual_seed((sampler.seed * 2 + step) % 2**63)
        spread = torch.exp(_TAIL * torch.randn(x.shape, generator=generator, dtype=x.dtype) - _TAIL**2)
        if kind == "mixed":
            spread[::2] = 1.0
        centre = torch.from_numpy(sampler.scaler.standardize(sampler.description.mean[None]))
        x = sampler.restrict(centre + (x - centre) * spread)
    return x.numpy()


def _answers(network: nn.Module, x: np.ndarray) -> np.ndarray:  # [n, d] -> [n, o], both standardised
    with torch.no_grad():
        parts = [network(part) for part in torch.from_numpy(x).float().split(4096)]
    return torch.cat(parts).double().numpy()


def _learnt(description: InputDescription, teacher: Teacher, seed: int) -> Scalers:
    """Scalers for a teacher in raw units: inputs by the description, outputs by its answers to drawn inputs."""
    inputs = description.scaler()
    sampler = DescribedInputs(description, inputs, seed=seed)
    x = sampler.draw(_VALIDATION, 2).double().numpy()
    if teacher.inputs == "raw":
        with torch.no_grad():
            y = teacher.module(torch.from_numpy(inputs.restore(x)).float()).double().numpy()
    else:
        y = _answers(teacher.module, x)
    if not np.isfinite(y).all() or (y.std(0) == 0).any():
        raise DataError("the teacher answers all described inputs alike, or with numbers that are not finite.", "Check --describe and --inputs.")
    outputs = Scaler.fit(y) if teacher.inputs == "raw" else Scaler(np.zeros(y.shape[1]), np.ones(y.shape[1]))
    return Scalers(inputs, outputs)
