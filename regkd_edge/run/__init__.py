"""The run folder: its file names, its lock, and the state of its stages."""

from __future__ import annotations

from .folder import STAGES, RunFolder

__all__ = ["STAGES", "RunFolder"]
