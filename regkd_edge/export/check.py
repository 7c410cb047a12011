"""Check that an exported graph computes what its network computes, on unseen rows."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..data import Scalers
from ..errors import GraphError, NotAvailable
from ..models import predict

__all__ = ["check_onnx"]

_TIMES_FLOAT32 = 8.0  # sums in another order and another exp: a small multiple of float32's own error
_PROBES = 256
_LOST = 1e-3  # of the target's deviation (or of the output): beyond it the engine is no longer the student


def check_onnx(
    path: str | Path,
    module: nn.Module,
    scalers: Scalers,
    x: np.ndarray,  # [n, d] raw units
    names: Sequence[str] = (),  # [o], for messages
) -> np.ndarray:
    """Run the graph with ONNX Runtime on rows, and on 256 Gaussian ones, and compare it with its network.

    The reference is the network in float64 on the float64 rows. The tolerance is 8 times PyTorch's error against that
    reference on the path of the graph (rows, scalers and weights in float32), plus 8 roundings of the
    output: a graph that computes the same function stays within it in any order of summation. The Gaussian rows make
    that estimate reliable with few rows. In addition, no output may be further than 0.1 % of the target's deviation (or
    of the output itself, if far outside) from the reference, which detects inputs that float32 resolves too coarsely.

    Returns
    -------
    [o] float64
        The largest difference between graph and reference on the given rows, of each output in its own unit.

    Raises
    ------
    GraphError
        The graph does not load, has different inputs or outputs, or differs.
    NotAvailable
        ONNX Runtime is not installed.
    """
    given = len(x)
    probes = scalers.x.restore(np.random.default_rng(0).standard_normal((_PROBES, scalers.x.width)))
    x = np.concatenate([np.asarray(x, dtype=np.float64).reshape(given, scalers.x.width), probes])
    y = _run(path, x.astype(np.float32), scalers)
    reference = predict(copy.deepcopy(module).double(), scalers, x)
    single = _float32_path(module, scalers, x)
    eps = np.finfo(np.float32).eps
    tolerance = _TIMES_FLOAT32 * (np.abs(single - reference).max(0) + eps * np.abs(reference).max(0))  # [o]
    difference = np.abs(y - reference)  # [n, o]
    if not np.isfinite(y).all() or (difference.max(0) > tolerance).any():
        worst = int(np.nanargmax(np.where(np.isfinite(difference), difference, np.inf).max(0) / tolerance))
        raise GraphError(
            f"'{path}' differs from its network by {difference[:, worst].max():.3g} in output {worst}, expected at "
            f"most {tolerance[worst]:.3g}.",
            "Export it again; if the difference persists, please report a bug.",
        )
    allowed = _LOST * np.maximum(scalers.y.scale, np.abs(reference - scalers.y.mean))
    if (difference > allowed).any():
        row, output = np.unravel_index(int(np.argmax(difference / allowed)), difference.shape)
        name = names[output] if len(names) == scalers.y.width else f"output {output}"
        step = float(np.spacing(np.float32(abs(reference[row, output]))))
        target = step > 0.5 * difference[row, output]  # the answer itself has no finer neighbours
        raise GraphError(
            f"'{path}' is off by {difference[row, output]:.3g} in {name}, more than 0.1 % of the target's deviation "
            f"{scalers.y.scale[output]:.3g}: float32 is too coarse for "
            + (f"this target, whose values are near {reference[row, output]:.4g}." if target else "the raw inputs."),
            f"Subtract a constant offset from {'this target' if target else 'input columns'}"
            f"{', which varies' if target else ' that vary'} little around a large value.",
        )
    return difference[:given].max(0, initial=0.0)


def _run(path: str | Path, x: np.ndarray, scalers: Scalers) -> np.ndarray:  # x [n, d] float32
    try:
        import onnxruntime as ort
    except ImportError:
        raise NotAvailable(
            "ONNX Runtime is not installed, and the check of the export needs it.", "Run: pip install onnxruntime."
        ) from None
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:  # ONNX Runtime's exceptions are not public
        raise GraphError(
            f"'{path}' does not load in ONNX Runtime: {str(error).splitlines()[0]}.", "Export it again."
        ) from None
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if [i.name for i in inputs] != ["x"] or [o.name for o in outputs] != ["y"]:
        raise GraphError(
            f"'{path}' has inputs {[i.name for i in inputs]} and outputs "
            f"{[o.name for o in outputs]}, expected ['x'] and ['y'].",
            "Export it again.",
        )
    batch, *row = inputs[0].shape
    d = math.prod(row)
    if (d, outputs[0].shape[-1]) != (scalers.x.width, scalers.y.width):
        raise GraphError(
            f"'{path}' takes {d} inputs and gives {outputs[0].shape[-1]} outputs, expected {scalers.x.width} and "
            f"{scalers.y.width}.",
            "Export it again.",
        )
    size = batch if isinstance(batch, int) else max(1, len(x))
    parts = []
    for start in range(0, len(x), size):
        rows = x[start : start + size]
        padded = np.concatenate([rows, np.repeat(rows[-1:], size - len(rows), axis=0)]) if len(rows) < size else rows
        parts.append(session.run(["y"], {"x": padded.reshape(len(padded), *row)})[0][: len(rows)])
    return np.concatenate(parts).astype(np.float64)


def _float32_path(module: nn.Module, scalers: Scalers, x: np.ndarray) -> np.ndarray:
    x_mean, x_inverse, y_scale, y_mean = (
        torch.from_numpy(v).float() for v in (scalers.x.mean, 1 / scalers.x.scale, scalers.y.scale, scalers.y.mean)
    )
    with torch.no_grad():
        standardized = (torch.from_numpy(x).float() - x_mean) * x_inverse
        return (module.eval()(standardized) * y_scale + y_mean).double().numpy()
