"""What recipe auto is worth on real tables: the student by the race against the same student by its base alone.

For every table a teacher (mlp:256,256) is trained on all training rows; the students (mlp:32,32) see a share of them.
Figures are on test rows that no student and no teacher saw: the distance to the teacher and the RMSE against the
labels, in standard deviations of the target. Both students are trained until they stop improving; the base alone, given
the time of the whole race, gets no further than its own end, so this is a comparison at equal or larger compute.
"change" is the mean over the seeds of the relative change of the distance, its interval a t-interval at 95 %.

Resumable: a second call skips what the CSV already holds. ``--ablate`` runs single candidates of the race too.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reproduce"))

from common import Records, data_file, how_it_was_run, in_processes, mean, read_csv, sd, table  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results"
COLUMNS = (
    "set",
    "fraction",
    "seed",
    "method",
    "rows",
    "teacher",
    "distance",
    "labels",
    "won",
    "steps",
    "seconds",
    "cpu",
)
KEYS = ("set", "fraction", "seed", "method")
ABLATED = ("PM with isotropic noise 0.3", "PM with principal noise 1", "PM with mixed noise", "GM on the rows at 1")
_FEW = 1000  # rows below which a share below a quarter is too few to learn from
_T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # of Student's t with n - 1 degrees of freedom


@dataclass(frozen=True)
class Task:
    """One table, share and seed."""

    path: Path
    fraction: float
    seed: int
    ablate: bool


def measure(task: Task) -> list[dict]:
    """The teacher, and every student on it."""
    import numpy as np

    from regkd_edge.config import DistillConfig, TeacherConfig
    from regkd_edge.data import Dataset, Table, split
    from regkd_edge.models import predict
    from regkd_edge.recipes.candidates import candidates
    from regkd_edge.training import baseline, distill, train_teacher

    x, y = read_csv(task.path)
    fraction = task.fraction if len(x) >= _FEW else max(task.fraction, 0.25)
    data = Dataset(
        Table(x, y, [f"x{j}" for j in range(x.shape[1])], ["target"], task.path.stem),
        split(len(x), 0.15, 0.15, task.seed),
    )
    teacher = train_teacher(data, TeacherConfig(), task.seed).as_teacher()
    test, scale = data.split.test, teacher.scalers.y.scale
    answers = teacher.predict(data.x[test])
    rmse = lambda a, b: float(np.sqrt((((a - b) / scale) ** 2).mean()))
    config = DistillConfig(fraction=fraction)
    students = {
        "base": lambda: baseline(data, teacher, config, task.seed),
        "auto": lambda: distill(data, teacher, config, task.seed),
    }
    if task.ablate:
        for one in candidates(labels=True, gradient=True):
            if one.title in ABLATED:
                own = DistillConfig(fraction=fraction, recipe=None, **one.fields)
                students[one.title] = lambda own=own: distill(data, teacher, own, task.seed)
    found = []
    for method, train in students.items():
        started, cpu = time.monotonic(), time.process_time()
        student = train()
        ours = predict(student.module, student.scalers, data.x[test])
        found.append(
            {
                "set": task.path.stem,
                "fraction": task.fraction,
                "seed": task.seed,
                "method": method,
                "rows": len(student.rows.train),
                "teacher": rmse(answers, data.y[test]),
                "distance": rmse(ours, answers),
                "labels": rmse(ours, data.y[test]),
                "won": student.race["winner"] if student.race else "-",
                "steps": student.steps,
                "seconds": time.monotonic() - started,
                "cpu": time.process_time() - cpu,
            }
        )
    return found


def changes(records: Records, name: str, fraction: float, column: str, method: str = "auto") -> list[float]:
    """Relative changes against the base alone, one per seed that has both."""
    values = []
    for row in records.rows:
        if (row["set"], row["method"], float(row["fraction"])) == (name, method, fraction):
            base = records.values(column, set=name, fraction=fraction, seed=int(row["seed"]), method="base")
            values += [float(row[column]) / b - 1.0 for b in base]
    return values


def with_interval(values: list[float]) -> str:
    if not values:
        return "-"
    if len(values) < 2:
        return f"{mean(values):+.0%}"
    half = _T95.get(len(values), 2.0) * sd(values) / math.sqrt(len(values))
    return f"{mean(values):+.0%} ± {100 * half:.0f}"


def report(records: Records, fraction: float, seconds: float) -> str:
    """The whole table, its worst rows first to be seen, and the means."""
    sets = list(dict.fromkeys(row["set"] for row in records.rows if float(row["fraction"]) == fraction))
    lines, gains, labels = [], [], []
    for name in sets:
        key = {"set": name, "fraction": fraction}
        of = lambda column, method: mean(records.values(column, method=method, **key))
        change = changes(records, name, fraction, "distance")
        won = [
            row["won"]
            for row in records.rows
            if row["set"] == name and row["method"] == "auto" and float(row["fraction"]) == fraction
        ]
        gains.append((mean(change), name))
        labels.append(mean(changes(records, name, fraction, "labels")))
        lines.append(
            [name, f"{of('rows', 'auto'):.0f}", f"{of('teacher', 'auto'):.3f}", f"{of('distance', 'base'):.3f}", f"{of('distance', 'auto'):.3f}",
             with_interval(change), f"{of('labels', 'base'):.3f}", f"{of('labels', 'auto'):.3f}", "; ".join(dict.fromkeys(won)),
             f"{of('cpu', 'base'):.1f}", f"{of('cpu', 'auto'):.1f}"]
        )  # fmt: skip
    header = ("set", "rows", "teacher, labels", "base, distance", "auto, distance", "change", "base, labels", "auto, labels", "won", "base, CPU s", "auto, CPU s")  # fmt: skip
    hurt = [name for gain, name in gains if gain > 0]
    summary = (
        f"Fraction {fraction:g}, {len(sets)} tables: the distance to the teacher changes by {mean([g for g, _ in gains]):+.1%} in the "
        f"mean, the label RMSE by {mean(labels):+.1%}; worst: "
        + ", ".join(f"{name} {gain:+.0%}" for gain, name in sorted(gains, reverse=True)[:3])
        + f"; hurt: {', '.join(hurt) or 'none'}."
    )
    ablated = [m for m in ABLATED if any(row["method"] == m for row in records.rows)]
    parts = ["# Recipe auto on real tables", (__doc__ or "").split("\n\n")[1], summary, table(header, lines)]
    if ablated:
        rows = [
            [m, with_interval([v for n in sets for v in changes(records, n, fraction, "distance", m)])]
            for m in (*ablated, "auto")
        ]
        parts += [
            "Single candidates on the same tables, change of the distance (mean over tables and seeds):",
            table(("candidate", "change"), rows),
        ]
    run = how_it_was_run(seconds).replace("tools/reproduce/tables.py", "tools/bench/tables.py")
    return "\n\n".join([*parts, run]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder of the CSV files (default: %(default)s)")
    parser.add_argument("--sets", nargs="+", help="names of tables (default: all of the folder)")
    parser.add_argument("--fraction", type=float, default=0.1, help="share of the rows (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="default: 0")
    parser.add_argument("--ablate", action="store_true", help="single candidates of the race too")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="begin nothing new after so many minutes (run again to go on)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for tables.csv and tables.md")
    args = parser.parse_args()
    started = time.monotonic()
    names = args.sets or sorted(p.stem for p in Path(args.data).glob("*.csv"))
    records = Records(args.out / "tables.csv", COLUMNS, KEYS)
    tasks = [
        Task(data_file(args.data, name), args.fraction, seed, args.ablate)
        for seed in args.seeds
        for name in names
        if not records.has(set=name, fraction=args.fraction, seed=seed, method=ABLATED[-1] if args.ablate else "auto")
    ]

    def done(task: Task, found: list[dict]) -> None:
        records.add([one for one in found if not records.has(**{k: one[k] for k in KEYS})])
        base, auto = (next(one for one in found if one["method"] == m) for m in ("base", "auto"))
        print(
            f"{task.path.stem:18s} seed {task.seed}: base {base['distance']:.4f}, auto {auto['distance']:.4f} "
            f"({auto['distance'] / base['distance'] - 1:+.0%}), {auto['won']} won, {auto['cpu']:.1f} s of CPU",
            flush=True,
        )

    until = None if args.minutes is None else started + 60 * args.minutes
    in_processes(measure, tasks, args.jobs, done, until)
    page = report(records, args.fraction, time.monotonic() - started)
    (args.out / "tables.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
