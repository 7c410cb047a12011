"""Standardisation: learnt in float64 on the training rows, stored with the model, folded into the exported graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DataError
from .stored import Moments, is_stored, moments_of

__all__ = ["Scaler", "Scalers"]


@dataclass(frozen=True, eq=False)
class Scaler:
    """Mean and standard deviation of k columns.

    Parameters
    ----------
    mean, scale : float64 arrays [k]
        ``standardize(v) = (v - mean) / scale``. A constant column has scale 1, so it becomes 0 and is restored exactly.
    """

    mean: np.ndarray  # [k]
    scale: np.ndarray  # [k]

    def __post_init__(self) -> None:
        mean, scale = (np.array(v, dtype=np.float64, ndmin=1) for v in (self.mean, self.scale))
        if mean.ndim != 1 or mean.shape != scale.shape:
            raise DataError(
                f"a scaler has mean {mean.shape} and scale {scale.shape}, expected two vectors of one length."
            )
        if not (np.isfinite(mean).all() and np.isfinite(scale).all() and (scale > 0).all()):
            raise DataError("a scaler holds a mean or scale that is not finite, or a scale that is not above 0.")
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "scale", scale)

    @classmethod
    def fit(
        cls,
        rows: np.ndarray,  # [N, k]
    ) -> Scaler:
        """Return the population mean and standard deviation of each column; :class:`DataError` without rows."""
        if is_stored(rows):
            return cls.of_moments(moments_of(rows))
        rows = np.asarray(rows, dtype=np.float64)
        if rows.ndim != 2 or len(rows) == 0:
            raise DataError(f"a scaler needs rows [N, k] with N >= 1, got shape {rows.shape}.")
        low, high = rows.min(axis=0), rows.max(axis=0)
        mean, scale = rows.mean(axis=0), rows.std(axis=0)
        # Rounding gives a constant column a tiny deviation, so compare the values themselves.
        constant = (low == high) | ~(scale > 0)
        return cls(np.where(constant, low, mean), np.where(constant, 1.0, scale))

    @classmethod
    def of_moments(cls, found: Moments) -> Scaler:
        """The same from statistics that were taken in one pass."""
        constant = (found.low == found.high) | ~(found.deviation > 0)
        return cls(np.where(constant, found.low, found.mean), np.where(constant, 1.0, found.deviation))

    @property
    def width(self) -> int:
        """Number of columns k."""
        return len(self.mean)

    def standardize(
        self,
        values: np.ndarray,  # [..., k] raw units
    ) -> np.ndarray:  # [..., k] float64
        """Return ``(values - mean) / scale``: standard deviations from the mean."""
        return (np.asarray(values, dtype=np.float64) - self.mean) / self.scale

    def restore(
        self,
        values: np.ndarray,  # [..., k] standardised
    ) -> np.ndarray:  # [..., k] float64, raw units
        """Return ``values * scale + mean``: raw units again."""
        return np.asarray(values, dtype=np.float64) * self.scale + self.mean

    def to_dict(self) -> dict[str, list[float]]:
        """Return a JSON-able dict; float64 survives the round trip through JSON exactly."""
        return {"mean": self.mean.tolist(), "scale": self.scale.tolist()}

    @classmethod
    def from_dict(cls, values: Any) -> Scaler:
        """Return the scaler that :meth:`to_dict` stored; :class:`DataError` if it is malformed."""
        try:
            return cls(values["mean"], values["scale"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"a stored scaler is malformed ({type(error).__name__}: {error}), expected mean "
                "and scale as lists of numbers."
            ) from None


@dataclass(frozen=True, eq=False)
class Scalers:
    """The scalers of the inputs and of the targets of one network."""

    x: Scaler
    y: Scaler

    @classmethod
    def fit(
        cls,
        x: np.ndarray,  # [N, d]
        y: np.ndarray,  # [N, o]
    ) -> Scalers:
        """Return the scalers of these rows and labels in raw units; :class:`DataError` without rows."""
        return cls(Scaler.fit(x), Scaler.fit(y))

    @classmethod
    def identity(cls, d: int, o: int) -> Scalers:
        """Return scalers that change nothing."""
        return cls(Scaler(np.zeros(d), np.ones(d)), Scaler(np.zeros(o), np.ones(o)))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict of both."""
        return {"x": self.x.to_dict(), "y": self.y.to_dict()}

    @classmethod
    def from_dict(cls, values: Any) -> Scalers:
        """Return the scalers that :meth:`to_dict` stored; :class:`DataError` if they are malformed."""
        if not isinstance(values, Mapping) or not {"x", "y"} <= set(values):
            raise DataError("stored scalers are malformed, expected the scalers 'x' and 'y'.")
        return cls(Scaler.from_dict(values["x"]), Scaler.from_dict(values["y"]))
