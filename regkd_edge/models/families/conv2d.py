"""``conv2d:8x3,16d3/2,flat,32:relu``: convolutions over an image, channels x height x width."""

from __future__ import annotations

from .convolution import ConvFamily

__all__ = ["FAMILY"]


class _Conv2d(ConvFamily):
    """Rows of shape channels x height x width, or height x width x channels with ``:channels-last``."""

    name = "conv2d"
    axes = 2
    words = "channels x height x width"
    form = "conv2d:BLOCKS[,gap|flat][,WIDTHS]:ACTIVATION[:channels-last], such as conv2d:8x3,16d3/2,flat,32:relu"


FAMILY = _Conv2d()
