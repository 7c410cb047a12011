#!/usr/bin/env python
"""The table by which ``auto`` chooses between this GPU and the CPU core, from what ``step.py --device cuda`` measured.

python tools/bench/gpu_table.py tools/bench/results/step-cuda.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from regkd_edge.fused.gain import table_path  # noqa: E402

ON_GPU, ON_CPU = "fused many", "fused many on its CPU"


def rows_of(measured: dict) -> list[dict]:
    """A row for every case that was timed on both: FLOP of a step, microseconds on each."""
    rows = []
    for result in measured["results"]:
        us = [result["providers"].get(name, {}).get("us") for name in (ON_CPU, ON_GPU)]
        if all(us):
            rows.append({"flops": result["flop"], "cpu_us": us[0], "cuda_us": us[1]})
    return sorted(rows, key=lambda row: row["flops"])


def main(given: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("measured", type=Path, help="step-cuda.json")
    measured = json.loads(parser.parse_args(given).measured.read_text())
    device, rows = measured["about"]["device"], rows_of(measured)
    if not rows:
        print(f"no case was timed on both '{ON_CPU}' and '{ON_GPU}': no table is written", file=sys.stderr)
        return 1
    path = table_path(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"about": measured["about"], "rows": rows}, indent=1) + "\n")
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
