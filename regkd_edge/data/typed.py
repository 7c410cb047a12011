"""Options as they are typed, for remedies: what a shell takes as it stands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

__all__ = ["missing_option", "named_option"]


def named_option(flag: str, names: Sequence[str]) -> str:
    """``--drop id,when``; a name that holds a comma stands in double quotes, the whole as the shell needs it."""
    return f"--{flag} {shlex.quote(','.join(_listed(name) for name in names))}"


def missing_option(name: str, values: Sequence[float]) -> str:
    """``--missing flow=-999``."""
    return named_option("missing", [f"{name}={repr(float(value)).removesuffix('.0')}" for value in values])


def _listed(name: str) -> str:
    return f'"{name}"' if "," in name else name
