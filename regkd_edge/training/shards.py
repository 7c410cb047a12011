"""Rows that stay in their file: the steps take them shard by shard, each a random choice of blocks of the file."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch

from ..data.stored import ascending
from ..fused import Member, StepsDone, advance
from .source import Source

__all__ = ["Shards", "advance_rows"]

_BYTES = 32 << 20  # of a shard as float64
_FEWEST, _MOST = 2_048, 65_536  # rows of a shard
_BLOCK = 64  # neighbours in the file that go together: a disk reads them at once


@dataclass(eq=False)
class Shards:
    """Parts of the training rows, each in memory for one pass over it.

    The order of the blocks is a function of the seed and the pass over the file alone, so that a resumed training sees
    the same rows at the same steps.

    Parameters
    ----------
    rows : int64 array [N]
        The training rows.
    d : int
        Inputs of a row.
    batch : int
    seed : int
    make : callable(rows) -> Source
        Reads rows and asks the teacher about them.
    """

    rows: np.ndarray
    d: int
    batch: int
    seed: int
    make: Callable[[np.ndarray], Source]
    _loaded: int = field(default=-1, init=False)

    @property
    def size(self) -> int:
        """Rows of a shard."""
        most = max(_FEWEST, min(_MOST, _BYTES // (8 * self.d)))
        return max(_BLOCK, min(len(self.rows), most) // _BLOCK * _BLOCK)

    @property
    def steps(self) -> int:
        """Steps on one shard: one pass over its rows."""
        return math.ceil(self.size / self.batch)

    def rows_of(self, number: int) -> np.ndarray:
        """The rows of a shard, in the order of the file; all shards have one size.

        The blocks of a pass over the file are shuffled; where they do not fill a last shard, it takes those of the
        next pass.
        """
        ordered, blocks = ascending(self.rows), math.ceil(len(self.rows) / _BLOCK)
        each = self.size // _BLOCK
        places = np.arange(number * each, (number + 1) * each)
        chosen = [self._order(p, blocks)[places[places // blocks == p] % blocks] for p in np.unique(places // blocks)]
        index = (np.concatenate(chosen)[:, None] * _BLOCK + np.arange(_BLOCK)).reshape(-1)
        return np.sort(ordered[index % len(ordered)])  # the last block of a file is filled up from its beginning

    def _order(self, past: int, blocks: int) -> np.ndarray:
        return np.random.Generator(np.random.PCG64([self.seed, 11, int(past)])).permutation(blocks)

    def load(self, member: Member) -> int:
        """Give a member the rows of its next step; return the steps that are left on them."""
        number, done = divmod(member.state.step, self.steps)
        if number != self._loaded:
            source = self.make(self.rows_of(number))
            member.x, member.y = (None if v is None else v.to(member.device) for v in (source.x, source.y))
            member.rows = None if source.rows is None else source.rows.to(member.device)
            self._loaded = number
        return self.steps - done


def advance_rows(member: Member, n: int, shards: Shards | None) -> StepsDone:
    """Run n steps of a member on its rows, or on those of the shards in turn."""
    if shards is None:
        return advance([member], n)[0]
    tables, end = [], member.state.step + n
    while member.state.step < end:
        left = shards.load(member)
        done = advance([member], min(left, end - member.state.step))[0]
        tables.append(done.losses)
    return StepsDone(torch.cat(tables), done.state, done.choice)
