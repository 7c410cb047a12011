"""FP32 graph in, typed graph out: explicit Q/DQ for INT8, casts for FP16, and the count of what was really done.

Precision lives in the ONNX graph and nowhere else: the same file means the same thing to ONNX Runtime and to TensorRT.
"""

from __future__ import annotations

from ..graph.graph import GraphPrecision, Layer, graph_precision
from .dispatch import quantize_graph
from .fp16 import quantize_fp16
from .int8 import quantize_int8
from .layers import quantize_layers
from .mixed import Bound
from .summary import QuantizeSummary

__all__ = [
    "Bound",
    "GraphPrecision",
    "Layer",
    "QuantizeSummary",
    "graph_precision",
    "quantize_fp16",
    "quantize_graph",
    "quantize_int8",
    "quantize_layers",
]
