#!/usr/bin/env python
"""Time of one step as an operator in a user's own loop, beside the core's own step: microseconds, no optimizer.

    python tools/bench/single_step.py               # wall time
    python tools/bench/single_step.py --cpu-time    # CPU time of one thread: for a machine with other work

Columns: the core's step (many in one call, optimizer included), ``distill_step``, ``distill_step`` and ``backward``,
``distill_backward``, the same loss by eager PyTorch, and what PyTorch's autograd takes by itself: an empty function of
the student's parameters, forward and backward. Repetitions of all columns are interleaved; figures are medians.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from step import device_name, synchronise  # noqa: E402
from step_providers import TOTAL, Case, Eager, ManySteps, cases  # noqa: E402

from regkd_edge.fused import distill_backward, distill_step  # noqa: E402
from regkd_edge.models.mlp import MLP  # noqa: E402

COLUMNS = ("core step", "distill_step", "and backward", "distill_backward", "eager", "empty autograd function")


class _Nothing(torch.autograd.Function):
    """A loss of no work, with a gradient for every parameter."""

    @staticmethod
    def forward(ctx, gradients, *parameters):
        ctx.gradients = gradients
        return torch.zeros((), device=parameters[0].device)

    @staticmethod
    def backward(ctx, upstream):
        return None, *ctx.gradients


def calls(case: Case, device: str) -> dict:
    """For each column a function of the number of steps."""
    g = torch.Generator().manual_seed(0)
    teacher = MLP(case.teacher, case.activation, generator=g).to(device).requires_grad_(False)
    student = MLP(case.student, case.activation, generator=g).to(device)
    x, recipe = torch.randn(case.rows, case.teacher[0], generator=g).to(device), case.recipe
    many, eager, parameters = ManySteps(case, student, teacher, x), Eager(case, student, teacher, x), []
    parameters += student.parameters()
    gradients = [torch.zeros_like(p) for p in parameters]

    def loop(one):
        def run(n):
            for step in range(n):
                for p in parameters:
                    p.grad = None
                one(step)

        return run

    def operator(step):
        return distill_step(student, teacher, x, None, recipe, seed=1, step=step, total=TOTAL)[0]

    def straight(step):
        distill_backward(student, teacher, x, None, recipe, seed=1, step=step, total=TOTAL)

    found = (
        many.run,
        loop(operator),
        loop(lambda step: operator(step).backward()),
        loop(straight),
        loop(lambda step: eager.loss().backward()),
        loop(lambda step: _Nothing.apply(gradients, *parameters).backward()),
    )
    return dict(zip(COLUMNS, found))


def measure(case: Case, device: str, clock, repetitions: int) -> dict[str, float]:
    runs, samples = calls(case, device), {name: [] for name in COLUMNS}
    for run in runs.values():
        run(50)
    for _ in range(repetitions):
        for name, run in runs.items():
            synchronise(device)
            start = clock()
            run(100)
            synchronise(device)
            samples[name].append((clock() - start) / 100 * 1e6)
    return {name: statistics.median(values) for name, values in samples.items()}


def page(about: dict, rows: list[dict]) -> str:
    lines = ["# One step as an operator, microseconds", "", *[f"- {k}: {v}" for k, v in about.items()], ""]
    head = ["networks", "rows", *[f"{name} us" for name in COLUMNS]]
    head += [f"{name} / core step" for name in ("distill_step", "distill_backward")]
    lines += ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for row in rows:
        us, core = row["us"], row["us"]["core step"]
        cells = [row["networks"], str(row["rows"]), *[f"{us[name]:.1f}" for name in COLUMNS]]
        cells += [f"{us[name] / core:.2f}" for name in ("distill_step", "distill_backward")]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def main(given: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cpu", "cuda"])
    parser.add_argument("--shapes", default="small,wide,medium", help="default %(default)s")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads of PyTorch and of the core")
    parser.add_argument("--repetitions", type=int, default=25, help="of 100 steps each [%(default)s]")
    parser.add_argument("--cpu-time", action="store_true", help="CPU time on one thread: for a machine with other work")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder of the tables")
    arguments = parser.parse_args(given)
    torch.set_num_threads(1 if arguments.cpu_time else arguments.threads)
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    rows = []
    for case in cases(arguments.shapes.split(","), ["gradient"], ["tanh"]):
        words = ["-".join(map(str, widths)) for widths in (case.teacher, case.student)]
        us = measure(case, arguments.device, clock, arguments.repetitions)
        rows.append({"networks": " -> ".join(words), "rows": case.rows, "us": us})
        print(case.key, {name: round(value, 1) for name, value in us.items()}, file=sys.stderr)
    about = {
        "device": device_name(arguments.device),
        "date": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "clock": "CPU time of one thread" if arguments.cpu_time else "wall",
        "load while measured": "{:.1f}, {:.1f}, {:.1f} (1, 5, 15 minutes)".format(*os.getloadavg()),
        "terms": "gradient matching on perturbed rows, tanh",
        "command": "python tools/bench/single_step.py " + " ".join(sys.argv[1:] if given is None else given),
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    stem = arguments.out / f"single-step-{arguments.device}"
    stem.with_suffix(".md").write_text(page(about, rows))
    stem.with_suffix(".json").write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    print(page(about, rows))


if __name__ == "__main__":
    main()
