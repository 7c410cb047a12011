"""Predictions in raw units from a network in standardised space."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ..data import Scalers
from ..data.stored import is_stored
from ..errors import ModelError

__all__ = ["predict"]


def predict(
    module: nn.Module,  # standardised inputs [n, d] -> standardised outputs [n, o]
    scalers: Scalers,
    x: np.ndarray,  # [N, d] raw units
    chunk: int = 4096,
) -> np.ndarray:  # [N, o] float64, raw units
    """Standardise in float64, run the network in its own precision, restore in float64."""
    x = x if is_stored(x) else np.asarray(x, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != scalers.x.width:
        raise ModelError(
            f"rows of shape {x.shape} for a network of {scalers.x.width} inputs.", "Give the columns it was trained on."
        )
    parameter = next(module.parameters(), None)
    device, dtype = (parameter.device, parameter.dtype) if parameter is not None else ("cpu", torch.float32)
    was_training = module.training
    module.eval()
    out = np.empty((len(x), scalers.y.width))
    try:
        with torch.no_grad():
            for start in range(0, len(x), chunk):
                rows = torch.from_numpy(scalers.x.standardize(x[start : start + chunk])).to(device, dtype)
                out[start : start + chunk] = scalers.y.restore(module(rows).double().cpu().numpy())
    finally:
        module.train(was_training)
    return out
