"""Export of a student with its scalers as one ONNX graph: raw units in and out, checked against its network."""

from __future__ import annotations

from .check import check_onnx
from .onnx import IR_VERSION, OPSET, export_onnx

__all__ = ["IR_VERSION", "OPSET", "check_onnx", "export_onnx"]
