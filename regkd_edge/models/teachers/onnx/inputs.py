"""Rows for an ONNX graph: which columns become which of its inputs, in which shape and type."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import ModelError
from ....io.words import counted

__all__ = ["NUMPY", "OnnxInputs"]

NUMPY = {1: np.float32, 10: np.float16, 11: np.float64, 6: np.int32, 7: np.int64, 9: np.bool_, 2: np.uint8, 3: np.int8}
"""Types of ONNX's numbers, by their code."""
_NUMBERS = 1 << 26  # of all rows that a graph takes at once


class OnnxInputs:
    """How a row [d] becomes the inputs of a graph: its columns in the order of the inputs,
    in their shapes and types."""

    def __init__(self, infos: list[Any], path: Path):
        self.names = [info.name for info in infos]
        self.types, self.shapes = [], []
        for info in infos:
            kind = info.type.tensor_type.elem_type
            if not info.type.HasField("tensor_type") or kind not in NUMPY:
                raise ModelError(
                    f"the input '{info.name}' of '{path}' is not a tensor of numbers.", "Export it with number inputs."
                )
            self.types.append(kind)
            self.shapes.append(
                [d.dim_value if d.HasField("dim_value") else None for d in info.type.tensor_type.shape.dim]
            )
        self.widths = [_width(shape) for shape in self.shapes]
        if len(infos) != 1 and None in self.widths:
            unknown = self.names[self.widths.index(None)]
            raise ModelError(
                f"'{path}' has {counted(len(infos), 'input')}, and '{unknown}' does not say its number of columns.",
                "Export it with a fixed number of columns for each input.",
            )
        first = {shape[0] for shape in self.shapes if len(shape) > 1 and shape[0] is not None}
        self.batch = 1 if any(len(shape) == 1 and shape[0] not in (None, 1) for shape in self.shapes) else None
        self.batch = self.batch or (first.pop() if len(first) == 1 else None)
        taken = (self.batch or 1) * sum(width or 1 for width in self.widths)
        if not 0 < taken <= _NUMBERS:
            raise ModelError(
                f"'{path}' takes {taken:,} numbers at once, expected 1 to {_NUMBERS:,}.",
                "Export it with a free number of rows, or for smaller ones.",
            )

    @property
    def features(self) -> int | None:
        return None if None in self.widths else sum(self.widths)

    def split(self, x: Any, columns: Any) -> list[Any]:
        """Columns [n, d] -> one array per input; ``columns(x, begin, end)`` takes some of them."""
        if len(self.names) == 1:
            return [x]
        ends = np.cumsum(self.widths).tolist()
        return [columns(x, end - width, end) for end, width in zip(ends, self.widths)]

    def shaped(self, values: Any, k: int) -> Any:
        """Rows of input k in the shape that it has."""
        shape = self.shapes[k]
        if len(shape) == 1:
            return values.reshape(-1)
        return values.reshape(-1, *(-1 if s is None else s for s in shape[1:])) if len(shape) > 2 else values


def _width(shape: list[int | None]) -> int | None:
    inner = shape[1:] if len(shape) > 1 else ([1] if shape in ([None], [1]) else shape)
    return None if any(size is None for size in inner) else math.prod(inner)
