"""The native back end: MLPs in C++ without dependencies, as an engine file and as a C99 header."""

from __future__ import annotations

from .backend import ENGINE, NativeEngine, NativeRunner, write_c_header

__all__ = ["ENGINE", "NativeEngine", "NativeRunner", "write_c_header"]
