"""Distances of a race in the unit of each target, where the race itself counts in standard deviations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...io.text import per_target
from ..setting import Setting

__all__ = ["Pair", "TargetUnits", "by_target", "stored"]


@dataclass(frozen=True)
class TargetUnits:
    """Names of the targets, and what one standard deviation is in the unit of each.

    Parameters
    ----------
    names : tuple of str, [o]
    scale : tuple of float, [o]
        Of the scalers in whose space the student learns.
    """

    names: tuple[str, ...]
    scale: tuple[float, ...]

    @classmethod
    def of(cls, setting: Setting) -> TargetUnits:
        return cls(tuple(setting.dataset.table.target_names), tuple(map(float, setting.scalers.y.scale)))

    def own(self, distances: Sequence[float]) -> list[float]:  # [o] standard deviations -> [o] units of the targets
        """Return the distances in the unit of each target."""
        return [scale * value for scale, value in zip(self.scale, distances)]

    def said(self, distances: Sequence[float], pooled: float) -> str:
        """Say a distance, given in standard deviations: of each target in its unit, and the pooled one second."""
        return per_target(self.own(distances), self.names, pooled, digits=3)


@dataclass(frozen=True)
class Pair:
    """Two distances, in standard deviations.

    Parameters
    ----------
    pooled : (float, float)
    targets : ([o], [o])
    """

    pooled: tuple[float, float]
    targets: tuple[list[float], list[float]]

    @classmethod
    def of(cls, ours: np.ndarray, theirs: np.ndarray) -> Pair:  # [n, o] squares
        pooled = float(np.sqrt(ours.mean())), float(np.sqrt(theirs.mean()))
        return cls(pooled, (by_target(ours), by_target(theirs)))

    def own(self, units: TargetUnits) -> list[list[float]]:
        """Return both, of each target in its unit."""
        return [units.own(distances) for distances in self.targets]

    def said(self, units: TargetUnits) -> str:
        """Say both: ``16.1 against 12.3 (life), 0.13 against 0.1 standard deviations (pooled)``."""
        ours, theirs = self.own(units)
        return per_target(ours, units.names, self.pooled[0], digits=3, against=(theirs, self.pooled[1]))


def stored(values: Any) -> Any:
    """Return numbers, or lists of them, for JSON: None stands for infinity, of a candidate that diverged."""
    if isinstance(values, list):
        return [stored(value) for value in values]
    return values if math.isfinite(values) else None


def by_target(squares: np.ndarray) -> list[float]:  # [n, o] -> [o]
    """Return the root mean square of each column."""
    return np.sqrt(squares.mean(0)).tolist()
