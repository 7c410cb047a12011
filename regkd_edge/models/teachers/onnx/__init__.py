"""ONNX files as teachers: answers by ONNX Runtime, and the graph in torch where gradients are wanted."""

from __future__ import annotations

from .file import read_onnx, write_onnx

__all__ = ["read_onnx", "write_onnx"]
