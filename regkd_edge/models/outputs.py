"""What a network answered, as one tensor [n, o]: which tensors of a tuple, dict or record they are, in which shape."""

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
        Name or index of the output that holds the predictions (``"1"``, ``"mean"``, ``"heads.speed"``), or several
        with commas (``"x,y"``), which are joined in this order. Without it: the outputs that are named as the targets;
        else the one output that can be it; else all, where together they are as wide as the targets.
    width : int, optional
        Number of targets, where it is known: an output of another width cannot be it.
    targets : list of str, optional
        Names of the targets, where they are known.

    Attributes
    ----------
    note : str
        What was chosen, when there was something to choose; empty otherwise.
    chosen : dict of str to int, or None
        The names of the outputs that were chosen last, where there are several, each with its number of dimensions.
    """

    def __init__(
        self, source: str, pick: str | None = None, width: int | None = None, targets: list[str] | None = None
    ):
        self.source, self.pick, self.width = source, None if pick is None else str(pick), width
        self.targets = targets
        self.note = ""
        self.chosen: dict[str, int] | None = None

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
        chosen = self._chosen(kind, parts, n)
        rows = [self._rows(tensor, n) for _, tensor in chosen]
        if chosen[0][0]:
            names = ", ".join(f"'{name}'" for name, _ in chosen)
            taken = "its output {} is taken as" if len(chosen) == 1 else "its outputs {}, joined in this order, are"
            self.note = f"the teacher returns {_kind(answer)}; {taken.format(names)} the predictions"
            self.chosen = {name: tensor.ndim for name, tensor in chosen}
        return rows[0] if len(rows) == 1 else torch.cat(rows, 1)

    def _chosen(self, kind: str, parts: list[tuple[str, Tensor]], n: int) -> list[tuple[str, Tensor]]:
        if self.pick is not None:
            wanted = [self.pick] if any(name == self.pick for name, _ in parts) else self.pick.split(",")
            found = [_named(parts, name.strip()) for name in wanted]
            if None in found:
                raise self._no_such_output(f"a {kind}", parts)
            return [part for part in found if part is not None]
        named = self._as_targets(parts, n)
        if named:
            return named
        fitting = [part for part in parts if self._could_be(part[1], n)]
        if not fitting:
            widths = [_width(tensor, n) for _, tensor in parts]
            joined = [part for part, width in zip(parts, widths) if width is not None]
            if self.width is not None and sum(width or 0 for width in widths) == self.width:
                return joined
            fitting = parts
        if len(fitting) > 1:
            by_name = {name.rpartition(".")[2].lower(): part for part in reversed(fitting) for name in (part[0],)}
            fitting = next(([by_name[name]] for name in _NAMES if name in by_name), fitting)
        if len(fitting) > 1:
            raise ModelError(
                f"the teacher ({self.source}) returned a {kind} of {_listed(parts)}, and several of these can be the "
                "predictions.",
                f"Name one with --output {fitting[0][0]} (output= in Python), join several with --output "
                f"{fitting[0][0]},{fitting[1][0]}, or return it alone.",
            )
        return fitting

    def _as_targets(self, parts: list[tuple[str, Tensor]], n: int) -> list[tuple[str, Tensor]] | None:
        """The outputs of one number that have the names of the targets, in the order of the targets."""
        of = {
            target: [part for part in parts if part[0].rpartition(".")[2] == target and _width(part[1], n) == 1]
            for target in self.targets or []
        }
        return [found[0] for found in of.values()] if of and all(len(found) == 1 for found in of.values()) else None

    def _could_be(self, tensor: Tensor, n: int) -> bool:
        width = _width(tensor, n)
        return width is not None and self.width in (None, width)

    def _no_such_output(self, what: str, parts: list[tuple[str, Tensor]]) -> ModelError:
        listed = f" of {_listed(parts)}" if parts else ""
        return ModelError(
            f"the teacher ({self.source}) has no output '{self.pick}': it returned {what}{listed}.",
            "Name one of its outputs with --output, several with commas, or leave it out.",
        )

    def _rows(self, y: Tensor, n: int) -> Tensor:  # [n, o]
        odd = (
            "complex numbers" if y.is_complex()
            else "True or False" if y.dtype == torch.bool
            else "a meta tensor, which has a shape and no values" if y.is_meta
            else "a nested tensor" if y.is_nested
            else None
        )  # fmt: skip
        if odd is not None:
            raise ModelError(
                f"the teacher ({self.source}) answers {odd}.", "Return predictions as a dense tensor of real numbers."
            )
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
    """Some of the outputs of a module that returns several, joined: their names, each with its dimensions."""

    def __init__(self, module: nn.Module, names: Mapping[str, int]):
        super().__init__()
        self.module, self.names = module, dict(names)

    def forward(self, x: Tensor) -> Tensor:
        parts = dict(_tensors(self.module(x)))
        chosen = [(parts[name], dimensions) for name, dimensions in self.names.items()]
        if len(chosen) == 1:
            return chosen[0][0]
        return torch.cat([y.unsqueeze(1) if dims == 1 else y.flatten(1) if dims > 2 else y for y, dims in chosen], 1)


def _named(parts: list[tuple[str, Tensor]], name: str) -> tuple[str, Tensor] | None:
    """The output of that name or index."""
    found = next((part for part in parts if part[0] == name), None)
    if found is None and name.removeprefix("-").isdigit() and -len(parts) <= int(name) < len(parts):
        found = parts[int(name)]
    return found


def _width(tensor: Tensor, n: int) -> int | None:
    """The width of a row, where there is one row for each of n; else None."""
    if tensor.dtype == torch.bool or tensor.is_complex():
        return None
    shape = [size for size in tensor.shape[1:] if size != 1]
    rows = len(tensor) == n if tensor.ndim else n == 1
    if not rows or len(shape) > 1:
        return None
    return shape[0] if shape else 1


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
