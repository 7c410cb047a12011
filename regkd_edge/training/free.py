"""Distillation without data: rows from a description of the inputs, targets from the teacher.

The student trains on fresh synthetic inputs and is validated on others, both with the teacher's answers. The rows
and the labels of the run are not used in training; they serve the reports alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ..config import DistillConfig
from ..config.contradictions.loaded import require_units
from ..data import Dataset, Places, Scaler, Scalers, Split
from ..errors import DataError
from ..io.text import per_target
from ..models import Teacher, places_for
from ..sampling import DescribedInputs, InputDescription, Spread
from .known import description_of

__all__ = ["Synthetic", "how_sure", "synthetic_rows"]

_MOST = 131_072  # synthetic training rows: beyond, fresh perturbations help more than fresh rows
_VALIDATION = 2048
_OTHERS = 77  # to the seed: inputs of their own


@dataclass(frozen=True, eq=False)
class Synthetic:
    """Training data of a student without data; arrays are float64, standardised, ``(x [n, d], y [n, o])``."""

    train: tuple[np.ndarray, np.ndarray]
    validation: tuple[np.ndarray, np.ndarray]
    scalers: Scalers
    teacher: nn.Module  # in the space of the scalers
    seen: Split  # holds no training or validation row of the run
    description: InputDescription


def synthetic_rows(dataset: Dataset, teacher: Teacher, config: DistillConfig, seed: int) -> Synthetic:
    """Return synthetic rows for ``config`` (``describe``, ``like``, ``sampler``) with the teacher's answers.

    With the samplers that search (generator, direct, anchored, latent), validation uses the described inputs.

    Raises
    ------
    DataError
        No description of the inputs, or one that does not fit the teacher; a teacher that is constant on all inputs.
    """
    require_units(teacher)
    description = description_of(config, teacher, dataset.table.feature_names)
    places = places_for(config.student, dataset.d, dataset.input_shape)
    scalers = teacher.scalers or _learnt(description, teacher, seed, places)
    network = teacher.standardized(scalers)
    kind = config.drawn if config.kind.plain else "described"
    sampler = Spread(kind, description, scalers.x, seed=seed, places=places)
    parts = []
    most = _MOST if config.steps == "auto" else min(config.steps * config.batch, _MOST)
    for number, count in enumerate((most, _VALIDATION)):
        x = sampler.draw_double(count, number).numpy()
        parts.append((x, _answers(network, x)))
    index = np.arange(0, dtype=np.int64)
    return Synthetic(*parts, scalers, network, replace(dataset.split, train=index, validation=index), description)


def _answers(network: nn.Module, x: np.ndarray) -> np.ndarray:  # [n, d] -> [n, o], both standardised
    with torch.no_grad():
        parts = [network(part) for part in torch.from_numpy(x).float().split(4096)]
    return torch.cat(parts).double().numpy()


def _learnt(description: InputDescription, teacher: Teacher, seed: int, places: Places | None) -> Scalers:
    """Return scalers for a teacher in raw units: inputs from the description, outputs from answers to drawn inputs."""
    inputs = description.scaler()
    if places is not None:  # one for each channel
        inputs = places.scaler(description.inputs(np.random.default_rng(seed).standard_normal((_VALIDATION, places.d))))
    sampler = DescribedInputs(description, inputs, seed=seed, places=places)
    x = sampler.draw(_VALIDATION, 2).double().numpy()
    y = teacher.predict(inputs.restore(x))
    if not np.isfinite(y).all() or (y.std(0) == 0).any():
        raise DataError(
            "the teacher's answers to the described inputs are all equal, or not finite.",
            "Check --describe and --units.",
        )
    return Scalers(inputs, Scaler.fit(y))


def how_sure(
    student: nn.Module,
    teacher: nn.Module,
    about: InputDescription,
    scalers: Scalers,
    seed: int,
    names: Sequence[str],  # [o] of the targets
) -> str:
    """Return a note on what can be known without rows: the distance to the teacher on inputs of several kinds, per
    target in its unit."""
    each = []
    for kind in ("described", "heavy-tailed", "broad"):
        x = Spread(kind, about, scalers.x, seed=seed + _OTHERS).draw_double(_VALIDATION, 0).numpy()
        squares = ((_answers(student, x) - _answers(teacher, x)) ** 2).mean(0)
        own = np.broadcast_to(scalers.y.scale, squares.shape) * np.sqrt(squares)
        each.append(f"{per_target(own.tolist(), names, float(np.sqrt(squares.mean())))} on {kind} inputs")
    known = "with" if about.correlation is not None else "without"
    return (
        f"no rows were seen: the student's distance from its teacher (root mean square, {known} correlations of the "
        f"inputs) is {'; '.join(each)}; on real inputs unlike all of these it may be larger, --like rows.csv tells"
    )
