"""INT8 by explicit Q/DQ: symmetric, signed, one scale per tensor for activations and one per column for weights."""

from __future__ import annotations

import contextlib
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np

from ..config import CORRECTIONS
from ..errors import GraphError, NotAvailable, UserError
from ..graph.chain import read_chain
from ..graph.graph import input_of, load_graph
from ..graph.precision import graph_precision
from ..graph.unoptimized import fixed_batch
from ..graph.weighted import read_weighted
from ..io.files import scratch_folder, write_atomic
from .layers import quantize_layers
from .modelopt import calibration_method, place_modelopt
from .ranges import check_method
from .summary import QuantizeSummary, checked_rows, summarize

__all__ = ["QUANTIZERS", "quantize_int8"]

QUANTIZERS = ("own", "onnxruntime", "modelopt")
_LAYER_OPS = ["Gemm", "MatMul", "Conv"]


def quantize_int8(
    source: str | Path,
    target: str | Path,
    calibration_rows: Any,
    *,
    method: str = "output",
    percentile: float = 99.99,
    check_rows: Any = None,
    quantizer: str = "auto",
    **options: Any,
) -> QuantizeSummary:
    """Write ``source`` with Q/DQ pairs around the data and the weights of every layer.

    Biases, outputs of layers, activations and scalers stay FP32. Zero points are 0, so TensorRT accepts the graph.

    Parameters
    ----------
    source, target : path
        FP32 graph to read, Q/DQ graph to write (atomically).
    calibration_rows : float32 [n, d]
        Inputs in raw units; they determine the range of every quantized tensor.
    method : "output" | "minmax" | "percentile" | "entropy"
        ``output`` chooses ranges by the error of the network's output.
    percentile : float
        For ``"percentile"``: the percentage of the absolute values that is not clipped.
    check_rows : float32 [n, d], optional
        Rows on which the two graphs are compared; by default the calibration rows.
    quantizer : "own" | "onnxruntime" | "modelopt" | "auto"
        ``own`` (see :func:`~regkd_edge.quantization.layers.quantize_layers`, which takes ``options``) supports chains
        of dense layers, with all corrections, and any graph of Conv, GRU, Gemm and MatMul; ``onnxruntime`` places pairs
        without corrections; ``modelopt`` (see :mod:`~regkd_edge.quantization.modelopt`) follows NVIDIA's rules for
        TensorRT; ``auto`` is ``own`` where that finds layers, else ``onnxruntime``.

    Raises
    ------
    GraphError
        Nothing was quantized, or the outputs are not finite.
    DataError
        The rows have another width, are empty, or are not finite.
    """
    check_method(method, percentile)
    if quantizer not in ("auto", *QUANTIZERS):
        raise UserError(
            f"unknown quantizer '{quantizer}'.", f"Use one of: auto, {', '.join(QUANTIZERS)} (--quantizer)."
        )
    graph_precision(source)  # a graph without layers is refused here, not by a quantizer
    chain = read_chain(source)
    if quantizer == "own" or (
        quantizer == "auto" and not (isinstance(chain, str) and isinstance(read_weighted(source), str))
    ):
        return quantize_layers(
            source,
            target,
            calibration_rows,
            "int8",
            method=method,
            percentile=percentile,
            check_rows=check_rows,
            **options,
        )
    options.pop("labelled", None)  # what is exact enough is a question of how the own quantizer splits numbers
    _only_own(quantizer if quantizer != "auto" else "onnxruntime", options)
    notes = [f"placed by ONNX Runtime without corrections: {chain}"] if quantizer == "auto" else []
    if quantizer == "modelopt":
        method, notes = calibration_method(method)
    elif method == "output":
        notes.append("ranges by percentile: only --quantizer own has method 'output'")
        method = "percentile"
    import onnx

    model = load_graph(source)
    name, width, batch = input_of(model)
    rows = checked_rows(calibration_rows, width, "calibration rows")
    check = rows if check_rows is None else checked_rows(check_rows, width, "check rows")
    _split_gemm(model)
    with write_atomic(target) as temporary, scratch_folder(target) as folder:
        prepared = Path(folder, "prepared.onnx")
        onnx.save(model, prepared)
        if quantizer == "modelopt":
            notes += place_modelopt(prepared, temporary, name, rows, method)
        else:
            _place(prepared, temporary, name, fixed_batch(rows, batch), method, percentile)
        summarize("int8", source, temporary, check, notes=[])  # refuse before the file gets its final name
    calibration = {
        "rows": len(rows),
        "method": method,
        **({"percentile": percentile} if method == "percentile" else {}),
    }
    return summarize("int8", source, target, check, calibration=calibration, notes=notes)


def _only_own(quantizer: str, options: dict[str, Any]) -> None:
    """Refuse what only quantizer ``own`` supports, rather than silently ignore it."""
    corrections = options.get("corrections", CORRECTIONS)
    asked = {
        "bound on the RMSE": options.get("bound") is not None,
        "ranking of layers": options.get("rank_layers", False),
        f"corrections ({', '.join(corrections)})": bool(corrections) and set(corrections) != set(CORRECTIONS),
    }
    for what, is_asked in asked.items():
        if is_asked:
            raise UserError(f"--quantizer {quantizer} has no {what}.", "Omit it, or use --quantizer own.")


def _place(prepared: Path, target: Path, name: str, batches: list[np.ndarray], method: str, percentile: float) -> None:
    try:
        from onnxruntime import quantization as ortq
    except ImportError:
        raise NotAvailable("onnxruntime is not installed.", "Run: pip install 'regkd-edge[distill]'.") from None

    class Rows(ortq.CalibrationDataReader):
        def __init__(self) -> None:
            self._batches = iter(batches)

        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(self._batches, None)
            return None if batch is None else {name: batch}

    methods = {
        "minmax": ortq.CalibrationMethod.MinMax,
        "percentile": ortq.CalibrationMethod.Percentile,
        "entropy": ortq.CalibrationMethod.Entropy,
    }
    options = {
        "ActivationSymmetric": True,
        "WeightSymmetric": True,
        "QuantizeBias": False,  # an INT32 bias adds its own error, and TensorRT needs it in float
        "AddQDQPairToWeight": True,  # float weights + pair: refittable, and both runtimes fold it
        "OpTypesToExcludeOutputQuantization": _LAYER_OPS,
        "CalibTensorRangeSymmetric": True,
        **({"CalibPercentile": percentile} if method == "percentile" else {}),
    }
    chatter = logging.getLogger()
    level = chatter.level
    chatter.setLevel(logging.ERROR)  # it advises a pre-processing that has no effect on these graphs
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            ortq.quantize_static(
                prepared,
                target,
                Rows(),
                quant_format=ortq.QuantFormat.QDQ,
                op_types_to_quantize=_LAYER_OPS,
                per_channel=True,
                activation_type=ortq.QuantType.QInt8,
                weight_type=ortq.QuantType.QInt8,
                calibrate_method=methods[method],
                extra_options=options,
            )
    except Exception as error:  # onnxruntime's exceptions share no public base class
        raise GraphError(
            f"ONNX Runtime could not quantize the graph: {error}.", "Try method 'minmax', or export the student again."
        ) from error
    finally:
        chatter.setLevel(level)


def _split_gemm(model: Any) -> None:
    """Rewrite ``Gemm`` with constant weights as ``MatMul`` + ``Add``, in place, without changing the function.

    ONNX Runtime has no INT8 Gemm that takes a float bias: it runs such a Gemm in float behind the DequantizeLinear, and
    with Relu it even re-quantizes the bias. A MatMul between Q/DQ pairs becomes an integer kernel, and TensorRT builds
    the same layer from either form.
    """
    from onnx import helper, numpy_helper

    graph = model.graph
    weights = {tensor.name: tensor for tensor in graph.initializer}
    readers: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    nodes = []
    for node in graph.node:
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        plain = (
            attributes.get("alpha", 1.0) == 1.0
            and attributes.get("beta", 1.0) == 1.0
            and not attributes.get("transA", 0)
        )
        if node.op_type != "Gemm" or not plain or node.input[1] not in weights or readers[node.input[1]] != 1:
            nodes.append(node)
            continue
        tensor = weights[node.input[1]]
        if attributes.get("transB", 0):
            turned = np.ascontiguousarray(numpy_helper.to_array(tensor).T)
            tensor.CopyFrom(numpy_helper.from_array(turned, tensor.name))
        biased = len(node.input) > 2 and node.input[2]
        product = f"{node.output[0]}_product" if biased else node.output[0]
        nodes.append(helper.make_node("MatMul", list(node.input[:2]), [product], name=node.name))
        if biased:
            nodes.append(helper.make_node("Add", [product, node.input[2]], [node.output[0]], name=f"{node.name}/bias"))
    del graph.node[:]
    graph.node.extend(nodes)
