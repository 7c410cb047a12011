"""The long run of tests/fuzz: see tools/fuzz."""

from __future__ import annotations

import argparse
import contextlib
import resource
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from fuzz.readers import READERS, attack, sound_files

from regkd_edge.errors import UserError


def processor_seconds() -> float:
    """Processor time of this process and of the children it has waited for: some readers work in a child."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def largest_memory() -> int:
    """MiB that this process, or the largest of its children, held at most."""
    both = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return max(both) // 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="inputs per reader")
    parser.add_argument("--seed", type=int, default=0, help="first seed; a failure names the seed that repeats it")
    parser.add_argument("--only", default="", help="readers, separated by commas")
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="an input that takes more processor time is a failure"
    )
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="stop with a reader after so long, whatever its count"
    )
    given = parser.parse_args()
    wanted = [reader for reader in READERS if not given.only or reader.name in given.only.split(",")]
    failed = 0
    for reader in wanted:
        seen: Counter[str] = Counter()
        slowest = 0.0
        with tempfile.TemporaryDirectory() as folder:
            work, before = Path(folder, "work"), Path(folder, "sound")
            try:
                sound = sound_files(reader, before)
                with contextlib.suppress(UserError):  # the pickle
                    reader.read(before / reader.file)  # libraries are imported once, which is not an input's time
            except ImportError as error:
                print(f"{reader.name}: skipped, {error}", flush=True)
                continue
            begun = time.monotonic()
            for seed in range(given.seed, given.seed + given.count):
                if time.monotonic() - begun > 60 * given.minutes:
                    break
                work.mkdir()
                started = processor_seconds()
                try:
                    seen[attack(reader, work, seed, sound)] += 1
                except Exception:  # what is looked for
                    seen["FAILED"] += 1
                    print(f"{reader.name}, seed {seed}:\n{traceback.format_exc()}", file=sys.stderr)
                took = processor_seconds() - started
                slowest = max(slowest, took)
                if took > given.seconds:
                    seen["FAILED"] += 1
                    print(f"{reader.name}, seed {seed}: took {took:.1f} s", file=sys.stderr)
                shutil.rmtree(work)
        failed += seen["FAILED"]
        print(
            f"{reader.name}: {sum(seen.values()):,} inputs, {dict(seen)}, slowest {slowest * 1000:.0f} ms, "
            f"{largest_memory()} MiB at most",
            flush=True,
        )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
