"""Any teacher between standardized spaces: points are restored to raw units, codes and counts to values that occur."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ..data import Columns, Scalers
from ..errors import ModelError
from .outputs import Outputs

__all__ = ["InStandardizedSpace", "Snap", "same_scalers"]


class _Double(nn.Module):
    """A module whose own buffers stay float64 when its type changes: a code of 2 in half precision is still 2, one of
    4097 is not."""

    def _apply(self, fn, recurse: bool = True):
        kept = {name: b for name, b in self.named_buffers(recurse=False) if b is not None}
        super()._apply(fn, recurse)
        for name, before in kept.items():
            after = getattr(self, name)
            if after.dtype != before.dtype:
                setattr(self, name, before.to(after.device))
        return self


class Snap(_Double):
    """Move raw points to the nearest ones that can occur, as :meth:`Columns.restrict`, for tensors on any device.

    Gradients pass as if nothing were moved (straight through).
    """

    def __init__(self, columns: Columns):
        super().__init__()
        grouped = {j for group in columns.groups for j in group}
        free = [j for j, kind in enumerate(columns.kinds) if kind != "continuous" and j not in grouped]
        listed = [j for j in free if columns.values[j] is not None]
        whole = [j for j in free if columns.values[j] is None]
        most = max((len(columns.values[j]) for j in listed), default=0)
        table = np.array([np.pad(columns.values[j], (0, most - len(columns.values[j])), "edge") for j in listed])
        self.groups = [list(group) for group in columns.groups]
        self.register_buffer("listed", torch.tensor(listed, dtype=torch.long))
        self.register_buffer("values", torch.from_numpy(table.reshape(len(listed), most).astype(np.float64)))
        self.register_buffer("whole", torch.tensor(whole, dtype=torch.long))
        self.register_buffer("low", torch.from_numpy(columns.low[whole]))
        self.register_buffer("high", torch.from_numpy(columns.high[whole]))

    def __bool__(self) -> bool:
        return bool(len(self.listed) or len(self.whole) or self.groups)

    def forward(
        self,
        x: Tensor,  # [n, d] float64, raw units
    ) -> Tensor:  # [n, d]
        y = x.detach().clone()
        if len(self.listed):
            at = y[:, self.listed].T.contiguous()  # [k, n]
            above = torch.searchsorted(self.values, at).clamp(1, max(self.values.shape[1] - 1, 1))
            upper = self.values.gather(1, above.clamp(max=self.values.shape[1] - 1))
            lower = self.values.gather(1, above - 1)
            y[:, self.listed] = torch.where(at - lower <= upper - at, lower, upper).T
        if len(self.whole):
            y[:, self.whole] = torch.minimum(torch.maximum(y[:, self.whole].round(), self.low), self.high)
        for group in self.groups:
            y[:, group] = nn.functional.one_hot(y[:, group].argmax(1), len(group)).to(y)
        return y + (x - x.detach())  # exactly y, with the gradient of x


class InStandardizedSpace(_Double):
    """Any network behind scalers: standardized inputs [n, d] to standardized outputs [n, o].

    Parameters
    ----------
    module : nn.Module
        Takes raw inputs when ``own`` is None, else inputs standardized by ``own``.
    scalers : Scalers or None
        Those of the space this module lives in; None when the module lives in that space already.
    own : Scalers, optional
        Those of the module.
    differentiable : bool
        Whether gradients pass through the module.
    columns : Columns, optional
        What the inputs are: codes and counts reach the module as values that occur, bit for bit.
    dtype : torch.dtype, optional
        What the module takes; the type of its parameters without it.
    outputs : Outputs, optional
        Which of the module's outputs holds the predictions.
    shape : tuple of int, optional
        Shape in which a row reaches the module; flat without it.
    """

    def __init__(
        self,
        module: nn.Module,
        scalers: Scalers | None,
        own: Scalers | None = None,
        differentiable: bool = True,
        *,
        columns: Columns | None = None,
        dtype: torch.dtype | None = None,
        outputs: Outputs | None = None,
        shape: tuple[int, ...] | None = None,
    ):
        super().__init__()
        self.shape = shape
        self.module = module
        self.differentiable = differentiable
        self.dtype = dtype or next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
        self.outputs = outputs or Outputs(type(module).__name__)
        snap = Snap(columns) if columns is not None and scalers is not None else None
        self.snap = snap if snap else None
        same = own is not None and scalers is not None and same_scalers(own, scalers)
        inward = None if scalers is None or (same and not self.snap) else scalers.x
        for name, scaler in (("x", inward), ("own", own.x if own is not None and inward is not None else None)):
            self._keep(name, None if scaler is None else (scaler.scale, scaler.mean))
        if scalers is None or same:
            self._keep("y", None)
        elif own is None:
            self._keep("y", (1 / scalers.y.scale, -scalers.y.mean / scalers.y.scale))
        else:
            self._keep("y", (own.y.scale / scalers.y.scale, (own.y.mean - scalers.y.mean) / scalers.y.scale))

    @property
    def kind(self) -> str:
        """What is inside, by its class."""
        return type(getattr(self.module, "function", self.module)).__name__

    def _keep(self, name: str, pair: tuple[np.ndarray, np.ndarray] | None) -> None:
        for part, value in zip(("mul", "add"), pair or (None, None)):
            tensor = None if value is None else torch.as_tensor(value, dtype=torch.float64)
            self.register_buffer(f"{name}_{part}", tensor)

    def forward(
        self,
        x: Tensor,  # [n, d] standardized
    ) -> Tensor:  # [n, o] standardized
        kind = x.dtype
        if self.x_mul is not None:
            x = x.double() * self.x_mul + self.x_add
            x = self.snap(x) if self.snap is not None else x
            x = x if self.own_mul is None else (x - self.own_add) / self.own_mul
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.differentiable):
            rows = x if self.shape is None else x.reshape(len(x), *self.shape)
            y = self.outputs(self.module(rows.to(self.dtype)), len(x))
        if self.y_mul is not None:
            if y.shape[-1] != len(self.y_mul):  # else the scaling would broadcast one output over several targets
                raise ModelError(
                    f"the teacher has {y.shape[-1]} outputs, but {len(self.y_mul)} targets are named.",
                    "Name one target per output.",
                )
            y = y.double() * self.y_mul + self.y_add
        return y.to(kind)


def same_scalers(a: Scalers, b: Scalers) -> bool:
    """Whether two scalers change rows alike."""
    if a is b:
        return True
    pairs = [(p, q, k) for p, q in ((a.x, b.x), (a.y, b.y)) for k in ("mean", "scale")]
    return all(np.array_equal(getattr(p, k), getattr(q, k)) for p, q, k in pairs)
