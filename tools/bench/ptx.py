#!/usr/bin/env python
"""How many instructions does the CUDA kernel need? Its PTX, executed on the CPU and counted; no GPU is looked at.

    python tools/bench/ptx.py                  # all shapes, about a minute with nvcc and g++
    python tools/bench/ptx.py --shapes small   # one of them

A warp's instructions per 32 rows, by kind and by phase, for a step of gradient matching with tanh (the mode `gradient`
of step.py), and the critical chain of a step in which nobody has two tiles: between two barriers of the block the warp
with the most instructions, added up. All is counted in one block; on the small path, where a tile is a warp's, the
chain of its busiest warp is divided by the tiles that this warp has in turn. PTX is not machine code: ptxas fuses
address arithmetic and predicates, so figures compare kernels with each other, and are no times. `move` (copies,
constants) and `parameter` (arguments) are left out but for the chain: most of them vanish.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tools" / "lib"), str(ROOT / "tests" / "cuda")]

import ptx  # noqa: E402
from cuda_jobs import Case  # noqa: E402

from regkd_edge import _core  # noqa: E402

SHAPES = {  # teacher, student: those of step.py; rows: as many as make its kind of tile, in few of them
    "small": ((8, 64, 64, 1), (8, 32, 32, 1), 128),
    "wide": ((13, 500, 1), (13, 50, 1), 200),
    "medium": ((16, 128, 128, 1), (16, 64, 64, 1), 544),
    "large": ((64, 256, 256, 256, 1), (64, 64, 64, 1), 544),
}
ONCE_PER_STEP = (
    "train_kernel", "begin_step", "finish_step", "step_losses", "copy_weights", "member_barrier",
    "small_kernel", "copy_network", "small_losses", "small_set_up",
)  # fmt: skip
VANISH = ("move", "parameter")
THREADS, SHARED = 0, 227 * 1024  # 0: as many as the product takes; sm_90
GROUPS = {
    "FMA": ("fma",),
    "other float": ("float", "special", "double"),
    "integer": ("integer",),
    "shared loads": ("load shared",),
    "generic loads": ("load generic",),
    "global loads": ("load global",),
    "copies": ("copy",),
    "local": ("load local", "store local"),
    "stores": ("store shared", "store global", "store generic"),
    "branches, calls": ("branch", "call"),
    "other": ("atomic", "exchange", "barrier"),
}


class Counter:
    """The training kernel's PTX with its driver; ``step`` counts one step of a shape."""

    def __init__(self, cache: Path, architecture: str):
        self.machine = ptx.build(
            [ROOT / "csrc" / "cuda" / name for name in ("train.cu", "small.cu")],
            ROOT / "tests" / "cuda" / "train_driver.cpp",
            cache,
            architecture=architecture,
            mode="count",
        )
        lib, whole, word, text = self.machine.lib, ctypes.c_int64, ctypes.c_int32, ctypes.c_char_p
        lib.plan.argtypes = [text, word, whole, ctypes.c_int, whole, ctypes.POINTER(word), ctypes.POINTER(whole)]
        lib.tiles_in_turn.argtypes = [text, whole, ctypes.c_int, whole]
        lib.train.argtypes = [text, word, whole, ctypes.c_int, whole, ctypes.c_void_p, word, whole, ctypes.c_void_p]

    def _run(self, teacher, student, rows: int, steps: int) -> tuple[dict, int, int]:
        """Counts of a launch, tiles of a step, and how many of them follow each other in its longest chain."""
        case = Case(
            _core, teacher=teacher, student=student, teacher_activation="tanh", student_activation="tanh", rows=rows,
            batch=rows, steps=steps, total=100, first_step=0, base="none", weights={"pm": (1, 1), "gm": (0.1, 0.1)},
            draws=1, gm_on=2, optimizer="rmsprop", weight_decay=1e-5,
        )  # fmt: skip
        table = case.job.to_bytes()
        plan, size, lib = (ctypes.c_int32 * 11)(), ctypes.c_int64(), self.machine.lib
        lib.plan(table, 1, SHARED, THREADS, 1, plan, ctypes.byref(size))
        memory = np.zeros(size.value + 128, np.uint8)
        workspace = memory.ctypes.data + -memory.ctypes.data % 128
        self.machine.counts()
        if lib.train(table, 1, SHARED, THREADS, 1, workspace, steps, 0, None):
            raise SystemExit(f"the kernel failed: {self.machine.error()}")
        return self.machine.counts(), plan[7], lib.tiles_in_turn(table, SHARED, THREADS, 1) or plan[7]

    def step(self, teacher, student, rows: int) -> tuple[dict[str, dict[str, float]], int]:
        """Phase -> counts of one step in the middle of a launch by one block, and the number of its tiles.

        Counts of what is done per tile are for 32 rows; chain and barriers are those of one tile. What is done once per
        step stays as it is.
        """
        one, tiles, in_turn = self._run(teacher, student, rows, 1)
        two, *_ = self._run(teacher, student, rows, 2)
        table = {}
        for phase in two:
            step = {k: n - one.get(phase, {}).get(k, 0) for k, n in two[phase].items()}
            if phase not in ONCE_PER_STEP:
                step = {k: n / (in_turn if k in ("chain", "barriers") else rows / 32) for k, n in step.items()}
            table[phase] = step
        return table, tiles


def size(counts: dict[str, int]) -> int:
    return sum(n for k, n in counts.items() if k not in (*VANISH, "chain", "barriers"))


def total(phases: dict[str, dict[str, int]]) -> dict[str, int]:
    return {k: sum(p[k] for p in phases.values()) for k in next(iter(phases.values()))}


def page(about: dict, steps: dict[str, tuple]) -> str:
    lines = ["# The training kernel by counts", "", *[f"- {k}: {v}" for k, v in about.items()]]
    lines += [
        "- warp instructions per 32 rows, gradients, tanh, with what is done once per step; chain and barriers of a "
        "step with one tile per block, or per warp where tiles have 4 rows: the chain adds, between barriers, the warp "
        "with the most, copies of registers and arguments included. No times: PTX is not what the device executes.",
        "",
    ]
    head = ["networks", "rows per tile", "all", *GROUPS, "critical chain", "barriers"]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for name, (teacher, student, rows, phases, tiles) in steps.items():
        whole = total(phases)
        cells = [f"{name} {'-'.join(map(str, teacher))} -> {'-'.join(map(str, student))}"]
        cells += [str(next(n for n in (4, 8, 16, 32) if -(-rows // n) <= tiles)), f"{size(whole):,.0f}"]
        cells += [f"{sum(whole[k] for k in kinds):,.0f}" for kinds in GROUPS.values()]
        lines.append("| " + " | ".join([*cells, f"{whole['chain']:,.0f}", f"{whole['barriers']:.0f}"]) + " |")
    for name, (_, _, _, phases, _) in steps.items():
        lines += [
            "",
            f"## {name}, by phase",
            "",
            "| phase | " + " | ".join(head[2:]) + " |",
            "|" + "---|" * (len(head) - 1),
        ]
        for phase, c in sorted(phases.items(), key=lambda item: -size(item[1])):
            if size(c) or c["barriers"]:
                cells = [phase, f"{size(c):,.0f}", *(f"{sum(c[k] for k in kinds):,.0f}" for kinds in GROUPS.values())]
                lines.append("| " + " | ".join([*cells, f"{c['chain']:,.0f}", f"{c['barriers']:.0f}"]) + " |")
    return "\n".join([*lines, ""])


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default=",".join(SHAPES))
    parser.add_argument("--architecture", default="90", help="virtual architecture of the PTX [%(default)s]")
    parser.add_argument("--cache", type=Path, default=None, help="keep compiled translations here")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the table")
    arguments = parser.parse_args(given)
    with tempfile.TemporaryDirectory() as folder:
        counter = Counter(arguments.cache or Path(folder), arguments.architecture)
        steps = {}
        for name in arguments.shapes.split(","):
            steps[name] = (*SHAPES[name], *counter.step(*SHAPES[name]))
    about = {
        "date": datetime.date.today().isoformat(),
        "PTX": f"compute_{arguments.architecture}, nvcc's flags are the product's",
        "shared memory": f"{SHARED // 1024} KB per block",
        "command": "python tools/bench/ptx.py " + " ".join(sys.argv[1:] if given is None else given),
    }
    text = page(about, steps)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "ptx.md").write_text(text)
    (arguments.out / "ptx.json").write_text(
        json.dumps({"about": about, "phases": {n: s[3] for n, s in steps.items()}}, indent=1) + "\n"
    )
    print(text)


if __name__ == "__main__":
    main()
