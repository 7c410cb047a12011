"""The conditional VAE of rows that are images or signals:
convolutions in place of the layers over a flat row (ours)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..data.places import Places
from .latent import ConditionalVAE

__all__ = ["ConvolutionalVAE"]

_SMALLEST = 8  # places per axis at which the convolutions end
_CHANNELS = 16


class ConvolutionalVAE(ConditionalVAE):
    """Encoder (x, c) -> N(m, s^2) of k numbers and decoder (z, c) -> x for rows with places.

    Each level of the encoder halves every axis of more than 8 places; the decoder doubles them again. The condition
    joins before the last linear layer of each side. Rows stay flat, [n, d], outside of it.

    Parameters
    ----------
    places : Places
        How the d numbers of a row lie: one or two axes beside the channels.
    conditions : int
    latent : int
    """

    def __init__(self, places: Places, conditions: int, latent: int = 8):
        nn.Module.__init__(self)
        self.features, self.latent, self.places = places.d, latent, places
        channels = places.shape[places.axis]
        sizes = [tuple(n for i, n in enumerate(places.shape) if i != places.axis)]
        while max(sizes[-1]) > _SMALLEST:
            sizes.append(tuple(-(-n // 2) if n > _SMALLEST else n for n in sizes[-1]))
        self.sizes = sizes
        conv = (nn.Conv1d, nn.Conv2d)[len(sizes[0]) - 1]
        widths = [channels, *[_CHANNELS] * max(1, len(sizes) - 1)]
        pairs = list(zip(widths, widths[1:]))
        strides = [tuple(-(-m // n) for m, n in zip(big, small)) for big, small in zip(sizes, sizes[1:])]
        strides = strides or [(1,) * len(sizes[0])]
        self.down = nn.ModuleList(conv(m, n, 3, stride, padding=1) for (m, n), stride in zip(pairs, strides))
        self.up = nn.ModuleList(conv(n, m, 3, padding=1) for m, n in reversed(pairs))
        inner = _CHANNELS * int(torch.tensor(sizes[-1]).prod())
        self.into = nn.Linear(inner + conditions, 2 * latent)
        self.out_of = nn.Linear(latent + conditions, inner)
        self.log_scale = nn.Parameter(torch.zeros(()))

    def encode(self, x: Tensor, c: Tensor) -> Tensor:  # [n, d], [n, o] -> [n, 2 k]
        h = x.reshape(-1, *self.places.shape).movedim(self.places.axis + 1, 1)
        for layer in self.down:
            h = torch.tanh(layer(h))
        return self.into(torch.cat([h.flatten(1), c], 1))

    def decode(self, z: Tensor, c: Tensor) -> Tensor:  # [n, k], [n, o] -> [n, d]
        h = torch.tanh(self.out_of(torch.cat([z, c], 1))).reshape(len(z), _CHANNELS, *self.sizes[-1])
        sizes = self.sizes[-2::-1] or self.sizes
        for layer, size in zip(self.up, sizes):
            h = layer(F.interpolate(h, size=size, mode="nearest"))
            h = h if layer is self.up[-1] else torch.tanh(h)
        return h.movedim(1, self.places.axis + 1).flatten(1)
