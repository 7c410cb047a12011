#!/usr/bin/env python
"""What the training loop costs over a bare PyTorch loop with the same losses, and what a second process gains.

The student is a ``conv1d``, which the fused core does not take, and its teacher another. Both loops compute the base
(mimic) with stored answers of the teacher, PM with fresh Gaussian noise, and GM over all points, by Adam; the bare one
has ``torch.randint`` for rows, ``torch.randn`` for noise, ``torch.optim.Adam``, and no validation, no schedule and no
table of losses. Rounds of both alternate in one process; figures are medians of CPU time, which a loaded machine does
not change much. ``--processes 2`` measures rows per second instead: this script under torchrun, one thread each.

    python tools/bench/loop.py
    python tools/bench/loop.py --batch 256
    torchrun --standalone --nproc-per-node 2 tools/bench/loop.py --share     # and the same with --nproc-per-node 1
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import torch

from regkd_edge.api import join_processes
from regkd_edge.fused import Member, Optimizer, advance
from regkd_edge.models import build
from regkd_edge.objectives import RowQuantities, StepRecipe

SHAPE, SIGMA, W_GM = (2, 64), 0.2, 0.1
D = SHAPE[0] * SHAPE[1]


def networks() -> tuple[torch.nn.Module, torch.nn.Module]:
    """Student and teacher."""
    student = build("conv1d:16x5/2,32d3/2,gap,32:tanh", D, 1, 0, shape=SHAPE)
    return student, build("conv1d:32x5/2,64x3/2,gap,64:tanh", D, 1, 1, shape=SHAPE)


def bare_steps(student, teacher, x, t, optimizer, batch: int, n: int) -> None:
    """The loop that a user would write."""
    for _ in range(n):
        index = torch.randint(len(x), (batch,))
        rows = x[index]
        points = torch.cat([rows, rows + SIGMA * torch.randn_like(rows)]).requires_grad_(True)
        s, answers = student(points), teacher(points)
        (theirs,) = torch.autograd.grad(answers.sum(), points)
        (ours,) = torch.autograd.grad(s.sum(), points, create_graph=True)
        base = (s[:batch] - t[index]).square().sum(1).mean()
        pm = (s[batch:] - answers[batch:].detach()).square().sum(1).mean()
        gm = (ours - theirs).square().sum(1).mean()
        optimizer.zero_grad()
        (base + pm + W_GM * gm).backward()
        optimizer.step()


def compared(batch: int, steps: int, rounds: int) -> str:
    """Return a row of the table: CPU milliseconds per step of both, and the ratio."""
    x = torch.randn(4096, D)
    student, teacher = networks()
    with torch.no_grad():
        t = teacher(x)
    for p in teacher.parameters():
        p.requires_grad_(False)
    other = networks()[0]
    adam = torch.optim.Adam(other.parameters(), lr=1e-3)
    recipe = StepRecipe(w_pm=1.0, w_gm=W_GM, sigma=SIGMA)
    member = Member(student, teacher, x, None, recipe, Optimizer(lr=1e-3), 10**9, batch, rows=RowQuantities(t))
    member.decide("torch")
    ways = {
        "ours": lambda: advance([member], steps),
        "bare": lambda: bare_steps(other, teacher, x, t, adam, batch, steps),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            started = time.process_time()
            way()
            if number:  # the first round warms up
                taken[name].append((time.process_time() - started) / steps * 1e3)
    ours, bare = (statistics.median(taken[name]) for name in ways)
    ratio = statistics.median(a / b for a, b in zip(taken["ours"], taken["bare"]))
    return f"| {batch} | {bare:.2f} | {ours:.2f} | {100 * (ratio - 1):+.1f} % |"


def shared(batch: int, steps: int, rounds: int) -> None:
    """Print rows per second of all processes together, and the CPU time of each."""
    x = torch.randn(4096, D)
    student, teacher = networks()
    with torch.no_grad():
        t = teacher(x)
    with join_processes() as here:
        recipe = StepRecipe(w_pm=1.0, w_gm=W_GM, sigma=SIGMA)
        member = Member(student, teacher, x, None, recipe, Optimizer(lr=1e-3), 10**9, batch, rows=RowQuantities(t),
                        share=here.share())  # fmt: skip
        member.decide("torch")
        advance([member], steps)
        for _ in range(rounds):
            wall, cpu = time.perf_counter(), time.process_time()
            advance([member], steps)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if here.first:
                print(
                    f"{here.size} processes, batch {batch}: {batch * steps / wall:,.0f} rows/s; CPU of the first "
                    f"process {cpu / steps * 1e3:.2f} ms per step, wall {wall / steps * 1e3:.2f} ms",
                    flush=True,
                )


def main() -> None:
    """Parse the options and print the table."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--batch", type=int, nargs="+", default=[64, 256])
    options.add_argument("--steps", type=int, default=20, help="of a round")
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--share", action="store_true", help="rows per second under torchrun")
    given = options.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, one thread, load {os.getloadavg()[0]:.1f}", flush=True)
    if given.share:
        for batch in given.batch:
            shared(batch, given.steps, given.rounds)
        return
    print("| batch | bare loop, CPU ms per step | ours | more |\n|---|---|---|---|")
    for batch in given.batch:
        print(compared(batch, given.steps, given.rounds), flush=True)


if __name__ == "__main__":
    main()
