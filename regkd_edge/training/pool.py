"""Points around the rows with the teacher's answers, made once before the first step.

A teacher is asked once per point instead of once per step and point: a step then costs what one on plain rows costs,
a hundredth of one that evaluates a large teacher, and any teacher will do, with or without a gradient.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..data import Places, Scalers
from ..data.columns import Columns
from ..fused import answers
from ..models import Teacher
from ..sampling.neighbours import MIXTURES, Neighbours

__all__ = ["POINTS", "Pool", "teacher_answers"]

POINTS = 32_768  # many enough that more of them did not help a student of some thousand weights
_POINTS_IF_SLOW = 8_192  # of a teacher that is no MLP: a second of a large forest
_NUMBERS = 4_000_000  # of inputs at most: 16 MB
_HELD = 2_048


class Pool:
    """Neighbours of some rows with the teacher's answers, standardised; each kind of noise is made once and kept.

    Parameters
    ----------
    rows : float64 [N, d]
        Raw units.
    columns : Columns
        Kinds, with ranges and values as observed on these rows.
    most : int
        Points of a kind.
    places : Places, optional
        Of rows that are images or signals.
    """

    def __init__(
        self,
        rows: np.ndarray,
        columns: Columns,
        teacher: Teacher,
        scalers: Scalers,
        seed: int,
        most: int = POINTS,
        places: Places | None = None,
    ):
        self.neighbours = Neighbours(rows, columns, scalers.x, places)
        self.teacher, self.scalers, self.seed = teacher, scalers, seed
        self.most = most if teacher.mlp is not None else min(most, _POINTS_IF_SLOW)
        self._made: dict[tuple, tuple[Tensor, Tensor]] = {}

    def points(self, noise: str, sigma: tuple[float, ...]) -> tuple[Tensor, Tensor]:  # [P, d], [P, o]
        """Return the points and what the teacher answers there."""
        return self._of(noise, sigma, min(self.most, _NUMBERS // self.scalers.x.width + 1), self.seed)

    def held(self, noise: str, sigma: tuple[float, ...]) -> tuple[Tensor, Tensor]:
        """Return points of the same kind on which no student trains."""
        return self._of(noise, sigma, min(self.most, _HELD), self.seed + 1)

    def _of(self, noise: str, sigma: tuple[float, ...], count: int, seed: int) -> tuple[Tensor, Tensor]:
        key = (noise, None if noise in MIXTURES else tuple(sigma), count, seed)
        if key not in self._made:
            sizes = sigma[0] if len(sigma) == 1 else sigma
            if self.neighbours.places is not None and len(sigma) > 1:
                sizes = self.neighbours.places.spread(sigma, "sigma")
            raw = self.neighbours.points(count, noise, sizes, seed)
            answers = teacher_answers(self.teacher, self.scalers, raw)
            x = torch.from_numpy(self.scalers.x.standardize(raw)).float()
            self._made[key] = x, torch.from_numpy(answers).float()
        return self._made[key]


def teacher_answers(teacher: Teacher, scalers: Scalers, raw: np.ndarray) -> np.ndarray:  # [n, d] -> [n, o]
    """Return what the teacher answers to raw rows, standardised: the rows reach it as they are."""
    if teacher.mlp is not None:  # an MLP answers by the core
        x = torch.from_numpy(scalers.x.standardize(raw)).float()
        network = teacher.standardized(scalers)
        return torch.cat([answers(network, part) for part in x.split(4096)]).double().numpy()
    return teacher.answers_in(scalers, raw)
