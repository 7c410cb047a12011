"""Little data: base + PM + ABM + GM at 1, 5, 10 and 25 % of the rows (Kang & Kang 2024).

doi 10.1016/j.engappai.2024.108001. Only the idea and one figure are public: at 10 % of the data the student's RMSE
falls by 43.91 % on average against existing methods. Networks, constants and data sets are ours. Each student sees a
share of the teacher's training rows, of which a fifth is held out for early stopping; base and base + terms have the
same rows, initial weights, steps, optimizer and early stopping.

The test rows (a fifth of the set) serve for the final figures only. The constants of the terms were chosen on seeds 101
and 102 with `--score select`, which scores the teacher's validation rows and never reads the test rows.
"""

from __future__ import annotations

import argparse
import time

from common import Records, data_file, in_processes, run_arguments
from kang2024_report import FEWEST, plot, report, share_of
from kang2024_students import VARIANTS, Task, run

SETS = ["compactiv", "concrete", "cpusmall", "energy", "kin8nm", "pole", "power-plant", "wine-quality-red", "yacht"]
BASES = ("mimic", "ail", "tbr", "tor")
COLUMNS = ("set", "fraction", "base", "variant", "seed", "steps", "score", "rows", "teacher", "rmse", "last", "seconds")
KEYS = ("set", "fraction", "base", "variant", "seed", "steps", "score")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sets", nargs="+", default=SETS, help="names in --data, or CSV files whose last column is the target"
    )
    parser.add_argument("--fractions", nargs="+", type=float, default=[0.01, 0.05, 0.1, 0.25])
    parser.add_argument("--bases", nargs="+", choices=BASES, default=list(BASES))
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3, 4, 5])
    parser.add_argument(
        "--score",
        choices=("test", "select"),
        default="test",
        help="rows that are scored: test, or the teacher's validation rows to choose constants",
    )
    parser.add_argument("--teacher", default="mlp:128,128:silu")
    parser.add_argument("--student", default="mlp:32,32:silu")
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument(
        "--optimizer", default='{"kind": "adam", "lr": 0.005, "schedule": "cosine"}', help="fields of Optimizer as JSON"
    )
    parser.add_argument(
        "--constants",
        default="{}",
        help="fields of StepRecipe as JSON that replace the defaults (w_base counts only where there are terms)",
    )
    run_arguments(parser, "kang2024")
    args = parser.parse_args()
    started = time.monotonic()
    records = Records(args.out / "kang2024.csv", COLUMNS, KEYS)
    students = {"steps": args.steps, "score": args.score}
    constants = (args.steps, args.score, args.teacher, args.student, args.constants, args.optimizer, args.batch)
    tasks = []
    for seed in args.seeds:
        for path in (data_file(args.data, name) for name in args.sets):
            cells = [
                {"fraction": fraction, "base": base, "variant": variant}
                for fraction in args.fractions
                if share_of(path, fraction) >= FEWEST
                for base in args.bases
                for variant in args.variants
            ]
            missing = [cell for cell in cells if not records.has(set=path.stem, seed=seed, **cell, **students)]
            if missing:
                tasks.append(Task(path, seed, tuple(tuple(cell.values()) for cell in missing), *constants))

    def done(task: Task, lines: list[dict]) -> None:
        records.add(lines)
        passed, spent = (time.monotonic() - started) / 60, sum(r["seconds"] for r in lines)
        what = f"{task.path.stem} seed {task.seed}: {len(lines)} students, {spent:.0f} s"
        print(f"[{passed:5.1f} min] {what}", flush=True)

    in_processes(run, tasks, args.jobs, done, None if args.minutes is None else started + 60 * args.minutes)
    page = report(records, args, time.monotonic() - started)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "kang2024.md").write_text(page, encoding="utf-8")
    plot(records, args, args.out / "kang2024.svg")
    print(page)


if __name__ == "__main__":
    main()
