"""MAT files of MATLAB, by SciPy, in a process of its own:
SciPy ends with a segmentation fault on some damaged files."""

from __future__ import annotations

import importlib.util
import io
import json
import math
from pathlib import Path

import numpy as np

from ...errors import DataError, NotAvailable
from ...io.child import run_limited
from ...io.limits import INFLATED_BYTES, INFLATED_RATIO, SHEET_BYTES, SHEET_SECONDS
from .frame import Frame
from .layout import require_few
from .npz import of_arrays, of_columns

__all__ = ["read_mat"]

_OTHER = ("cell", "struct", "object", "function", "opaque", "unknown")
# Writes one line of JSON: names, shapes and classes of the variables, or the error; then an NPZ file of the arrays,
# unless there are cells and the like, or more numbers than the file can hold.
_READER = """
import io, json, math, sys
import numpy as np
from scipy.io import loadmat, whosmat
path, most, others = sys.argv[3], int(sys.argv[4]), sys.argv[5].split()
limit(int(sys.argv[1]), int(sys.argv[2]))
content = b""
try:
    listed = [(name, [max(0, int(extent)) for extent in shape], kind) for name, shape, kind in whosmat(path)]
    head = {"listed": listed}
    announced = sum(8 * math.prod(shape) for _, shape, kind in listed if kind != "sparse")
    if announced <= most and not any(kind in others for _, _, kind in listed):
        found = loadmat(path, variable_names=[name for name, _, kind in listed if kind != "sparse"])
        arrays = [(n, a) for n, a in found.items() if not n.startswith("__") and isinstance(a, np.ndarray)]
        if any(array.dtype.hasobject for _, array in arrays):
            raise ValueError("it holds more than numbers and texts")
        head["names"] = [name for name, _ in arrays]
        out = io.BytesIO()
        np.savez(out, *(array for _, array in arrays))
        content = out.getvalue()
except MemoryError:
    raise SystemExit(3)
except NotImplementedError:
    head = {"newer": True}
except Exception as error:  # SciPy raises one of a dozen kinds for a damaged file
    head = {"error": str(error).strip(".")}
sys.stdout.buffer.write(json.dumps(head).encode() + b"\\n" + content)
"""


def read_mat(path: Path) -> Frame:
    """Read a MAT file of versions 4 to 7.2, its variables as those of an NPZ file; vectors [N, 1] are columns."""
    if importlib.util.find_spec("scipy") is None:
        raise NotAvailable(
            "MAT files are read by SciPy, which is not installed.", "Run: pip install scipy, or give a CSV file."
        )
    arrays = {}
    for name, array in _stored(path).items():
        known = name in ("feature_names", "target_names") or {"x", "y"} & {name}
        flat = array.ndim == 2 and 1 in array.shape and not (name == "x" and array.shape[1] == 1)
        arrays[name] = np.char.strip(array) if known and array.dtype.kind == "U" else array.ravel() if flat else array
    if len(arrays) == 1 and next(iter(arrays.values())).ndim == 2:
        require_few(path, next(iter(arrays.values())).shape[1])
        return of_columns(path, {f"c{i}": column for i, column in enumerate(next(iter(arrays.values())).T, start=1)})
    return of_arrays(path, arrays)


def _stored(path: Path) -> dict[str, np.ndarray]:
    """The arrays and texts of a file, whose shapes agree with its size; cells and structs are refused."""
    size = path.stat().st_size
    most = max(INFLATED_BYTES, 8 * INFLATED_RATIO * size)  # whole numbers of one byte are stored as such
    written = run_limited(
        _READER, [path, most, " ".join(_OTHER)], SHEET_BYTES + 4 * most, SHEET_SECONDS + size // 2**20
    )
    head, _, content = (written or b"{}").partition(b"\n")
    found = json.loads(head)
    if found.get("newer"):
        raise DataError(f"'{path}' is a MAT file of version 7.3 (HDF5).", "Save it with: save(file, variables, '-v7').")
    if "listed" not in found:
        problem = found.get("error") or "SciPy cannot read it"
        raise DataError(f"'{path}' is not a readable MAT file: {problem}.", "Save it again with -v7.")
    for name, _, kind in found["listed"]:
        if kind in _OTHER:
            raise DataError(
                f"'{path}': variable '{name}' is a {kind}, expected numbers.",
                "Save matrices x and y, or one vector a column.",
            )
    if "names" not in found:
        announced = sum(8 * math.prod(shape) for _, shape, kind in found["listed"] if kind != "sparse")
        raise DataError(
            f"'{path}' has {size:,} bytes and announces {announced:,} bytes of numbers.", "Save it again with -v7."
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        return {name: archive[f"arr_{i}"] for i, name in enumerate(found["names"])}
