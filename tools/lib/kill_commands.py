"""Random kills of every command: see tools/fuzz."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from cli.kills import COMMANDS, Bench, Lost


def main() -> int:
    parser = argparse.ArgumentParser(prog="fuzz kills", description=__doc__)
    parser.add_argument("--n", type=int, default=20, help="kills per command")
    parser.add_argument("--seed", type=int, default=0, help="first seed; a failure names the seed that repeats it")
    parser.add_argument("--only", default="", help="commands, separated by commas")
    given = parser.parse_args()
    lost = kills = 0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for name in [n for n in COMMANDS if not given.only or n in given.only.split(",")]:
            seen: Counter[str] = Counter()
            for seed in range(given.seed, given.seed + given.n):
                try:
                    seen[bench.kill(name, seed)] += 1
                except Lost as error:
                    seen["LOST"] += 1
                    print(error, file=sys.stderr, flush=True)
            lost, kills = lost + seen["LOST"], kills + given.n
            print(f"{name}: {dict(seen)}, undisturbed {bench.seconds[name]:.1f} s", flush=True)
        bench.server.close()
    print(f"{kills} kills, {lost} lost something")
    return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
