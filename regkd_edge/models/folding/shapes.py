"""Shapes, selections and concatenations of a symbolic row, one function per operation of torch, with its arguments."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .branches import joined
from .symbolic_row import NotAChain, SymbolicRow
from .values import RowCount, Stacked, symbolic

__all__ = [
    "attribute",
    "chunked",
    "concatenated",
    "converted",
    "flattened",
    "index_selected",
    "indexed",
    "item",
    "reshaped",
    "selected",
    "size",
    "sliced",
    "split",
    "squeezed",
    "stacked",
    "unbound",
    "unsqueezed",
]


def reshaped(x: SymbolicRow, *shape: Any, **_: Any) -> SymbolicRow:
    shape = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list, torch.Size)) else shape
    if len(shape) == 2 and (isinstance(shape[0], RowCount) or shape[0] == -1) and shape[1] in (-1, x.width):
        return x
    if x.width == 1 and len(shape) == 1 and (isinstance(shape[0], RowCount) or shape[0] == -1):
        return x
    raise NotAChain(f"a reshape to {tuple('n' if isinstance(s, RowCount) else s for s in shape)}")


def flattened(x: SymbolicRow, start_dim: int = 0, end_dim: int = -1) -> SymbolicRow:
    if start_dim == 1 or x.width == 1:
        return x
    raise NotAChain("a flattening of the rows")


def squeezed(
    x: SymbolicRow, dim: Any = -1
) -> SymbolicRow:  # of [n, 1]; whether the shape is right, the comparison on rows shows
    if x.width == 1 and dim in (-1, 1, [1], [-1], (1,), (-1,)):
        return x
    raise NotAChain("a squeeze")


def unsqueezed(x: SymbolicRow, dim: int) -> Any:
    if x.width == 1 and dim in (-1, 1):
        return x
    return Stacked([x], dim)  # as exporters write the members of an ensemble, which are concatenated next


def item(x: Any, index: Any) -> Any:
    if (
        isinstance(x, SymbolicRow)
        and isinstance(index, tuple)
        and index[:2] == (slice(None),) * 2
        and set(index[2:]) <= {None}
    ):
        return x  # [n, width, 1]: whether the shape is right, the comparison on rows shows
    if isinstance(x, tuple):
        return x[index]
    if (
        isinstance(x, SymbolicRow)
        and isinstance(index, tuple)
        and len(index) == 2
        and index[0] in (slice(None), Ellipsis)
    ):
        if index[1] is None and x.width == 1:
            return x
        if isinstance(index[1], (int, slice, list, tuple, Tensor)) and not symbolic(index[1]):
            return x.columns(torch.arange(x.width)[index[1]].reshape(-1))
    raise NotAChain("a selection of rows")


def sliced(x: SymbolicRow, dim: int = 0, start: Any = None, end: Any = None, step: int = 1) -> SymbolicRow:
    if dim in (1, -1):
        return x.columns(torch.arange(x.width)[slice(start, end, step)])
    if start in (None, 0) and end in (None, 2**63 - 1) and step == 1:
        return x
    raise NotAChain("a selection of rows")


def selected(x: SymbolicRow, dim: int, index: Any) -> SymbolicRow:
    if dim not in (1, -1) or symbolic(index):
        raise NotAChain("a selection of rows")
    return x.columns(torch.arange(x.width)[index].reshape(-1))


def index_selected(x: SymbolicRow, dim: int, index: Tensor) -> SymbolicRow:
    if dim not in (1, -1):
        raise NotAChain("a selection of rows")
    return x.columns(index)


def indexed(x: SymbolicRow, indices: Any) -> SymbolicRow:  # aten.index.Tensor
    if len(indices) != 2 or indices[0] is not None or symbolic(indices):
        raise NotAChain("a selection of rows")
    return x.columns(torch.arange(x.width)[indices[1]].reshape(-1))


def split(x: SymbolicRow, sizes: Any, dim: int = 0) -> tuple[SymbolicRow, ...]:
    if dim not in (1, -1):
        raise NotAChain("a selection of rows")
    return tuple(x.columns(part) for part in torch.arange(x.width).split(sizes))


def chunked(x: SymbolicRow, chunks: int, dim: int = 0) -> tuple[SymbolicRow, ...]:
    if dim not in (1, -1):
        raise NotAChain("a selection of rows")
    return tuple(x.columns(part) for part in torch.arange(x.width).chunk(chunks))


def unbound(x: SymbolicRow, dim: int = 0) -> tuple[SymbolicRow, ...]:
    return split(x, 1, dim)


def concatenated(tensors: Any, dim: int = 0, axis: int | None = None) -> Any:
    dim = dim if axis is None else axis
    if all(isinstance(t, Stacked) and t.dim == dim % 3 for t in tensors):
        return Stacked([part for t in tensors for part in t.parts], dim)
    if dim not in (1, -1) or not all(isinstance(t, SymbolicRow) for t in tensors):
        raise NotAChain("a concatenation of other than columns")
    return joined(tensors)


def stacked(tensors: Any, dim: int = 0, axis: int | None = None) -> Any:
    dim = dim if axis is None else axis
    if not all(isinstance(t, SymbolicRow) for t in tensors):
        raise NotAChain("a stack of branches and constants")
    if dim in (1, -1) and all(t.width == 1 for t in tensors):
        return joined(tensors)
    return Stacked(list(tensors), dim)


def size(x: SymbolicRow, dim: int | None = None) -> Any:
    shape = (RowCount(), x.width)
    return shape if dim is None else shape[dim]


def attribute(x: SymbolicRow, name: str) -> Any:
    known = {"shape": lambda: (RowCount(), x.width), "dtype": lambda: torch.float32, "ndim": lambda: 2}
    known["device"] = lambda: torch.device("cpu")
    if name not in known:
        raise NotAChain(f"the attribute '{name}' of the row")
    return known[name]()


def converted(x: SymbolicRow, *args: Any, **kwargs: Any) -> SymbolicRow:
    for value in (*args, *kwargs.values()):
        if isinstance(value, torch.dtype) and value not in (torch.float32, torch.float64):  # others round
            raise NotAChain(f"a conversion to {value}")
    return x
