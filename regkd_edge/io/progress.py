"""Ticks of long work, for a display of progress: the layers below say how far they are, without knowing of a screen."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable, Iterator

__all__ = ["Listener", "listening", "tick"]

#: Called as ``listener(what, done, total)``; ``total`` is None where it is not known.
Listener = Callable[[str, int, "int | None"], None]

_listener: contextvars.ContextVar[Listener | None] = contextvars.ContextVar("listener", default=None)


def tick(what: str, done: int = 0, total: int | None = None) -> None:
    """Say that ``done`` of ``total`` parts of ``what`` are finished; nothing happens where nobody listens."""
    listener = _listener.get()
    if listener is not None:
        listener(what, done, total)


@contextlib.contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send the ticks of this thread to ``listener`` within the block."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
