"""What recipe auto is worth on real tables: the student by the race against the same student by its base alone.

For every table a teacher (mlp:256,256) is trained on all training rows; the students (mlp:32,32) see a share of them.
Figures are on test rows that no student and no teacher saw: the distance to the teacher and the RMSE against the
labels, in standard deviations of the target. Both students are trained until they stop improving; the base alone, given
the time of the whole race, gets no further than its own end, so this is a comparison at equal or larger compute.
"change" is the mean over the seeds of the relative change, its interval a t-interval at 95 %. A table counts as hurt
where the student is farther from its teacher than the base alone by more than the standard error over the seeds, and
not nearer to the labels (a student that leaves a bad teacher is nearer to them).

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
ABLATED = (
    "PM with isotropic noise 0.3",
    "PM with principal noise 1",
    "PM with crossover noise 0.3",
    "PM with mixed noise",
)
_FEW = 1000  # rows below which a small share is too few to learn from:
_MORE, _MOST_OF_FEW = 2.5, 0.25  # it is so many times as large, up to a quarter
_T95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}  # of Student's t with n - 1 degrees of freedom


@dataclass(frozen=True)
class Task:
    """One table, share and seed; a share of 0: its teacher alone."""

    path: Path
    fraction: float
    seed: int
    ablate: bool
    work: Path


def teacher_of(task: Task, data):
    """The teacher of a table and seed, trained once and kept in ``task.work``."""
    from regkd_edge.config import TeacherConfig
    from regkd_edge.models import Teacher, load_model, save_model
    from regkd_edge.training import train_teacher

    folder = task.work / f"{task.path.stem}-{task.seed}"
    if not (folder / "model.json").is_file():
        trained = train_teacher(data, TeacherConfig(), task.seed)
        save_model(folder, trained.module, trained.scalers, trained.spec)
    kept = load_model(folder)
    return Teacher(kept.module, kept.scalers, "standardized", "trained here")


def measure(task: Task) -> list[dict]:
    """The teacher, and every student on it."""
    import numpy as np

    from regkd_edge.config import DistillConfig
    from regkd_edge.data import Dataset, Table, split
    from regkd_edge.models import predict
    from regkd_edge.recipes.candidates import candidates
    from regkd_edge.training import baseline, distill
    from regkd_edge.training.race.entrant import without_students

    x, y = read_csv(task.path)
    few = len(x) < _FEW
    fraction = max(task.fraction, min(_MORE * task.fraction, _MOST_OF_FEW)) if few else task.fraction
    data = Dataset(
        Table(x, y, [f"x{j}" for j in range(x.shape[1])], ["target"], task.path.stem),
        split(len(x), 0.15, 0.15, task.seed),
    )
    teacher = teacher_of(task, data)
    if not task.fraction:
        return []
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
                own = without_students(one, config).config
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


def report(records: Records, fractions: list[float], seconds: float) -> str:
    """The whole table of every share, its worst rows first to be seen, and the means."""
    parts = ["# Recipe auto on real tables", (__doc__ or "").split("\n\n")[1]]
    for fraction in fractions:
        parts += share(records, fraction)
    run = how_it_was_run(seconds).replace("tools/reproduce/tables.py", "tools/bench/tables.py")
    return "\n\n".join([*parts, run]) + "\n"


def share(records: Records, fraction: float) -> list[str]:
    """The part of the report on one share of the rows."""
    sets = list(dict.fromkeys(row["set"] for row in records.rows if float(row["fraction"]) == fraction))
    lines, gains, labels, hurt = [], [], [], []
    for name in sets:
        key = {"set": name, "fraction": fraction}
        of = lambda column, method: mean(records.values(column, method=method, **key))
        by_distance, by_labels = (changes(records, name, fraction, column) for column in ("distance", "labels"))
        won = [
            row["won"]
            for row in records.rows
            if row["set"] == name and row["method"] == "auto" and float(row["fraction"]) == fraction
        ]
        gains.append((mean(by_distance), name))
        labels.append((mean(by_labels), name))
        if worse(by_distance) and worse(by_labels, or_equal=True):
            hurt.append(name)
        lines.append(
            [name, f"{of('rows', 'auto'):.0f}", str(len(by_distance)), f"{of('teacher', 'auto'):.3f}",
            f"{of('distance', 'base'):.3f}",
             f"{of('distance', 'auto'):.3f}", with_interval(by_distance), f"{of('labels', 'base'):.3f}",
             f"{of('labels', 'auto'):.3f}",
             with_interval(by_labels), "; ".join(dict.fromkeys(won)), f"{of('cpu', 'base'):.1f}",
             f"{of('cpu', 'auto'):.1f}"]
        )  # fmt: skip
    header = ("set", "rows", "seeds", "teacher, labels", "base, distance", "auto, distance", "change", "base, labels",
        "auto, labels", "change",
              "won", "base, CPU s", "auto, CPU s")  # fmt: skip
    worst = lambda found: ", ".join(f"{name} {gain:+.0%}" for gain, name in sorted(found, reverse=True)[:3])
    summary = (
        f"Fraction {fraction:g}, {len(sets)} tables: the distance to the teacher changes by "
        f"{mean([g for g, _ in gains]):+.1%} in the "
        f"mean (worst: {worst(gains)}), the label RMSE by {mean([g for g, _ in labels]):+.1%} (worst: "
        f"{worst(labels)}); hurt: {', '.join(hurt) or 'none'}."
    )
    parts = [f"## A share of {fraction:g}", summary, table(header, lines)]
    ablated = [m for m in ABLATED if any(row["method"] == m for row in records.rows)]
    if ablated:
        both = [n for n in sets if all(changes(records, n, fraction, "distance", m) for m in ablated)]
        rows = [ablation(records, both, fraction, m) for m in (*ablated, "auto")]
        parts += [
            f"Single candidates, each alone to its end, on {len(both)} of these tables ({', '.join(both)}), against "
            "the base alone: means over tables and seeds, and the worst mean of a table.",
            table(("candidate", "distance", "worst table", "labels", "worst table", "CPU s"), rows),
        ]
    return parts


def ablation(records: Records, sets: list[str], fraction: float, method: str) -> list[str]:
    """The line of one method on these tables."""
    cells = [method]
    for column in ("distance", "labels"):
        found = {n: mean(changes(records, n, fraction, column, method)) for n in sets}
        worst = max(found, key=found.__getitem__)
        cells += [f"{mean(list(found.values())):+.0%}", f"{worst} {found[worst]:+.0%}"]
    spent = [mean(records.values("cpu", set=n, fraction=fraction, method=method)) for n in sets]
    return [*cells, f"{mean(spent):.1f}"]


def worse(values: list[float], or_equal: bool = False) -> bool:
    """Whether the mean change is above 0 by more than the standard error over the seeds; or, not below 0 by it."""
    error = sd(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return mean(values) >= -error if or_equal else mean(values) > error


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="../shared/data", help="folder of the CSV files (default: %(default)s)")
    parser.add_argument("--sets", nargs="+", help="names of tables (default: all of the folder)")
    parser.add_argument("--fractions", type=float, nargs="+", default=[0.1], help="shares of the rows (default: 0.1)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="default: 0")
    parser.add_argument("--ablate", action="store_true", help="single candidates of the race too")
    parser.add_argument("--jobs", type=int, default=1, help="processes (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="begin nothing new after so many minutes (run again to go on)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for tables.csv and tables.md")
    parser.add_argument("--work", type=Path, default=Path("build/bench/teachers"),
    help="folder of trained teachers (default: %(default)s)")  # fmt: skip
    args = parser.parse_args()
    started = time.monotonic()
    names = args.sets or sorted(p.stem for p in Path(args.data).glob("*.csv"))
    if not names:
        parser.error(f"'{args.data}' holds no CSV file")
    records = Records(args.out / "tables.csv", COLUMNS, KEYS)
    tasks = [
        Task(data_file(args.data, name), fraction, seed, args.ablate, args.work)
        for fraction in args.fractions
        for seed in args.seeds
        for name in names
        if not records.has(set=name, fraction=fraction, seed=seed, method=ABLATED[-1] if args.ablate else "auto")
    ]

    def done(task: Task, found: list[dict]) -> None:
        if not found:
            return
        records.add([one for one in found if not records.has(**{k: one[k] for k in KEYS})])
        base, auto = (next(one for one in found if one["method"] == m) for m in ("base", "auto"))
        print(
            f"{task.path.stem:18s} {task.fraction:g} seed {task.seed}: base {base['distance']:.4f}, auto "
            f"{auto['distance']:.4f} ({auto['distance'] / base['distance'] - 1:+.0%}), {auto['won']} won, "
            f"{auto['cpu']:.1f} s of CPU",
            flush=True,
        )

    until = None if args.minutes is None else started + 60 * args.minutes
    in_processes(measure, tasks, args.jobs, done, until)
    page = report(records, [f for f in args.fractions if f], time.monotonic() - started)
    (args.out / "tables.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
