"""Commands under torchrun: the first process does the command, the others train with it and print nothing.

The others wait for what the first one is about to train, a part of a stage of a run folder that all of them can read,
and take their share. Where one fails, one process of each machine prints the one line: the first one if it notices
soon, else the one that failed, since a connection may stay open as long as its process lives.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..api import join_processes
from ..errors import ProcessLost, UserError
from ..io.refusals import refusal_of
from .output import error_line

__all__ = ["SHARED", "follow", "leading", "rank_and_size"]

SHARED = ("train-teacher", "distill", "run")  # commands that several processes do together
_ANSWER = 2.0  # [s] that a process which fails waits for the first one, which may fail alike, to say so
_WHY, _SAID = "regkd_edge/why", "regkd_edge/said"  # keys of the store: a message; how many of a machine would print it
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
            raise _unless_said(ranks.store, _why(ranks) or lost) from None
        except UserError as error:
            raise _unless_said(ranks.store, error) from None
        except SystemExit as end:
            if not end.code:
                ranks.dismiss()
            raise
        else:
            ranks.dismiss()
        finally:  # what went wrong is said by this process, or has been
            _is_mine(ranks.store)


def follow() -> int:
    """Train with the first process until it has nothing more to train; return the exit code."""
    from ..stages.together import take_part

    os.environ.setdefault(*_QUIET)
    store, failed = None, None
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
                failed = UserError(f"process {ranks.rank} of {ranks.size}: {refused.cause}", refused.remedy)
                if not isinstance(error, ProcessLost):
                    store.set(_WHY, json.dumps([failed.cause, failed.remedy]))  # before the connection ends
    except UserError as error:
        failed = error
    except KeyboardInterrupt:
        return 130
    if failed is None:
        return 0
    said = _within(_ANSWER, lambda: store is not None and store.check([_said_here()]))
    if not said and (store is None or _is_mine(store)):
        error_line(failed.cause, failed.remedy, "--json" in sys.argv[1:])
    return _FAILED


def _said_here() -> str:
    return f"{_SAID}/{socket.gethostname()}"


def _is_mine(store: Any) -> bool:
    """Whether this process is the first of its machine that would print the line."""
    try:
        return bool(store.add(_said_here(), 1) == 1)
    except RuntimeError:  # the store has gone, and the others with it
        return True


def _unless_said(store: Any, error: UserError) -> UserError | SystemExit:
    """The error, or the end of a process whose machine has its line."""
    return error if _is_mine(store) else SystemExit(_FAILED)


def _why(ranks: Any) -> UserError | None:
    """What the process that failed has left, or None."""
    with contextlib.suppress(RuntimeError):
        if _within(_ANSWER / 2, lambda: ranks.store.check([_WHY])):
            return UserError(*json.loads(ranks.store.get(_WHY)))
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
