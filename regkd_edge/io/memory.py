"""Memory that is free, asked before it is taken: a process that takes too much is killed without a word."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UserError

__all__ = ["available_memory", "require_memory"]

_SYSTEM = Path("/proc/meminfo")
_GROUPS = Path("/sys/fs/cgroup")


def available_memory() -> int | None:
    """Return the bytes that this process can still take; None where the system does not say.

    On Linux the kernel's ``MemAvailable``, and less where a control group (a container, a batch job) allows less.
    """
    found = [value for value in (_system(), _group()) if value is not None]
    return min(found, default=None)


def require_memory(needed: int, what: str, remedy: str, kind: type[UserError] = UserError) -> None:
    """Refuse work that needs more memory than is available.

    Parameters
    ----------
    needed : int
        Bytes.
    what : str
        The thing that needs them, for the message: "training mlp:65536,65536:relu".
    remedy : str
    kind : type of UserError

    Raises
    ------
    UserError
        Of the ``kind`` given, with both figures.
    """
    there = available_memory()
    if there is not None and needed > there:
        raise kind(f"{what} needs about {_shown(needed)} of memory, {_shown(there)} are available.", remedy)


def _shown(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"


def _system() -> int | None:
    try:
        for line in _SYSTEM.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows, macOS
        return None


def _group() -> int | None:
    """What the control group leaves, version 2 or 1; page cache counts as used there, so this is the lower bound."""
    for limit, used, cache in (
        ("memory.max", "memory.current", ("memory.stat", "inactive_file")),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", ("memory/memory.stat", "total_inactive_file")),
    ):
        try:
            most, taken = (int((_GROUPS / name).read_text(encoding="ascii")) for name in (limit, used))
            facts = dict(line.split()[:2] for line in (_GROUPS / cache[0]).read_text(encoding="ascii").splitlines())
            return max(0, most - taken + int(facts.get(cache[1], 0)))
        except (OSError, ValueError):  # "max": no limit
            continue
    return None
