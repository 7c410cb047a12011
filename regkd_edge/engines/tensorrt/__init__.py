"""TensorRT 10.3 to 11.4 through its Python API: parse a typed graph, build, run, and read the executed precision."""

from __future__ import annotations

from .backend import BACKEND, TensorRTBackend

__all__ = ["BACKEND", "TensorRTBackend"]
