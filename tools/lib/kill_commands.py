"""Random kills of every command: see tools/fuzz."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from cli.kills import COMMANDS, Bench, Lost
from fuzz_ledger import KILLS, Ledger


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz kills", description=__doc__)
    parser.add_argument("--n", type=int, default=20, help="kills per command")
    parser.add_argument("--seed", type=int, default=0, help="first seed; a failure names the seed that repeats it")
    parser.add_argument("--only", default="", help="commands, separated by commas")
    parser.add_argument("--ledger", type=Path, help="table to which the kills are added; it goes on where that ends")
    given = parser.parse_args()
    ledger = Ledger(given.ledger, KILLS)
    lost = kills = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for name in [n for n in COMMANDS if not given.only or n in given.only.split(",")]:
            seen: Counter[str] = Counter()
            first = given.seed + ledger.rows().get(name, {}).get("kills", 0)
            for seed in range(first, first + given.n):
                try:
                    what = bench.kill(name, seed)
                except Lost as error:
                    what = "lost"
                    print(error, file=sys.stderr, flush=True)
                seen[what] += 1
                with ledger.row(name) as row:
                    row["kills"] += 1
                    row[what] += 1
            lost, kills = lost + seen["lost"], kills + given.n
            print(f"{name}: {dict(seen)}, undisturbed {bench.seconds[name]:.1f} s", flush=True)
        bench.server.close()
    print(f"{kills} kills, {lost} lost something")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
