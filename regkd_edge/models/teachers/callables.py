"""Teachers that are not torch networks: a scikit-learn regressor, or any function on arrays.

They return values and have no gradient. PM works, ABM picks among random candidates, GM is refused (or uses central
differences on request), and the adversarial generator is refused, each with a message.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import ModelError

__all__ = ["ArrayFunction"]


class ArrayFunction(nn.Module):
    """A function on float64 arrays [n, d] -> [n, o] (or [n]) as a module without parameters.

    Parameters
    ----------
    function : callable, or an object with ``predict``
        A fitted scikit-learn regressor, a simulator, a remote service.
    """

    differentiable = False

    def __init__(self, function: Callable[[np.ndarray], Any] | Any):
        super().__init__()
        ask = getattr(function, "predict", function)
        if not callable(ask):
            raise ModelError(
                f"a {type(function).__name__} cannot be a teacher.",
                "Give a function on arrays, or an object with predict(x).",
            )
        self.function, self.ask = function, ask

    def forward(self, x: Tensor) -> Tensor:  # [n, d] -> [n, o]
        rows = x.detach().double().cpu().numpy()
        try:
            y = np.asarray(self.ask(rows), dtype=np.float64)
        except Exception as error:  # the user's own function may raise anything
            raise ModelError(
                f"the teacher ({type(self.function).__name__}) failed on {len(rows)} rows: {type(error).__name__}: {error}.",
                "Fix it, or fit it first.",
            ) from error
        y = y[:, None] if y.ndim == 1 else y
        if y.ndim != 2 or len(y) != len(rows):
            raise ModelError(
                f"the teacher returned an array of shape {list(y.shape)} for {len(rows)} rows.",
                "It must return one row per input row.",
            )
        return torch.from_numpy(y).to(x)

    def extra_repr(self) -> str:
        return type(self.function).__name__
