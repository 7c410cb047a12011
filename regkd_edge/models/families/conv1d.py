"""``conv1d:16x5/2,32d3/2,gap,32:relu``: convolutions over the time of a signal, channels x length."""

from __future__ import annotations

from .convolution import ConvFamily

__all__ = ["FAMILY"]


class _Conv1d(ConvFamily):
    """Rows of shape channels x length, or length x channels with ``:channels-last``."""

    name = "conv1d"
    axes = 1
    words = "channels x length"
    form = "conv1d:BLOCKS[,gap|flat][,WIDTHS]:ACTIVATION[:channels-last], such as conv1d:16x5/2,32d3/2,gap,32:relu"


FAMILY = _Conv1d()
