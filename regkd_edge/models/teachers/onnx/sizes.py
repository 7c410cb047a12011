"""What an ONNX file announces, compared with what is there before any of it is read or computed."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ....errors import ModelError
from ....graph.graph import tensors_of
from ....io.memory import require_memory
from ....io.names import inside

__all__ = ["most_values", "require_values_beside"]

_VALUES, _VALUES_PER_VALUE = 1 << 26, 64


def require_values_beside(model: Any, path: Path) -> int:
    """Return how many bytes the weights of a graph take that are kept in other files.

    Raises
    ------
    ModelError
        A file that is not in the folder of the graph, of which nothing is told; a weight of another size than its
        shape says; weights that are kept once and named many times, or are more than the memory that is available.
    """
    from onnx import TensorProto, helper

    total, files = 0, {}
    for tensor in tensors_of(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        said = {entry.key: entry.value for entry in tensor.external_data}
        location = said.get("location", "").removeprefix("./")
        inside(path.parent, location, f"the tensor '{tensor.name[:60]}' of '{path}'", ModelError)
        try:
            beside = (path.parent / said.get("location", "")).stat().st_size
            begin = int(said.get("offset", 0))
            length = int(said["length"]) if "length" in said else beside - begin
            bits = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize * 8
        except (OSError, ValueError, KeyError, TypeError):
            continue  # the reader says what is wrong with it
        sized = math.prod(tensor.dims) * bits // 8
        if min(tensor.dims, default=1) < 0 or length > max(sized, 1) or begin + length > beside:
            raise ModelError(
                f"the tensor '{tensor.name[:60]}' of '{path}' has the shape {list(tensor.dims)[:8]}, {sized:,} bytes, "
                f"and takes {length:,} bytes of the {beside:,} in '{said['location'][:60]}'.",
                "Export it again.",
            )
        total += length
        files[said["location"]] = beside
    if total > 2 * sum(files.values()):
        raise ModelError(
            f"'{path}' takes {total:,} bytes of weights out of files that hold {sum(files.values()):,}.",
            "Export it again.",
        )
    require_memory(2 * total, f"reading '{path}'", "Give a smaller teacher, or free memory.", ModelError)
    return total


def most_values(given: int, weights: int) -> int:
    """Return how many numbers all steps of a graph may hold together.

    Parameters
    ----------
    given : int
        Numbers in the rows that it is tried with.
    weights : int
        Numbers in its weights.
    """
    return _VALUES + _VALUES_PER_VALUE * (given + weights)
