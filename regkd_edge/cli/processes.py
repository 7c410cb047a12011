"""Commands under torchrun: the first process does the command, the others train with it and print nothing.

The others wait for what the first one is about to train, a part of a stage of a run folder that all of them can read,
and take their share. A process that fails leaves its message to the first one, which prints the one line.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..api import join_processes
from ..errors import ProcessLost, UserError
from ..io.refusals import refusal_of

__all__ = ["SHARED", "follow", "leading", "rank_and_size"]

SHARED = ("distill",)  # commands that several processes do together
_ANSWER = 5.0  # [s] that a process waits for the first one to say why it failed
_WHY, _SAID = "regkd_edge/why", "regkd_edge/said"  # keys of the store: a message, and that it was printed
_FAILED = 2
_QUIET = ("TORCH_CPP_LOG_LEVEL", "ERROR")  # no warnings of sockets beside the one line


def rank_and_size() -> tuple[int, int]:
    """Return the number of this process and how many torchrun started; (0, 1) without it."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if not all(name in os.environ for name in names):
        return 0, 1
    try:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    except ValueError:
        return 0, 1


@contextlib.contextmanager
def leading(arguments: Sequence[str], size: int) -> Iterator[None]:
    """Do a command as the first of ``size`` processes within the block.

    Raises
    ------
    UserError
        The command is done by one process; or another one has failed, with its message.
    """
    name = next((word for word in arguments if not word.startswith("-")), None)
    if name is not None and name not in SHARED:
        raise UserError(
            f"'{name}' runs in one process, and torchrun started {size}.",
            f"Run it without torchrun; several processes share: {', '.join(SHARED)}.",
        )
    os.environ.setdefault(*_QUIET)
    with join_processes() as ranks:
        try:
            yield
        except ProcessLost as lost:
            raise _why(ranks) or lost from None
        except SystemExit as end:
            if not end.code:
                ranks.send(None)  # there is nothing more to train
            raise
        else:
            ranks.send(None)
        finally:  # what went wrong is said by this process, or has been
            with contextlib.suppress(RuntimeError):
                ranks.store.set(_SAID, "1")


def follow() -> int:
    """Train with the first process until it has nothing more to train; return the exit code."""
    from ..stages.together import take_part

    os.environ.setdefault(*_QUIET)
    store, message = None, None
    try:
        with join_processes() as ranks:
            store = ranks.store
            try:
                while (task := ranks.receive()) is not None:
                    take_part(task)
            except (UserError, OSError, MemoryError) as error:
                refused = error if isinstance(error, UserError) else refusal_of(error)
                if refused is None:
                    raise
                message = f"process {ranks.rank} of {ranks.size}: {refused.cause} {refused.remedy}".rstrip()
                if not isinstance(error, ProcessLost):
                    store.set(_WHY, message)  # before the connection ends, which is what the first one notices
    except UserError as error:
        message = f"{error.cause} {error.remedy}"
    except KeyboardInterrupt:
        return 130
    if message is None:
        return 0
    if not _within(_ANSWER, lambda: store is not None and store.check([_SAID])):
        print(f"error: {message}", file=sys.stderr)
    return _FAILED


def _why(ranks: Any) -> UserError | None:
    """What the process that failed has left, or None."""
    with contextlib.suppress(RuntimeError):
        if _within(_ANSWER / 2, lambda: ranks.store.check([_WHY])):
            return UserError(ranks.store.get(_WHY).decode())
    return None


def _within(seconds: float, ready: Callable[[], bool]) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if ready():
                return True
        except RuntimeError:  # the store has gone, with torchrun or the first process: nobody waits for an answer
            return True
        time.sleep(0.05)
    return False
