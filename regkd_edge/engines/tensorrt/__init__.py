"""TensorRT 10.3 to 11.4 by its Python API: parse a typed graph, build, run, and read the precision that is executed."""

from __future__ import annotations

from .backend import BACKEND, TensorRTBackend

__all__ = ["BACKEND", "TensorRTBackend"]
