"""The one place that talks to the compiled core: what it can do, and jobs for it out of members."""

from __future__ import annotations

from functools import lru_cache

__all__ = ["core", "refuses", "slower", "unavailable"]


@lru_cache(maxsize=1)
def _load():
    """``(module, None)`` or ``(None, why)``; loaded on first use, never on import of the package."""
    try:
        from .. import _core
    except ImportError as cause:
        return None, f"the compiled extension regkd_edge._core is not there ({cause})"
    return _core, None


def unavailable(backend: str) -> str | None:
    """Why a back end of the core cannot be used on this machine, or None."""
    return "not bound yet"


def refuses(student, teacher, recipe, batch) -> str | None:
    return None


def slower(student, teacher, recipe, batch, backend) -> str | None:
    return None
