"""The one place that talks to the compiled core: what it can do, and jobs for it out of members."""

from __future__ import annotations

from functools import lru_cache

__all__ = ["refuses", "slower", "unavailable"]


def unavailable(backend: str) -> str | None:
    """Why a back end of the core cannot be used on this machine, or None."""
    return "not bound yet"


def refuses(student, teacher, recipe, batch) -> str | None:
    return None


def slower(student, teacher, recipe, batch, backend) -> str | None:
    return None

def perturb(*a): return None
def matching_loss(*a): return None
def distill_step(*a): return None
