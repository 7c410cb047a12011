"""Outputs of a network for many inputs: on the compiled core if it supports the network, else by the network."""

from __future__ import annotations

import torch
from torch import Tensor

from . import native
from .passes import Net
from .workspace import flatten

__all__ = ["answers"]


@torch.no_grad()
def answers(
    network,  # [n, d] -> [n, o]
    x: Tensor,  # [n, d]
) -> Tensor:  # [n, o], no graph
    """Return ``network(x)`` without gradients; the core evaluates a float32 MLP on the CPU several times faster.

    The two agree to about 1e-6 of the outputs' size: sums are taken in another order.
    """
    core = native.core_for(network, x)
    if core is None:
        return network(x)
    x, weights = x.contiguous(), flatten(Net.of(network))
    y = x.new_empty(x.shape[0], network.widths[-1])
    where = (weights.data_ptr(), x.data_ptr(), x.shape[0], y.data_ptr())
    core.predict(list(network.widths), network.activation, *where, threads=torch.get_num_threads())
    return y
