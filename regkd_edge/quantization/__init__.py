"""Quantization: FP32 graph in, typed graph out, with explicit Q/DQ for INT8, casts for FP16, and a check of the result.

Precision is defined by the ONNX graph alone: the same file has the same meaning for ONNX Runtime and for TensorRT.
"""

from __future__ import annotations

from ..graph.precision import GraphPrecision, LayerPrecision, graph_precision
from .dispatch import quantize_graph
from .fp16 import quantize_fp16
from .int8 import quantize_int8
from .layers import quantize_layers
from .mixed import Bound
from .summary import QuantizeSummary

__all__ = [
    "Bound",
    "GraphPrecision",
    "LayerPrecision",
    "QuantizeSummary",
    "graph_precision",
    "quantize_fp16",
    "quantize_graph",
    "quantize_int8",
    "quantize_layers",
]
