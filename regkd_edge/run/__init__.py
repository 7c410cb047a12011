"""The run folder: the names in it, its lock, and what in it is done, stale or half done."""

from __future__ import annotations

from .folder import STAGES, RunFolder

__all__ = ["STAGES", "RunFolder"]
