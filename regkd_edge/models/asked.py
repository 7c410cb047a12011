"""A module that may be anything, asked rows in its own units: in parts, in the type and the shape that it takes."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ..errors import ModelError, UserError
from ..io.progress import tick
from .asking import failure, input_type, reason_of, remedy
from .outputs import Outputs

__all__ = ["Asked"]

_CHUNK = 4096  # rows per call


class Asked:
    """A frozen module with its outputs, and with the shape and the type in which a row reaches it, once they are known.

    Parameters
    ----------
    module : nn.Module
        Frozen and put into evaluation mode.
    source : str
        Where it came from, for messages.
    output : str, optional
        Name or index of the output that holds the predictions, where it returns several.
    """

    def __init__(self, module: nn.Module, source: str, output: str | None = None):
        for parameter in module.parameters():  # one by one: TorchScript has no requires_grad_ of its own
            parameter.requires_grad_(False)
        self.module = module.eval()
        self.source = source
        self.outputs = Outputs(source, output)
        self.values: nn.Module | None = None  # what answers in place of the module, which then gives gradients alone
        self.shape: tuple[int, ...] | None = None  # in which a row reaches the module; None: flat
        self._dtype: torch.dtype | None = None  # not tried yet

    def read_as(self, shape: tuple[int, ...] | None, rows: np.ndarray) -> None:  # [n, d] in its own units
        """Settle whether a row reaches the module in its shape or flat: in its shape where the module answers that."""
        if shape is None or len(shape) < 2:
            return
        before, dtype = self.shape, self._dtype
        for tried in (tuple(shape), None):
            self.shape, self._dtype = tried, None
            try:
                if np.isfinite(self._ask(rows[:2])).all():
                    return
            except ModelError:
                pass
        self.shape, self._dtype = before if before is not None else tuple(shape), dtype

    def _ask(self, rows: np.ndarray) -> np.ndarray:  # [n, d] in its own units -> [n, o] float64
        parts = []
        with torch.no_grad():
            for start in range(0, len(rows), _CHUNK):
                if len(rows) > _CHUNK:  # a single call has no parts to count
                    tick("answers of the teacher", start, len(rows))
                parts.append(self._call(rows[start : start + _CHUNK]))
        return np.concatenate([part.double().cpu().numpy() for part in parts])

    def _call(self, rows: np.ndarray) -> torch.Tensor:  # [n, d] -> [n, o]
        x = self._shaped(torch.from_numpy(np.array(rows, order="C")))  # a copy: a module may write into its input
        try:
            given = x.to(self._device, self.dtype_for(rows), copy=True)  # a module may write into its input
            return self.outputs(self._asked(given), len(x))
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # whatever a foreign module raises
            raise ModelError(
                f"the teacher ({self.source}) fails on rows of {failure(self.module, x, rows.shape[1])}: "
                f"{reason_of(error)}.",
                remedy(self.module, self.shape is None, error),
            ) from error

    def _shaped(self, x: torch.Tensor) -> torch.Tensor:
        return x if self.shape is None else x.reshape(len(x), *self.shape)

    @property
    def _asked(self) -> nn.Module:
        """What gives the answers."""
        return self.values if self.values is not None else self.module

    @property
    def _device(self) -> torch.device:
        return next((p.device for p in (*self.module.parameters(), *self.module.buffers())), torch.device("cpu"))

    def dtype_for(self, rows: np.ndarray) -> torch.dtype:
        """The type in which the module takes its inputs: that of its parameters, or the first one that it accepts."""
        if self._dtype is None:
            self._dtype = input_type(self._asked, rows, self._shaped, self._device)
        return self._dtype
