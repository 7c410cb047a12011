"""Rows that are larger than memory: they stay in a file, and only what is indexed is read."""

from __future__ import annotations

import copy
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..io.files import write_atomic
from ..io.mapped import map_npy
from ..io.memory import available_memory, require_memory

__all__ = [
    "IN_MEMORY",
    "Moments",
    "StoredRows",
    "ascending",
    "blocks_of",
    "fits_in_memory",
    "held_out_limit",
    "is_large",
    "is_stored",
    "moments_of",
]

#: Bytes of a table as float64 from which its rows stay in their file.
IN_MEMORY = 512 << 20
_SMALL, _COPIES = 32 << 20, 4  # bytes that are always kept in memory; times their size that reading and training take
_BLOCK = 16 << 20  # bytes as float64 that are read at a time
_HELD = 32 << 20  # bytes of held-out rows as float64
_HELD_ROWS = 20_000


def fits_in_memory(n: int, d: int) -> bool:
    """Whether rows [n, d] are kept in memory: they are few enough, and that with their copies they leave some free."""
    size, free = 8 * n * d, available_memory()
    return size <= IN_MEMORY and (size <= _SMALL or free is None or _COPIES * size <= free)


def is_large(n: int, d: int) -> bool:
    """Whether the held-out rows of a set [n, d] that may stay in its file are limited: by its size alone.

    Where the rows lie depends on the free memory; the split does not, so that a run splits alike on every machine.
    """
    return 8 * n * d > IN_MEMORY


def held_out_limit(d: int) -> int:
    """Rows that validation and test of a large set have each at most."""
    return max(1000, min(_HELD_ROWS, _HELD // (8 * d)))


def is_stored(x: Any) -> bool:
    """Whether rows are a :class:`StoredRows`."""
    return isinstance(x, StoredRows)


class StoredRows:
    """Rows [N, d] in a file, read as float64 when they are indexed along the first axis.

    They are read, not mapped: pages of a mapped file count as memory of the process, and the system maps many around
    each row.

    Parameters
    ----------
    array : memory-mapped array [M, ...]
        In C order; only its place in the file is used.
    rows : int64 array [N], optional
        Which of them, in which order; all by default.
    """

    ndim = 2
    dtype = np.dtype(np.float64)

    def __init__(self, array: np.memmap, rows: np.ndarray | None = None):
        self._file = open(str(array.filename), "rb", buffering=0)  # noqa: SIM115 - as long as the rows are in use
        self._offset, self._kind = int(array.offset), array.dtype
        self._shape = (len(array), math.prod(array.shape[1:]))
        self._rows = rows

    @classmethod
    def empty(cls, folder: str | Path, width: int) -> StoredRows:
        """No rows yet, for :meth:`append`: in a file of ``folder`` that goes when the rows are no longer in use."""
        rows = cls.__new__(cls)
        rows._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        rows._offset, rows._kind, rows._shape, rows._rows = 0, np.dtype(np.float64), (0, width), None
        return rows

    @property
    def grows(self) -> bool:
        """Whether :meth:`append` may be used."""
        return self._rows is None and self._file.writable()

    def append(self, block: np.ndarray) -> None:  # [n, d]
        """Add rows at the end of a file of :meth:`empty`, all of whose rows are in
        use; :class:`DataError` for a full disk.
        """
        self._file.seek(0, os.SEEK_END)
        left = memoryview(np.ascontiguousarray(block, dtype=np.float64)).cast("B")
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise DataError(
                f"the rows cannot be stored after {len(self):,} of them: {error.strerror}.",
                "They take 8 bytes per number, twice for a while: name a run folder on a disk with more room.",
            ) from None
        self._shape = (len(self) + len(block), self._shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        return len(self), self._shape[1]

    def __len__(self) -> int:
        return self._shape[0] if self._rows is None else len(self._rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        if isinstance(index, tuple):
            raise TypeError("stored rows are indexed along the first axis alone")
        return self.raw(index).astype(np.float64)

    def raw(self, index: Any) -> np.ndarray:
        """The same in the type of the file."""
        if isinstance(index, slice):
            wanted = np.arange(*index.indices(len(self)))
        else:
            wanted = np.flatnonzero(index) if np.asarray(index).dtype == bool else np.asarray(index)
        wanted = wanted if self._rows is None else self._rows[wanted]
        order = np.argsort(wanted, kind="stable")  # in the order of the file, so that the disk reads forwards
        ordered = wanted[order]
        found = np.empty((len(wanted), self._shape[1]), self._kind)
        ends = np.flatnonzero(np.diff(ordered) != 1) + 1
        for begin, end in zip([0, *ends.tolist()], [*ends.tolist(), len(ordered)]):
            if end > begin:
                self._read(int(ordered[begin]), found[begin:end])
        if (order[1:] > order[:-1]).all():
            return found
        placed = np.empty_like(found)
        placed[order] = found
        return placed

    def _read(self, first: int, out: np.ndarray) -> None:
        """Read rows that lie one after the other in the file."""
        self._file.seek(self._offset + first * self._shape[1] * self._kind.itemsize)
        left = memoryview(out.view(np.uint8).reshape(-1))
        while left and (count := self._file.readinto(left)):  # the system reads at most 2 GiB at once
            left = left[count:]
        if left:
            raise DataError(f"'{self._file.name}' became shorter while it was read.", "Run the command again.")

    def take(self, rows: np.ndarray) -> StoredRows:
        """Some of the rows, still in the file."""
        rows = np.asarray(rows, dtype=np.int64)
        other = copy.copy(self)
        other._rows = rows if self._rows is None else self._rows[rows]
        return other

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        require_memory(16 * len(self) * self.shape[1], "reading all rows", "Give fewer rows: --fraction.", DataError)
        return self[np.arange(len(self))].astype(dtype or np.float64)

    def write(self, path: str | Path) -> None:
        """Write the rows as an NPY file [N, d] in the type of this one."""
        with write_atomic(path) as temporary, open(temporary, "wb") as stream:
            head = {
                "descr": np.lib.format.dtype_to_descr(self._kind),
                "fortran_order": False,
                "shape": self.shape,
            }
            np.lib.format.write_array_header_1_0(stream, head)
            step = max(1, _BLOCK // (8 * self.shape[1]))
            for begin in range(0, len(self), step):
                stream.write(self.raw(slice(begin, begin + step)).tobytes())

    @classmethod
    def read(cls, path: str | Path) -> StoredRows:
        """Map the file of :meth:`write`; :class:`ValueError` says what is wrong with it."""
        array = map_npy(path)
        if array.ndim != 2 or array.dtype.kind not in "biuf":
            raise ValueError(f"it holds an array {array.shape} of {array.dtype}, expected rows [N, d] of numbers")
        return cls(array)


def blocks_of(x: np.ndarray | StoredRows, rows: np.ndarray | None = None) -> Iterator[tuple[int, np.ndarray]]:
    """``(first, block)`` of rows, or of those that ``rows`` numbers, as float64 blocks of some megabytes."""
    count, step = len(x) if rows is None else len(rows), max(1, _BLOCK // (8 * x.shape[1]))
    for begin in range(0, count, step):
        part = slice(begin, min(begin + step, count))
        yield begin, x[part if rows is None else rows[part]]


def ascending(rows: np.ndarray) -> np.ndarray:
    """Return row numbers in their order: themselves, not a copy, where they are sorted."""
    return rows if (rows[1:] >= rows[:-1]).all() else np.sort(rows)


@dataclass(eq=False)
class Moments:
    """Statistics of the columns of rows, taken in one pass (Chan, Golub & LeVeque 1983)."""

    count: int
    mean: np.ndarray  # [d]
    squares: np.ndarray  # [d], sum of squared deviations from the mean
    low: np.ndarray  # [d]
    high: np.ndarray  # [d]
    whole: bool = True

    @classmethod
    def empty(cls, d: int) -> Moments:
        return cls(0, np.zeros(d), np.zeros(d), np.full(d, np.inf), np.full(d, -np.inf))

    def add(self, block: np.ndarray) -> None:  # [n, d]
        n, mean = len(block), block.mean(axis=0)
        step, total = mean - self.mean, self.count + n
        self.squares += ((block - mean) ** 2).sum(axis=0) + step**2 * (self.count * n / total)
        self.mean += step * (n / total)
        self.count = total
        self.low, self.high = np.minimum(self.low, block.min(axis=0)), np.maximum(self.high, block.max(axis=0))
        self.whole = self.whole and bool((block == np.rint(block)).all())

    def pooled(self, channel: np.ndarray) -> Moments:  # [d] whole numbers
        """The same with one mean, spread and range per channel, over all its columns."""
        mean, squares, low, high = (np.empty(len(channel)) for _ in range(4))
        for c in np.unique(channel):
            own = channel == c
            mean[own] = self.mean[own].mean()
            squares[own] = (self.squares[own] + self.count * (self.mean[own] - mean[own]) ** 2).mean()
            low[own], high[own] = self.low[own].min(), self.high[own].max()
        return Moments(self.count, mean, squares, low, high, self.whole)

    @property
    def deviation(self) -> np.ndarray:  # [d]
        """The standard deviation of the population."""
        return np.sqrt(self.squares / self.count)


def moments_of(x: np.ndarray | StoredRows, rows: np.ndarray | None = None) -> Moments:
    """Return the statistics of rows in one pass over them."""
    found = Moments.empty(x.shape[1])
    for _, block in blocks_of(x, None if rows is None else ascending(rows)):
        found.add(block)
    return found
