"""What a run on the machine found: errors, races, barriers, counts; PTX lines become lines of the sources."""

from __future__ import annotations

import ctypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .operations import KINDS

__all__ = ["Machine", "Race"]


def short_name(mangled: str) -> str:
    """The last component of an Itanium-mangled function name: ``_ZN5regkd10cuda_level7forwardI...`` -> ``forward``."""
    rest, last = re.sub(r"^_ZNK?", "", mangled), mangled
    while (found := re.match(r"(\d+)", rest)) and len(rest) > len(found[1]) + int(found[1]) - 1:
        size = int(found[1])
        last, rest = rest[len(found[1]) :][:size], rest[len(found[1]) + size :]
    return last


@dataclass(frozen=True)
class Race:
    """Two accesses that nothing orders; ``places`` are "function (file:line)" of the later and the earlier one."""

    kind: str
    window: str
    offset: int
    threads: tuple[tuple[int, int], tuple[int, int]]  # (block, thread) of each
    places: tuple[str, str]

    def __str__(self) -> str:
        (b0, t0), (b1, t1) = self.threads
        return (
            f"{self.kind} at byte {self.offset} of {self.window}: block {b0} thread {t0} in {self.places[0]}, "
            f"block {b1} thread {t1} in {self.places[1]}"
        )


class Machine:
    """A library of :func:`build`, with the driver's own functions in ``lib``."""

    def __init__(self, path: Path, described: dict):
        self.path = path
        self.lib = lib = ctypes.CDLL(str(path), mode=os.RTLD_LOCAL | os.RTLD_NOW)
        self.phases = [short_name(p) for p in described["phases"]]
        self.barriers: list[int] = described["barriers"]  # PTX lines
        self._where = {int(k): v for k, v in described["where"].items()}
        lib.ptx_error.restype = lib.ptx_races.restype = ctypes.c_char_p
        lib.ptx_barrier_count.restype = ctypes.c_uint64
        lib.ptx_window.argtypes = [ctypes.c_size_t, ctypes.c_uint64, ctypes.c_char_p]
        self._held: list = []

    def place(self, line: int) -> str:
        name, file, source = self._where.get(line, ("?", "", 0))
        where = f"{Path(file).name}:{source}" if file else f"PTX line {line}"
        return f"{short_name(name)} ({where})"

    def forget(self) -> None:
        """No window of global memory but the module's own tables, no race."""
        self.lib.ptx_forget()
        self.lib.ptx_tables()
        self._held.clear()

    def window(self, array: np.ndarray, name: str) -> None:
        """Let kernels access an array's bytes, and nothing beside them."""
        self._held.append(array)
        if array.nbytes:
            self.lib.ptx_window(array.ctypes.data, array.nbytes, name.encode())

    def launch(self, kernel: str, grid: tuple[int, int], threads: int, shared_bytes: int, parameters: bytes) -> int:
        """Run a kernel by its mangled name; 0, or 1 with :meth:`error`."""
        size = ctypes.c_uint64
        return self.lib.ptx_launch(
            kernel.encode(), *grid, threads, size(shared_bytes), parameters, size(len(parameters)), 1
        )

    def settings(self, *, skipped_barrier: int = 0, order: int = 0) -> None:
        """``skipped_barrier``: a PTX line whose barrier does nothing; ``order`` of the threads: 0, 1 backwards, 2 odd
        ones first."""
        self.lib.ptx_settings(skipped_barrier, order)

    def error(self) -> str:
        """Why the last launch failed: the access, thread and place; empty when it did not."""
        text = self.lib.ptx_error().decode()
        return re.sub(r"\bline (\d+)", lambda m: self.place(int(m[1])), text)

    def races(self) -> list[Race]:
        found = []
        for line in self.lib.ptx_races().decode().splitlines():
            kind, window, offset, t0, b0, line0, t1, b1, line1 = line.split("|")
            threads = ((int(b0), int(t0)), (int(b1), int(t1)))
            found.append(Race(kind, window, int(offset), threads, (self.place(int(line0)), self.place(int(line1)))))
        return found

    def met(self, barrier: int) -> int:
        """How often threads came to a barrier, in all launches so far."""
        return self.lib.ptx_barrier_count(barrier)

    def counts(self) -> dict[str, dict[str, int]]:
        """Phase -> kinds of instructions that warps issued, "chain" and "barriers", since the last call."""
        n = len(self.phases)
        issued, chain, barriers = (np.zeros(shape, np.uint64) for shape in ((n, len(KINDS)), n, n))
        self.lib.ptx_counts(*(ctypes.c_void_p(a.ctypes.data) for a in (issued, chain, barriers)), 1)
        table: dict[str, dict[str, int]] = {}
        for phase, row, length, met in zip(self.phases, issued, chain, barriers):
            if row.any() or met:
                line = table.setdefault(phase, dict.fromkeys((*KINDS, "chain", "barriers"), 0))
                for name, value in zip((*KINDS, "chain", "barriers"), (*row, length, met)):
                    line[name] += int(value)
        return table
