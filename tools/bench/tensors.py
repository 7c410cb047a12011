#!/usr/bin/env python
"""What the default recipe is worth for students of images and signals, over seeds, against the base alone.

For each seed: a teacher is trained on all training rows; two students of one spec see a tenth of these rows, one by its
base alone (mimic), one by the default recipe (auto). Steps, optimizer, selection, initial weights and rows are the
same. RMSE is on held-out rows, in the target's unit. ``closed`` is the share of the base student's gap to its teacher
that the recipe closes; INT8 is the change of the RMSE against FP32 on the same rows.

    python tools/bench/tensors.py                      # digits as images
    python tools/bench/tensors.py --task vibration --seeds 0 1 2

Each seed is kept in tensors.csv as soon as it is measured, and not measured again; tensors.md has the tables of all.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

import regkd_edge as rk
from regkd_edge.data import Dataset, Split, Table

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1] / "reproduce")]
from common import Records, how_it_was_run, mean, table  # noqa: E402

from examples.signals import vibration  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results"
KEYS = ("task", "seed", "epochs", "steps")
COLUMNS = (*KEYS, "teacher", "base", "auto", "closed", "int8", "base_steps", "auto_steps", "cpu_s", "won")


@dataclass(frozen=True)
class Task:
    """Rows, the teacher, and the student of a comparison."""

    load: object
    student: str
    fraction: float


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Scanned 8 x 8 digits and their value (scikit-learn), as in Zhou & Chiam 2023."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.data.reshape(-1, 1, 8, 8), bunch.target[:, None].astype(np.float64)


TASKS = {
    "digits": Task(digits, "conv2d:8x3,16d3/2,flat,16:relu", 0.1),
    "vibration": Task(
        lambda: (lambda x, y: (x, y[:, :1]))(*vibration(2000, seed=0)), "conv1d:8x9/4,16d5/2,gap,16:relu", 0.1
    ),
}


def teacher_module(x: np.ndarray, y: np.ndarray, seed: int, epochs: int) -> nn.Module:
    """A convolutional network of the user's own, trained on raw inputs by plain PyTorch."""
    torch.manual_seed(seed)
    conv, pool = (nn.Conv2d, nn.AdaptiveAvgPool2d(4)) if x.ndim == 4 else (nn.Conv1d, nn.AdaptiveAvgPool1d(8))
    places = 16 if x.ndim == 4 else 8
    net = nn.Sequential(
        conv(x.shape[1], 32, 3, padding=1), nn.ReLU(), conv(32, 32, 3, padding=1), nn.ReLU(), pool,
        nn.Flatten(), nn.Linear(32 * places, 64), nn.ReLU(), nn.Linear(64, 1),
    )  # fmt: skip
    xs, ys = torch.from_numpy(x).float() / float(np.abs(x).max()), torch.from_numpy((y - y.mean()) / y.std()).float()
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for part in torch.randperm(len(xs)).split(64):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(xs[part]), ys[part]).backward()
            optimizer.step()
        schedule.step()
    return _Raw(net, float(np.abs(x).max()), float(y.mean()), float(y.std())).eval()


class _Raw(nn.Module):
    def __init__(self, net: nn.Module, top: float, mean: float, sd: float):
        super().__init__()
        self.net, self.top, self.mean, self.sd = net, top, mean, sd

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x / self.top) * self.sd + self.mean


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.sqrt(((a - b) ** 2).mean()))


def one(task: Task, seed: int, epochs: int, steps: str | int) -> dict[str, float | str]:
    """Teacher, base and recipe on one split."""
    started = time.process_time()
    x, y = task.load()
    order = np.random.default_rng(seed).permutation(len(x))
    test, rest = order[: len(x) // 5], order[len(x) // 5 :]
    teacher = rk.load_teacher(teacher_module(x[rest], y[rest], seed, epochs))
    few = rest[: round(task.fraction * len(rest))]
    held = max(2, round(0.15 * len(few)))
    flat = x[few].reshape(len(few), -1)
    names = [f"x{j}" for j in range(flat.shape[1])]
    seen = Table(flat, y[few], names, ["y"], "memory", input_shape=x.shape[1:])
    index = np.arange(len(few))
    data = Dataset(seen, Split(index[held:], index[:held], index[:0]))
    found: dict[str, float | str] = {"teacher": rmse(teacher.predict(x[test]), y[test])}
    base = rk.distill(teacher, data, student=task.student, seed=seed, base="mimic", terms=[], steps=steps)
    auto = rk.distill(teacher, data, student=task.student, seed=seed, steps=steps)
    of = {"teacher": found["teacher"]} | {
        n: rmse(s.predict(x[test]), y[test]) for n, s in (("base", base), ("auto", auto))
    }
    int8 = rk.build(rk.quantize(auto, "int8", calibrate=x[few], validation=(x[few[:held]], y[few[:held]])))
    return {
        **of,
        "closed": (of["base"] - of["auto"]) / (of["base"] - of["teacher"]),
        "int8": rmse(int8.predict(x[test]), y[test]) / of["auto"] - 1.0,
        "base_steps": base.record["steps"],
        "auto_steps": auto.record["steps"],
        "cpu_s": time.process_time() - started,
        "won": won(auto),
    }


def won(student: rk.Student) -> str:
    """Name the winner of the student's race."""
    return str((student.record.get("race") or {}).get("winner", "-"))


def report(records: Records, started: float) -> str:
    """Return the page of all that was measured: a table per task, number of epochs and of steps."""
    parts = ["# Students of images and signals: the default recipe against the base alone", __doc__.split("\n\n")[1]]
    for case in dict.fromkeys(tuple(row[k] for k in ("task", "epochs", "steps")) for row in records.rows):
        of = lambda column, **key: records.values(column, **dict(zip(("task", "epochs", "steps"), case)), **key)
        rows = [row for row in records.rows if tuple(row[k] for k in ("task", "epochs", "steps")) == case]
        lines = [
            [row["seed"], *(f"{float(row[k]):.4g}" for k in ("teacher", "base", "auto")), f"{float(row['closed']):.0%}",
             f"{100 * float(row['int8']):+.2f} %", row["base_steps"], row["auto_steps"], row["won"],
             f"{float(row['cpu_s']):.0f}"]
            for row in sorted(rows, key=lambda row: int(row["seed"]))
        ]  # fmt: skip
        teacher, base, auto = (mean(of(k)) for k in ("teacher", "base", "auto"))
        lines.append(
            ["mean", *(f"{v:.4g}" for v in (teacher, base, auto)), f"{(base - auto) / (base - teacher):.0%}",
             f"{100 * mean(of('int8')):+.2f} %", "", "", "", f"{mean(of('cpu_s')):.0f}"]
        )  # fmt: skip
        task = TASKS[case[0]]
        header = ("seed", "teacher", "base alone", "recipe auto", "gap closed", "INT8", "steps of base", "of auto",
                  "won", "CPU s")  # fmt: skip
        parts += [
            f"## {case[0]}, `{task.student}`, {task.fraction:g} of the rows",
            f"The teacher had {case[1]} epochs, the students {case[2]} steps.",
            table(header, lines),
            "`gap closed` of the means is that of the mean errors.",
        ]
    return (
        "\n\n".join([*parts, how_it_was_run(time.monotonic() - started).replace("tools/reproduce/", "tools/bench/")])
        + "\n"
    )


def main() -> None:
    started = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", choices=TASKS, default="digits")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(5)))
    parser.add_argument("--epochs", type=int, default=40, help="of the teacher")
    parser.add_argument("--steps", default="auto", help="of both students: auto, or a number")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for tensors.csv and tensors.md")
    given = parser.parse_args()
    steps = given.steps if given.steps == "auto" else int(given.steps)
    torch.set_num_threads(1)
    records = Records(given.out / "tensors.csv", COLUMNS, KEYS)
    for seed in given.seeds:
        key = {"task": given.task, "seed": seed, "epochs": given.epochs, "steps": steps}
        if not records.has(**key):
            records.add([found := key | one(TASKS[given.task], seed, given.epochs, steps)])
            print(
                ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in found.items()), flush=True
            )
    page = report(records, started)
    (given.out / "tensors.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
