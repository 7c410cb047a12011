"""A student and its scalers as one ONNX graph: raw units in, raw units out, checked against the network it came
from.
"""

from __future__ import annotations

from .check import check_onnx
from .onnx import IR_VERSION, OPSET, export_onnx

__all__ = ["IR_VERSION", "OPSET", "check_onnx", "export_onnx"]
