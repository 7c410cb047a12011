"""What tools/fuzz has tried so far: a table with one row per reader or command, added to by every run."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["INPUTS", "KILLS", "Ledger", "add_inputs"]

INPUTS = (
    """# Spoiled inputs per reader

Written by `tools/fuzz --ledger`, and added to by each of its runs, so that rows come from several states of the code.
`failed` counts the inputs that ended in anything but an answer or a refusal, crashed, hung, took more than 5 s of
processor time, or, 500 together, more than 500 MB beyond what the process held with its libraries and the sound file
loaded. `clean` counts the inputs since the last such one, which was fixed. `slowest ms` and `us each` (of the last
run) are processor time, children included, `memory MB` the largest that 500 inputs added. Rows named C++ come from
libFuzzer with AddressSanitizer and UBSan (`tools/fuzz cpp`), which counts the inputs alone. A reader whose library is
absent has no row.

""",
    ("inputs", "read", "refused", "failed", "clean", "slowest ms", "memory MB", "us each"),
)
KILLS = (
    """# Kills per command

Written by `tools/fuzz kills --ledger`, and added to by each of its runs: KILL, TERM, INT or HUP after a random part of
the command's time. After each, all that is recorded is whole, the same command completes, and its results are those
of an undisturbed run; else the kill is `lost`. `ended before`: the command was over when the signal came.

""",
    ("kills", "interrupted", "ended before", "lost"),
)


class Ledger:
    """A table of whole numbers in Markdown; without a path it is kept in memory."""

    def __init__(self, path: Path | None, kind: tuple[str, tuple[str, ...]]):
        self.path, (self.title, self.columns) = path, kind
        self._kept: dict[str, dict[str, int]] = {}

    def rows(self) -> dict[str, dict[str, int]]:
        """All rows as they are now: ``{name: {column: number}}``."""
        if self.path is None or not self.path.exists():
            return self._kept
        found = {}
        for line in self.path.read_text(encoding="utf-8").splitlines():
            name, *cells = [cell.strip().replace(",", "") for cell in line.strip("|").split("|")]
            if len(cells) == len(self.columns) and all(cell.isdigit() for cell in cells):
                found[name] = dict(zip(self.columns, map(int, cells)))
        return found

    @contextmanager
    def row(self, name: str) -> Iterator[dict[str, int]]:
        """The row of that name, to change: written when the block ends, beside other runs too."""
        if self.path is None:
            yield self._kept.setdefault(name, dict.fromkeys(self.columns, 0))
            return
        with open(self.path.with_name(f".{self.path.name}.lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            rows = self.rows()
            yield rows.setdefault(name, dict.fromkeys(self.columns, 0))
            lines = [f"| | {' | '.join(self.columns)} |", "| --- |" + " ---: |" * len(self.columns)]
            lines += [f"| {key} | {' | '.join(f'{n:,}' for n in rows[key].values())} |" for key in sorted(rows)]
            sums = {
                c: sum(row[c] for row in rows.values())
                for c in self.columns
                if c in ("inputs", "kills", "failed", "lost")
            }
            said = ", ".join(f"{number:,} {column}" for column, number in sums.items())
            new = self.path.with_name(f".{self.path.name}.new")
            new.write_text(self.title + "\n".join(lines) + f"\n\n{len(rows)} rows: {said}.\n", encoding="utf-8")
            os.replace(new, self.path)


def add_inputs(
    row: dict[str, int], count: int, *, read=0, refused=0, failed=0, clean=0, slowest=0, memory=0, seconds=0.0
):
    """Add ``count`` inputs to a row; ``clean``: those after the last that failed, or all."""
    for column, number in (("inputs", count), ("read", read), ("refused", refused), ("failed", failed)):
        row[column] += number
    row["clean"] = clean if failed else row["clean"] + clean
    row["slowest ms"], row["memory MB"] = max(row["slowest ms"], slowest), max(row["memory MB"], memory)
    row["us each"] = round(1e6 * seconds / max(1, count))
