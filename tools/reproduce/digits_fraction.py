#!/usr/bin/env python
"""What PM + ABM + GM are worth with little data: teacher, student by its base alone, and student with the terms, over
seeds.

Each seed makes its own split, teacher and students. The students see a share of the teacher's training and validation
rows; base and base + terms have the same rows, initial weights, steps, optimizer and selection (lowest RMSE on the
validation rows they see). All constants are the package's defaults (regkd_edge/config) unless changed here. RMSE is
on the test rows, in the target's unit.

The defaults were chosen on other seeds (--seeds 10 11 12 13 14 --rows spare), which scores the validation rows that the
students do not see and never reads the test rows.

    python tools/reproduce/digits_fraction.py
    python tools/reproduce/digits_fraction.py --data concrete.csv --target target --fraction 0.25 --set base=tbr --set
    sigma=0.2
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from common import RESULTS, Records, how_it_was_run, in_processes, mean, sd, table

COLUMNS = (
    "data",
    "fraction",
    "rows",
    "settings",
    "config",
    "seed",
    "train_rows",
    "validation_rows",
    "teacher",
    "base",
    "terms",
    "base_step",
    "terms_step",
    "seconds",
)
KEYS = ("data", "fraction", "rows", "settings", "config", "seed")


@dataclass(frozen=True)
class Task:
    data: str
    target: tuple[str, ...]
    fraction: float
    rows: str  # test | spare
    teacher: tuple[tuple[str, str], ...]
    settings: tuple[tuple[str, str], ...]
    seed: int

    @property
    def named(self) -> str:
        """The changed settings as one cell of the CSV."""
        return (
            " ".join([*(f"{k}={v}" for k, v in self.settings), *(f"teacher.{k}={v}" for k, v in self.teacher)])
            or "defaults"
        )

    def key(self) -> dict:
        return {
            "data": Path(self.data).stem,
            "fraction": f"{self.fraction:g}",
            "rows": self.rows,
            "settings": self.named,
            "config": self.config_hash,
            "seed": self.seed,
        }

    def config(self):
        from regkd_edge.config import RunConfig

        changes = {f"distill.{k}": v for k, v in self.settings} | {f"teacher.{k}": v for k, v in self.teacher}
        return RunConfig().updated({**changes, "distill.fraction": self.fraction})

    @property
    def config_hash(self) -> str:
        """Of all constants, the defaults too: a measurement of other defaults is not taken for one of these."""
        from regkd_edge.io.files import digest

        config = self.config()
        return digest(
            [
                config.data.model_dump(mode="json"),
                config.teacher.model_dump(mode="json"),
                config.distill.model_dump(mode="json"),
            ]
        )[:8]


def measure(task: Task) -> dict:
    """One seed: the RMSE of the three networks."""
    import numpy as np

    from regkd_edge.data import Dataset, load_table, split
    from regkd_edge.models import predict
    from regkd_edge.training import baseline, distill, train_teacher

    started = time.perf_counter()
    config = task.config()
    table_ = load_table(task.data, list(task.target))
    data = Dataset(table_, split(len(table_), config.data.validation, config.data.test, task.seed))
    teacher = train_teacher(data, config.teacher, task.seed)
    students = {"base": baseline, "terms": distill}
    trained = {name: train(data, teacher.as_teacher(), config.distill, task.seed) for name, train in students.items()}
    seen = trained["base"].rows
    index = data.split.test if task.rows == "test" else np.setdiff1d(data.split.validation, seen.validation)
    if not len(index):
        sys.exit("there are no spare validation rows at fraction 1: use --rows test.")

    def rmse(of) -> float:
        error = (predict(of.module, of.scalers, data.x[index]) - data.y[index]) / (
            of.scalers.y.scale if data.o > 1 else 1.0
        )
        return float(np.sqrt((error**2).mean()))

    return {
        **task.key(),
        "train_rows": len(seen.train),
        "validation_rows": len(seen.validation),
        "teacher": rmse(teacher),
        **{name: rmse(of) for name, of in trained.items()},
        **{f"{name}_step": of.best_step for name, of in trained.items()},
        "seconds": time.perf_counter() - started,
    }


def summary(records: Records, tasks: list[Task]) -> str:
    """Return a line per seed, then mean and standard deviation, then the reduction due to the terms."""
    lines, columns = [], {name: [] for name in ("teacher", "base", "terms")}
    for task in tasks:
        figures = {name: records.values(name, **task.key())[0] for name in columns}
        for name, value in figures.items():
            columns[name].append(value)
        lines.append(
            [
                task.seed,
                *(f"{v:.4f}" for v in figures.values()),
                f"{100 * (figures['terms'] / figures['base'] - 1):+.1f} %",
            ]
        )
    changes = [100 * (t / b - 1) for b, t in zip(columns["base"], columns["terms"])]
    lines.append(["mean", *(f"{mean(v):.4f}" for v in columns.values()), f"{mean(changes):+.1f} %"])
    lines.append(["sd", *(f"{sd(v):.4f}" for v in columns.values()), f"{sd(changes):.1f}"])
    excess = [100 * (t - r) / (b - r) for r, b, t in zip(*columns.values()) if b > r]
    text = table(["seed", "teacher", "base alone", "base + terms", "change"], lines)
    wins = sum(t < b for b, t in zip(columns["base"], columns["terms"]))
    text += f"\n\nThe terms win on {wins} of {len(tasks)} seeds"
    if excess and not math.isnan(mean(excess)):
        text += f"; of the base's excess error over the teacher {mean(excess):.0f} % remain on average"
    return text + "."


def pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise argparse.ArgumentTypeError(f"'{text}' is no FIELD=VALUE")
    return name, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="digits", help="digits, diabetes, or a CSV file (default: digits)")
    parser.add_argument("--target", nargs="*", default=[], help="target columns of a CSV file")
    parser.add_argument(
        "--fraction", type=float, default=0.1, help="share of the rows that the students see (default: 0.1)"
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="default: 0 1 2 3 4")
    parser.add_argument(
        "--rows",
        choices=("test", "spare"),
        default="test",
        help="test: the test rows; spare: validation rows that the students do not see, for choosing constants",
    )
    parser.add_argument(
        "--set",
        type=pair,
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the distill section, e.g. base=tbr, terms=pm,gm, steps=2000",
    )
    parser.add_argument(
        "--set-teacher",
        type=pair,
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="change a field of the teacher section",
    )
    parser.add_argument("--jobs", type=int, default=1, help="seeds in parallel (default: 1)")
    parser.add_argument(
        "--out",
        type=Path,
        default=RESULTS / "digits_fraction.csv",
        help="file of measurements; existing ones are not repeated",
    )
    args = parser.parse_args()

    from regkd_edge.errors import UserError

    started = time.perf_counter()
    settings, teacher = tuple(sorted(args.set)), tuple(sorted(args.set_teacher))
    tasks = [
        Task(args.data, tuple(args.target), args.fraction, args.rows, teacher, settings, seed) for seed in args.seeds
    ]
    records = Records(args.out, COLUMNS, KEYS)

    def done(task: Task, line: dict) -> None:
        records.add([line])
        print(
            f"seed {task.seed}: teacher {line['teacher']:.4f}, base {line['base']:.4f}, base + terms "
            f"{line['terms']:.4f} ({line['seconds']:.0f} s)",
            flush=True,
        )

    try:
        missing = [task for task in tasks if not records.has(**task.key())]
        in_processes(measure, missing, args.jobs, done)
    except UserError as error:
        sys.exit(f"{error.cause} {error.remedy}")
    text = summary(records, tasks)
    rows = {"test": "test rows", "spare": "spare validation rows"}[args.rows]
    title = f"{Path(args.data).stem}, {args.fraction:g} of the rows, RMSE on the {rows}, settings: {tasks[0].named}"
    print(f"\n{title}\n\n{text}")
    if args.data == "digits" and args.rows == "test" and not settings and not teacher:
        report = args.out.with_suffix(".md")
        report.write_text(f"# {title}\n\n{text}\n\n{how_it_was_run(time.perf_counter() - started)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
