"""What stands for the row and its numbers while a graph is followed, and the constants beside it."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .symbolic_row import NotAChain, SymbolicRow

__all__ = ["RowCount", "Stacked", "require_constant", "scalar", "symbolic", "vector"]


class RowCount:
    """The number of rows, which nothing but a reshape may depend on."""

    def __int__(self) -> int:
        raise NotAChain("a number of rows that is computed with")

    __index__ = __int__


class Stacked:
    """Rows of several branches, [n, width] each, along a new dimension of 3: what is left is their sum or mean."""

    def __init__(self, parts: list[SymbolicRow], dim: int):
        self.parts, self.dim = parts, dim % 3


def symbolic(args: Any, kwargs: Any = ()) -> bool:
    """Whether any of the arguments depends on the row."""
    if isinstance(args, dict):
        args = tuple(args.values())
    if isinstance(args, (tuple, list)):
        return any(symbolic(a) for a in args) or (bool(kwargs) and symbolic(kwargs))
    return isinstance(args, (SymbolicRow, RowCount, Stacked))


def require_constant(*values: Any) -> None:
    if symbolic(values):
        raise NotAChain("a matrix that depends on the row")


def scalar(value: Any) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value.double())
    return None


def vector(value: Any, width: int) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != width or value.shape[-1] != width:
        raise NotAChain("a constant of another shape")
    return value.reshape(-1)
