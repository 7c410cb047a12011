"""Several processes that train one student: joining them, and who this one is."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..training.ranks import Ranks

__all__ = ["by_itself", "join_processes", "processes"]


def by_itself() -> AbstractContextManager[None]:
    """Train in this process alone within the block: the others take no part, and need not be there."""
    from ..training.ranks import alone

    return alone()


def join_processes() -> AbstractContextManager[Ranks]:
    """Train together with the other processes that torchrun started, within the block.

    Every process runs the same script, and :func:`~regkd_edge.api.distill` returns the same student in each. Its
    ``rank`` tells them apart: one of them writes.

    Raises
    ------
    ProcessLost
        The others cannot be reached.
    """
    from ..training.ranks import joined

    return joined()


def processes() -> Ranks:
    """Return which process this is: ``rank`` of ``size``, 0 of 1 without :func:`join_processes`."""
    from ..training.ranks import current

    return current()
