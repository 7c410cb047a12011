"""Export of a student with its scalers as one ONNX graph: raw units in and out, checked against its network."""

from __future__ import annotations

from .check import check_onnx
from .onnx import export_onnx
from .writer import IR_VERSION, OPSET

__all__ = ["IR_VERSION", "OPSET", "check_onnx", "export_onnx"]
