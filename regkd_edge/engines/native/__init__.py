"""The native back end: students in C++ without dependencies, as an engine file and as a C99 header."""

from __future__ import annotations

from .backend import BACKEND, NativeBackend, NativeRunner, write_c_header

__all__ = ["BACKEND", "NativeBackend", "NativeRunner", "write_c_header"]
