"""INT8 pairs placed by nvidia-modelopt: optional, and verified, because it can silently quantize nothing.

It places pairs by NVIDIA's rules of what TensorRT fuses and tensor cores support. They skip a product with one row or
one output, and from version 0.44 one with fewer than 16 inputs or outputs, so layers of a small student stay in FP32. A
dynamic batch counts as 1 for it, and with one row it quantizes nothing: it gets the graph with a batch of 64, and
the graph's own batch is restored afterwards.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import GraphError, NotAvailable, UserError
from ..graph.graph import load_graph
from ..graph.precision import graph_precision
from ..graph.unoptimized import fixed_batch

__all__ = ["calibration_method", "place_modelopt"]

_BATCH = 64
_METHODS = {"minmax": "max", "entropy": "entropy"}  # our name -> modelopt's

# It runs in a separate process: modelopt replaces functions of onnxruntime.quantization, and the quantizer
# 'onnxruntime' then fails in the same process. This also keeps torch and progress bars out of ours.
_ABSENT = 3
_WORK = f"""
import sys
try:
    import numpy
    from modelopt.onnx.quantization import quantize
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit({_ABSENT})
source, target, name, rows, method = sys.argv[1:]
quantize(
    source,
    quantize_mode="int8",
    calibration_data={{name: numpy.load(rows)}},
    calibration_method=method,
    calibration_eps=["cpu"],  # ranges that do not depend on the machine's GPU
    high_precision_dtype="fp32",  # its default turns everything that is not INT8 into FP16
    dq_only=False,  # the default changed between versions
    output_path=target,
    log_level="ERROR",
)
"""


def _batch(model: Any) -> int | str:
    """Return the batch of a graph's input: a number, or the name of a dynamic one."""
    dim = model.graph.input[0].type.tensor_type.shape.dim[0]
    return dim.dim_value or dim.dim_param or "batch"


def _set_batch(model: Any, batch: int | str) -> None:
    """Write a batch into a graph's inputs and outputs, in place."""
    for value in (*model.graph.input, *model.graph.output):
        dim = value.type.tensor_type.shape.dim[0]
        dim.Clear()
        if isinstance(batch, int):
            dim.dim_value = batch
        else:
            dim.dim_param = batch
    del model.graph.value_info[:]  # intermediate shapes still have the old batch


def calibration_method(method: str) -> tuple[str, list[str]]:
    """Return the calibration method, and the notes on it.

    ``output`` belongs to quantizer ``own`` and becomes ``entropy``, modelopt's own default; ``percentile`` is a
    :class:`UserError`.
    """
    if method == "output":
        return "entropy", ["ranges by entropy: modelopt does not support method 'output'"]
    if method not in _METHODS:
        cause = f"modelopt has no calibration method '{method}'."
        raise UserError(cause, "Use method minmax or entropy, or --quantizer own.")
    return method, []


def place_modelopt(prepared: Path, target: Path, name: str, rows: np.ndarray, method: str) -> list[str]:
    """Let ``modelopt.onnx.quantization`` quantize ``prepared`` into ``target``; return notes on the result.

    Parameters
    ----------
    prepared, target : path
        FP32 graph in a writable folder of its own; Q/DQ graph to write. Both end in ``.onnx``.
    name : str
        The graph's input.
    rows : float32 [n, d]
        Calibration rows in raw units.
    method : "minmax" | "entropy"

    Raises
    ------
    NotAvailable
        modelopt, or a library that it needs, is not installed.
    GraphError
        It failed, or it ended without error and quantized no layer.
    """
    import onnx

    folder = prepared.resolve().parent
    model = load_graph(prepared)
    batch = _batch(model)
    shown = batch if isinstance(batch, int) and batch > 1 else _BATCH
    _set_batch(model, shown)
    onnx.save(model, prepared)
    output = folder / "modelopt.onnx"
    np.save(folder / "rows.npy", np.concatenate(fixed_batch(rows, shown)))  # it splits them into equal parts
    arguments = [prepared.resolve(), output, name, folder / "rows.npy", _METHODS[method]]
    done = subprocess.run(
        [sys.executable, "-c", _WORK, *map(str, arguments)],
        cwd=folder,  # Python looks for modules there first
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        errors="replace",
    )
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    cause = said[-1] if said else f"exit status {done.returncode}"
    if done.returncode == _ABSENT:
        raise NotAvailable(
            f"nvidia-modelopt cannot be imported: {cause}.",
            "Run: pip install 'regkd-edge[modelopt]' in an environment of its own, or use --quantizer own.",
        )
    if done.returncode:
        raise GraphError(f"modelopt could not quantize the graph: {cause}.", "Use --quantizer own or onnxruntime.")
    graph = graph_precision(output if output.is_file() else prepared)
    left = [layer.name for layer in graph.layers if layer.precision != "int8"]
    if len(left) == len(graph.layers):
        raise GraphError(
            f"modelopt ended without an error and quantized nothing: {graph.pairs} Q/DQ pairs, none of"
            f" {len(left)} layers in int8. It silently leaves out layers with one output, "
            "and layers less than 16 wide.",
            "Make the hidden layers 16 wide or more, or use --quantizer own.",
        )
    model = load_graph(output)
    _set_batch(model, batch)
    del model.metadata_props[:]
    model.metadata_props.extend(load_graph(prepared).metadata_props)  # modelopt drops them
    onnx.save(model, target)
    notes = ["placed by modelopt without corrections"]
    return [*notes, f"modelopt left {', '.join(left)} in fp32"] if left else notes
