"""What a network answered, as one tensor [n, o]: which tensor of a tuple, dict or record it is, and which shape."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, fx, nn

from ..errors import ModelError

__all__ = ["Outputs", "Picked"]

# What the tensor of the predictions is usually called, in any case; the first of these names that occurs is taken.
_NAMES = (
    "prediction", "predictions", "pred", "preds", "y_pred", "y_hat", "yhat", "output", "outputs", "out", "y",
    "mean", "mu", "loc", "logits", "value", "values", "variable", "regression", "target",
)  # fmt: skip
_DEPTH = 4  # records inside records


class Outputs:
    """Choose the predictions among what a network returns.

    Parameters
    ----------
    source : str
        The teacher, for messages.
    pick : str, optional
        Name or index of the output that holds the predictions (``"1"``, ``"mean"``, ``"heads.speed"``); without it,
        the one output that can be it.
    width : int, optional
        Number of targets, where it is known: an output of another width cannot be it.

    Attributes
    ----------
    note : str
        What was chosen, when there was something to choose; empty otherwise.
    chosen : str or None
        The name of the output that was chosen last, where there are several.
    """

    def __init__(self, source: str, pick: str | None = None, width: int | None = None):
        self.source, self.pick, self.width = source, None if pick is None else str(pick), width
        self.note = ""
        self.chosen: str | None = None

    def __call__(self, answer: Any, n: int) -> Tensor:  # [n, o]
        """Return the predictions for n rows; :class:`ModelError` names any other kind or shape, and the remedy."""
        if isinstance(answer, Tensor):  # by far the most usual
            if self.pick not in (None, "0"):
                raise self._no_such_output("one tensor", [])
            return self._rows(answer, n)
        kind = type(answer).__name__
        parts = list(_tensors(answer))
        if not parts:
            raise ModelError(
                f"the teacher ({self.source}) returned a {kind}, expected a tensor of predictions.",
                "Return the tensor of the predictions alone.",
            )
        if len(parts) == 1 and parts[0][0] == "" and self.pick in (None, "0"):
            return self._rows(parts[0][1], n)
        name, tensor = self._chosen(kind, parts, n)
        rows = self._rows(tensor, n)
        if name:
            self.note = f"the teacher returns {_kind(answer)}; its output '{name}' is taken as the predictions"
            self.chosen = name
        return rows

    def _chosen(self, kind: str, parts: list[tuple[str, Tensor]], n: int) -> tuple[str, Tensor]:
        if self.pick is not None:
            found = [part for part in parts if part[0] == self.pick]
            if not found and self.pick.lstrip("-").isdigit() and -len(parts) <= int(self.pick) < len(parts):
                found = [parts[int(self.pick)]]
            if not found:
                raise self._no_such_output(f"a {kind}", parts)
            return found[0]
        fitting = [part for part in parts if self._could_be(part[1], n)] or parts
        if len(fitting) > 1:
            by_name = {name.rpartition(".")[2].lower(): part for part in reversed(fitting) for name in (part[0],)}
            fitting = next(([by_name[name]] for name in _NAMES if name in by_name), fitting)
        if len(fitting) > 1:
            raise ModelError(
                f"the teacher ({self.source}) returned a {kind} of {_listed(parts)}, and several of these can be the "
                "predictions.",
                f"Name one with --output {fitting[0][0]} (output= in Python), or return it alone.",
            )
        return fitting[0]

    def _could_be(self, tensor: Tensor, n: int) -> bool:
        if tensor.dtype == torch.bool or tensor.is_complex():
            return False
        shape = [size for size in tensor.shape[1:] if size != 1]
        rows = len(tensor) == n if tensor.ndim else n == 1
        if not rows or len(shape) > 1:
            return False
        return self.width is None or (shape[0] if shape else 1) == self.width

    def _no_such_output(self, what: str, parts: list[tuple[str, Tensor]]) -> ModelError:
        listed = f" of {_listed(parts)}" if parts else ""
        return ModelError(
            f"the teacher ({self.source}) has no output '{self.pick}': it returned {what}{listed}.",
            "Name one of its outputs with --output, or leave it out.",
        )

    def _rows(self, y: Tensor, n: int) -> Tensor:  # [n, o]
        if y.is_complex():
            raise ModelError(f"the teacher ({self.source}) answers complex numbers.", "Return real predictions.")
        if y.layout != torch.strided:
            y = y.to_dense()
        given = list(y.shape)
        if n == 1 and y.ndim < 2:  # a module that squeezes: [] for one row of one output, [o] for one row of several
            return y.reshape(1, -1)
        if y.ndim == 1 and len(y) == n:
            return y[:, None]
        if y.ndim > 2 and len(y) == n and y[0].numel() == max(y.shape[1:]):  # [n, 1, 1], [n, o, 1], [n, 1, o]
            self.note = (
                f"the teacher answers shape [n, {', '.join(map(str, given[1:]))}]; the dimensions of 1 are dropped"
            )
            return y.flatten(1)
        if y.ndim != 2 or len(y) != n:
            turned = y.ndim == 2 and y.shape[1] == n
            raise ModelError(
                f"the teacher ({self.source}) returned shape {given} for {n} rows, expected [{n}, outputs].",
                "Transpose it." if turned else "Return one row of predictions for each row.",
            )
        return y


class Picked(nn.Module):
    """One of the outputs of a module that returns several."""

    def __init__(self, module: nn.Module, name: str):
        super().__init__()
        self.module, self.name = module, name

    def forward(self, x: Tensor) -> Tensor:
        return dict(_tensors(self.module(x)))[self.name]


def _tensors(answer: Any, name: str = "", depth: int = 0) -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a nested answer with its dotted name."""
    if isinstance(answer, (Tensor, fx.Proxy)):  # a proxy stands for a tensor while a module is traced
        yield name, answer
        return
    if isinstance(answer, (np.ndarray, np.generic, float, int)) and not isinstance(answer, bool):
        array = np.asarray(answer)
        if np.issubdtype(array.dtype, np.number):
            yield name, torch.as_tensor(array)
        return
    if depth == _DEPTH or answer is None or isinstance(answer, (str, bytes, bool)):
        return
    if isinstance(answer, torch.distributions.Distribution):
        yield (f"{name}." if name else "") + "mean", answer.mean
        return
    if type(answer).__module__.startswith("pandas"):
        yield name, torch.as_tensor(np.asarray(answer, dtype=np.float64))
        return
    if isinstance(answer, (list, tuple)) and answer and all(type(v) in (int, float) for v in answer):
        yield name, torch.as_tensor(answer, dtype=torch.float64)
        return
    for key, value in _fields(answer):
        yield from _tensors(value, f"{name}.{key}" if name else str(key), depth + 1)


def _fields(answer: Any) -> list[tuple[Any, Any]]:
    if isinstance(answer, Mapping):
        return list(answer.items())
    if isinstance(answer, tuple) and hasattr(answer, "_fields"):
        return list(zip(answer._fields, answer))
    if isinstance(answer, (tuple, list)):
        return list(enumerate(answer))
    if dataclasses.is_dataclass(answer):
        return [(f.name, getattr(answer, f.name)) for f in dataclasses.fields(answer)]
    return list(vars(answer).items()) if hasattr(answer, "__dict__") else []


def _kind(answer: Any) -> str:
    kind = type(answer).__name__
    return f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


def _listed(parts: list[tuple[str, Tensor]]) -> str:
    shown = [f"'{name}' {list(tensor.shape)}" for name, tensor in parts[:8]]
    return ", ".join(shown) + (", ..." if len(parts) > 8 else "")
