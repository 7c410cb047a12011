"""libFuzzer over the C++ readers of csrc/runtime, with AddressSanitizer and UBSan: see tools/fuzz."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from fuzz_ledger import INPUTS, Ledger, add_inputs
from libfuzzer_build import TARGETS, build, compiler, executed, fuzz, write_seeds


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz cpp", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="for each program")
    parser.add_argument("--only", default="", help=f"of {', '.join(TARGETS)}, separated by commas")
    parser.add_argument("--build", type=Path, help="folder to build in, kept for the next run (default: a new one)")
    parser.add_argument("--ledger", type=Path, help="table to which the counts are added")
    given = parser.parse_args()
    clang = compiler()
    if clang is None:
        print("fuzz cpp: no clang++ with libFuzzer was found; on Debian and Ubuntu install clang.", file=sys.stderr)
        return 2
    ledger, failed = Ledger(given.ledger, INPUTS), 0
    with tempfile.TemporaryDirectory() as folder:
        work = given.build or Path(folder)
        programs = build(work / "programs", clang)
        if not (work / "seeds").exists():
            write_seeds(work / "seeds")
        for target in [name for name in TARGETS if not given.only or name in given.only.split(",")]:
            started = time.monotonic()
            done = fuzz(programs, work / "seeds", target, f"-max_total_time={round(60 * given.minutes)}")
            count, bad = executed(done), int(done.returncode != 0)
            failed += bad
            if bad:
                print(done.stderr[-20_000:], file=sys.stderr)
                print(f"the input lies under {work / 'seeds' / f'found-{target}'}", file=sys.stderr)
            with ledger.row(f"C++ {target}") as row:
                add_inputs(row, count, failed=bad, clean=0 if bad else count, seconds=time.monotonic() - started)
            print(f"{target}: {count:,} inputs, {'FAILED' if bad else 'no failure'}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
