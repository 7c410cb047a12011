"""Several processes train one student: torchrun starts them, PyTorch's process group connects them.

Every process runs the same training. Where PyTorch computes the steps, each takes its share of every step's rows
(:mod:`regkd_edge.fused.share`), and gradients and losses are added. What cannot be shared with gain is done by the
first process, and the others receive its result: steps of the fused core, which take microseconds, less than an
exchange of gradients; a race among such students, or one with a time limit, since clocks differ. Checkpoints are the
first process's, which alone writes.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import ProcessLost, UserError
from ..fused.share import Share

__all__ = ["Ranks", "alone", "current", "joined"]

_PATIENCE = timedelta(days=7)  # of a process that waits: a teacher may be trained first; a dead one is noticed at once

_ADDRESS = ("MASTER_ADDR", "MASTER_PORT", "RANK", "WORLD_SIZE")
_groups = itertools.count()  # alike in all processes, which run one script

_log = logging.getLogger("regkd_edge.training")

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Ranks:
    """This process among those that train together.

    Parameters
    ----------
    rank, size : int
        Its number, from 0, and how many there are; one process alone is 0 of 1.
    store : torch.distributed.Store or None
        Texts that all processes read and write.
    """

    rank: int = 0
    size: int = 1
    store: Any = None

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self) -> Share | None:
        """Return which rows of a step are this process's; None where it is alone."""
        return None if self.size == 1 else Share(self.rank, self.size, self._add)

    def from_first(self, make: Callable[[], T]) -> T:
        """Return what ``make`` gives in the first process, in all of them; a refusal there is one here.

        The result is pickled between processes of one user, of one command.
        """
        if self.size == 1:
            return make()
        if not self.first:
            result, refused = self.receive()
            if refused is not None:
                raise UserError(*refused)
            return result
        try:
            with alone():
                result = make()
        except UserError as error:
            self.send((None, (error.cause, error.remedy)))
            raise
        self.send((result, None))
        return result

    def send(self, value: Any) -> None:
        """Give a value to all others, which :meth:`receive` it."""
        with _or_lost():
            torch.distributed.broadcast_object_list([value], device=torch.device("cpu"))

    def receive(self) -> Any:
        """Wait for what the first process sends, and return it."""
        found = [None]
        with _or_lost():
            torch.distributed.broadcast_object_list(found, device=torch.device("cpu"))
        return found[0]

    def dismiss(self) -> None:
        """Tell all others that nothing is left to train: :meth:`receive` gives them None. From then on the first
        process is alone within :func:`joined`; a second call does nothing."""
        global _current
        if self.size > 1 and _current is self:
            self.send(None)
            _current = _ALONE

    def agreed(self, value: T) -> T:
        """Return the first process's value: one decision for all where machines differ in the last bit of a figure."""
        return self.from_first(lambda: value)

    def require_same(self, fingerprint: str) -> None:
        """Refuse to go on where this process would train something else than the first one."""
        if self.from_first(lambda: fingerprint) != fingerprint:
            raise UserError(
                f"process {self.rank} of {self.size} sees other rows, another teacher or other options than process 0.",
                "Start all processes by one torchrun, with one run folder that each of them can read.",
            )

    def _add(self, tensor: Tensor) -> None:
        with _or_lost():
            torch.distributed.all_reduce(tensor)


_ALONE = Ranks()
_current = _ALONE


def current() -> Ranks:
    """Return this process among those that train together."""
    return _current


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Train in this process by itself within the block."""
    with _as(_ALONE):
        yield


@contextlib.contextmanager
def joined() -> Iterator[Ranks]:
    """Join the processes that torchrun started, by its environment variables, for the block; as often as one likes.

    Gloo connects CPUs, NCCL the GPUs: process k of a machine takes its GPU k.

    Raises
    ------
    ProcessLost
        The others cannot be reached.
    """
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % torch.cuda.device_count())
    with _or_lost():
        store, rank, size = _met(tuple(os.environ.get(name) for name in _ADDRESS))
        # Names of its own for each group: addresses of the one before would still be found, where nobody listens.
        store = torch.distributed.PrefixStore(f"group {next(_groups)}", store)
        torch.distributed.init_process_group(
            "cpu:gloo,cuda:nccl" if gpu else "gloo", store=store, rank=rank, world_size=size, timeout=_PATIENCE
        )
    ranks = replace(_ALONE, rank=rank, size=size, store=store)
    try:
        with _as(ranks):
            yield ranks
    finally:
        with contextlib.suppress(RuntimeError):
            torch.distributed.destroy_process_group()


@functools.cache
def _met(address: tuple[str | None, ...]) -> tuple[torch.distributed.Store, int, int]:
    """Store, rank and size of the processes that meet at this address, for all groups that they will form."""
    return next(iter(torch.distributed.rendezvous("env://", timeout=timedelta(minutes=5))))


@contextlib.contextmanager
def _as(ranks: Ranks) -> Iterator[None]:
    global _current
    before, _current = _current, ranks
    try:
        yield
    finally:
        _current = before


@contextlib.contextmanager
def _or_lost() -> Iterator[None]:
    """Turn what the process group raises when another process has ended into :class:`ProcessLost`."""
    try:
        yield
    except RuntimeError as error:
        _log.info("the process group: %s", error)
        raise ProcessLost(
            "another process of this training has ended or cannot be reached.",
            "Run the same command again: it goes on after the last checkpoint.",
        ) from None
