"""The precision that an engine executes, from the engine inspector, compared with its network.

The requested precision is read from TensorRT's own network, so it needs no onnx package. The executed one is in the
inspector's JSON, of which there are two forms: layers as objects with tensors and tactics (detailed), or bare names.
If TensorRT fused layers so that the JSON does not show it, that share is "unread", never guessed.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

from ...errors import GraphError

__all__ = ["Planned", "executed_share", "inspected", "label_of", "network_layers"]

UNREAD = "unread"
_SHORT = {"FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT8": "int8", "FP8": "fp8"}
# Type names of the inspector, long ("Row major linear FP16 format") or short ("Half"); the first match counts.
_WRITTEN = (
    ("bf16", r"\bbf16\b|bfloat16"),
    ("fp16", r"\bfp16\b|\bhalf\b"),
    ("fp8", r"\bfp8\b|e4m3"),
    ("int8", r"\bint8\b"),
    ("fp32", r"\bfp32\b|\bfloat\b|float32"),
)
# Kernel names contain the types of the factors, e.g. sm80_xmma_gemm_i8i8_i8i32_f32_tn..., ampere_h16816gemm_...
_TACTIC = (
    ("int8", r"_(?:i8i8|s8s8|u8i8)|(?:imma|i8816|i16832)"),
    ("fp8", r"e4m3e4m3|_(?:f8f8|fp8)|qgmma"),
    ("tf32", r"tf32|_s1688"),
    ("bf16", r"bf16bf16"),
    ("fp16", r"(?<!b)f16f16|_h(?:884|1688|16816)|(?:^|_)hgemm"),
    ("fp32", r"f32f32|(?:^|_)sgemm|ffma"),
)
_PRODUCTS = re.compile(r"gemm|gemv|matmul|matrix|conv|fprop|mma|fully", re.IGNORECASE)


@dataclass(frozen=True)
class Planned:
    """A layer with weights: its name, the precision in the graph, multiply-adds per row."""

    name: str
    precision: str
    multiply_adds: int


def label_of(planned: list[Planned]) -> str:
    """Return the precisions of a network as a label, largest share first: "int8+fp32"; "unknown" without layers."""
    share: dict[str, int] = {}
    for layer in planned:
        share[layer.precision] = share.get(layer.precision, 0) + layer.multiply_adds
    return "+".join(sorted(share, key=lambda precision: -share[precision])) or "unknown"


def network_layers(trt: Any, network: Any) -> list[Planned]:
    """Return the products with constant weights in a parsed network, in order."""
    makers = {}
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    for layer in layers:
        for index in range(layer.num_outputs):
            makers[layer.get_output(index).name] = layer
    found = []
    for layer in layers:
        if layer.type != trt.LayerType.MATRIX_MULTIPLY:
            continue
        data, weights = layer.get_input(0), layer.get_input(1)
        pair, constant = _behind(trt, weights, makers)
        if not constant:
            continue
        data_pair, _ = _behind(trt, data, makers)
        stored = None if pair is None else _short(trt, pair.get_input(0).dtype)
        precision = (
            _short(trt, data.dtype) if stored is None else stored if data_pair is not None else f"{stored}-weights"
        )
        found.append(Planned(layer.name, precision, math.prod(int(n) for n in weights.shape)))
    return found


def _behind(trt: Any, tensor: Any, makers: dict[str, Any]) -> tuple[Any, bool]:
    """Return (the DEQUANTIZE layer that a tensor comes from or None, whether it derives from a constant)."""
    pair = None
    passes = {trt.LayerType.SHUFFLE, trt.LayerType.IDENTITY, trt.LayerType.CAST, trt.LayerType.QUANTIZE}
    while True:
        maker = makers.get(tensor.name)
        if maker is None:
            return pair, False
        if maker.type == trt.LayerType.CONSTANT:
            return pair, True
        if maker.type == trt.LayerType.DEQUANTIZE:
            pair = pair or maker
        elif maker.type not in passes:
            return pair, False
        tensor = maker.get_input(0)


def _short(trt: Any, kind: Any) -> str:
    name = str(kind).split(".")[-1]
    return _SHORT.get(name, name.lower())


def inspected(text: str) -> list[dict[str, Any]] | None:
    """Return layers of the inspector's JSON as objects; None if it holds names only, or is not JSON."""
    try:
        content = json.loads(text)
    except (TypeError, json.JSONDecodeError):
        return None
    layers = content.get("Layers") if isinstance(content, dict) else None
    if not isinstance(layers, list) or not layers or not all(isinstance(layer, dict) for layer in layers):
        return None
    return layers


def executed_share(
    planned: list[Planned], text: str, *, tf32: bool = False
) -> tuple[dict[str, float] | None, list[str]]:
    """Return the share of the multiply-adds by the precision in which they are computed, and remarks.

    Parameters
    ----------
    planned : of :func:`network_layers`
    text : the inspector's JSON
    tf32 : whether FP32 layers may use TF32

    Raises
    ------
    GraphError
        A layer is computed in another precision than the graph asks for.
    """
    layers = inspected(text)
    if layers is None:
        return None, ["the executed precision of each layer is unknown: the inspector gave names only"]
    total = sum(layer.multiply_adds for layer in planned)
    share: dict[str, float] = {}
    wrong = []
    for layer in planned:
        done = _precision_of(layer.name, layers)
        if done == "tf32" and tf32 and layer.precision == "fp32":
            pass
        elif done != UNREAD and not _same(layer.precision, done):
            wrong.append(f"'{layer.name}' is {layer.precision} in the graph and runs in {done}")
        share[done] = share.get(done, 0.0) + layer.multiply_adds / total
    if wrong:
        raise GraphError(
            f"TensorRT built an engine whose precision differs from the graph's: {'; '.join(wrong)}.",
            "Use TensorRT 10.12 or newer, which follows the graph's types, or a graph of that other precision.",
        )
    share = dict(sorted(share.items(), key=lambda item: -item[1]))
    if set(share) <= {UNREAD}:
        return None, ["the executed precision of each layer is unknown: the inspector shows fused layers only"]
    return share, [
        f"{share[UNREAD]:.0%} of the multiply-adds are in fused layers whose precision the inspector does not show"
    ] if UNREAD in share else []


def _same(asked: str, done: str) -> bool:
    if asked.endswith("-weights"):  # stored in few bits, multiplied in floating point
        return done in ("fp32", "tf32", "fp16", "bf16")
    return asked == done


def _precision_of(name: str, layers: list[dict[str, Any]]) -> str:
    """Return the precision of the layer that holds an ONNX node, from its kernel's name or its inputs' types."""
    for layer in layers:
        if not _holds(layer, name):
            continue
        tactic = str(layer.get("TacticName", ""))
        for precision, pattern in _TACTIC:
            if re.search(pattern, tactic, re.IGNORECASE):
                return precision
        kind = f"{layer.get('LayerType', '')} {layer.get('ParameterType', '')}"
        if _PRODUCTS.search(kind):
            kinds = {_written(tensor) for tensor in layer.get("Inputs", ()) if isinstance(tensor, dict)} - {None}
            weights = layer.get("Weights")
            if isinstance(weights, dict) and weights.get("Type"):
                kinds.add(_written({"Datatype": weights["Type"]}))
            kinds.discard(None)
            if len(kinds) == 1:
                return kinds.pop()
    return UNREAD


def _holds(layer: dict[str, Any], name: str) -> bool:
    """Return whether an engine layer was made from an ONNX node, by its metadata or its own (joined) name."""
    listed = re.findall(r"\[ONNX Layer: ([^\]]*)\]", str(layer.get("Metadata", "")))
    if listed:
        return name in listed
    own = re.sub(r"_myl\d+_\d+$", "", str(layer.get("Name", "")))
    return name in re.split(r"\s*\+\s*|,\s*", own)


def _written(tensor: dict[str, Any]) -> str | None:
    text = str(
        tensor.get("Format/Datatype") or tensor.get("Datatype") or tensor.get("DataType") or tensor.get("Format") or ""
    )
    return next((precision for precision, pattern in _WRITTEN if re.search(pattern, text, re.IGNORECASE)), None)
