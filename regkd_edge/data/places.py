"""Rows that are images or signals: which numbers belong to a channel, and noise that is smooth over places or times."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import DataError
from ..io.words import counted
from .scaler import Scaler

__all__ = ["Places", "smoother"]


@dataclass(frozen=True)
class Places:
    """How the d numbers of a row lie, in C order.

    Parameters
    ----------
    shape : tuple of int
        Of a row, with its channels.
    channel_axis : int
        The axis of the channels; all others are places or times.
    """

    shape: tuple[int, ...]
    channel_axis: int

    @property
    def d(self) -> int:
        """Numbers of a row."""
        return math.prod(self.shape)

    @property
    def axis(self) -> int:
        """The axis of the channels, from the front."""
        return self.channel_axis % len(self.shape)

    @property
    def channel(self) -> np.ndarray:  # [d]
        """Channel of each number."""
        index = np.arange(self.shape[self.axis])
        sizes = [-1 if i == self.axis else 1 for i in range(len(self.shape))]
        return np.broadcast_to(index.reshape(sizes), self.shape).reshape(-1)

    def spread(self, values: Sequence[float], what: str) -> tuple[float, ...]:
        """One number for all, one per channel or one per number of a row -> one for all, or d of them."""
        given, channels = tuple(float(v) for v in values), self.shape[self.axis]
        if len(given) in (1, self.d):
            return given
        if len(given) != channels:
            raise DataError(
                f"{what} has {counted(len(given), 'value')} for {counted(channels, 'channel')} and "
                f"{counted(self.d, 'number')} of a row.",
                "Give one number, or one for each channel.",
            )
        return tuple(np.asarray(given)[self.channel].tolist())

    def scaler(self, rows: np.ndarray) -> Scaler:  # [N, d] raw units
        """Return a scaler with one mean and one deviation per channel, over all its places and rows."""
        mean, scale, channel = np.empty(self.d), np.empty(self.d), self.channel
        for c in range(self.shape[self.axis]):
            one = Scaler.fit(np.asarray(rows[:, channel == c], dtype=np.float64).reshape(-1, 1))
            mean[channel == c], scale[channel == c] = one.mean[0], one.scale[0]
        return Scaler(mean, scale)

    def smooth(self, noise: Any, length: float) -> Any:  # [n, d], NumPy or torch -> [n, d]
        """Make white noise of unit variance smooth along every axis but the channels', of unit variance again.

        Parameters
        ----------
        noise : array or tensor [n, d]
        length : float
            Deviation of the Gaussian that it is smoothed with, in places or time steps: values a few lengths apart are
            independent. 0 changes nothing.
        """
        if length == 0:
            return noise
        whole = noise.reshape(-1, *self.shape)
        for i, size in enumerate(self.shape):
            if i == self.axis or size == 1:
                continue
            matrix = smoother(size, float(length))
            if not isinstance(noise, np.ndarray):
                import torch

                matrix = torch.from_numpy(matrix).to(noise)
            whole = (whole.swapaxes(i + 1, -1) @ matrix.T).swapaxes(i + 1, -1)
        return whole.reshape(noise.shape)


@lru_cache(maxsize=32)
def smoother(size: int, length: float) -> np.ndarray:  # [size, size] float64
    """Return a matrix whose rows are Gaussians around each place, of unit norm."""
    away = np.arange(size)[:, None] - np.arange(size)
    matrix = np.exp(-0.5 * (away / length) ** 2)
    return matrix / np.sqrt((matrix**2).sum(axis=1, keepdims=True))
