"""Distribution mismatch: the student's rows come from elsewhere than the teacher's (after Nguyen et al. 2021).

The paper is about classification; the carry-over to regression is ours (regkd_edge/sampling/latent.py). Rows are ordered
along their first principal direction: the teacher learns on the lower 60 %, the student's rows begin ``shift`` x 40 % further
up (shift 0: where the teacher's are; 1: the upper 60 %). A tenth of its rows is the student's, it is tested on others of the same
place. Methods: mimic, ail, mimic + PM + ABM + GM, and the latent recipe (rows by trust, points of the tuned latent beside).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

from common import RESULTS, Records, data_file, dot_plot, how_it_was_run, in_processes, mean, read_csv, sd, table, with_sd

METHODS = ("mimic", "ail", "kang2024", "latent", "latent_kang2024")
COLUMNS = ("set", "shift", "method", "seed", "steps", "teacher", "rmse", "error_before", "error_after", "seconds")
KEYS = ("set", "shift", "method", "seed", "steps")


@dataclass(frozen=True)
class Task:
    """All methods on one set, shift and seed."""

    path: Path
    shift: float
    seed: int
    steps: int


def rows_of(task: Task):
    """``(teacher's x, y), (student's x, y), (test x, y)``, standardised on the teacher's rows, float32 tensors."""
    import numpy as np
    import torch

    x, y = read_csv(task.path)
    rng = np.random.default_rng(task.seed)
    keep = rng.permutation(len(x))[:6000]
    x, y = x[keep], y[keep]
    spread = np.where(x.std(0) > 0, x.std(0), 1.0)
    z = (x - x.mean(0)) / spread
    along = z @ np.linalg.svd(z, full_matrices=False)[2][0]
    order = np.argsort(along, kind="stable")
    n, begin = len(x), round(0.4 * task.shift * len(x))
    lower, place = rng.permutation(order[: round(0.6 * n)]), rng.permutation(order[begin : begin + round(0.6 * n)])
    student, test = place[: round(0.06 * n)], place[round(0.06 * n) : round(0.3 * n)]
    teacher = lower[~np.isin(lower, test)]
    centre, scale = x[teacher].mean(0), np.where(x[teacher].std(0) > 0, x[teacher].std(0), 1.0)
    x, y = (x - centre) / scale, (y - y[teacher].mean(0)) / y[teacher].std(0)
    return [tuple(torch.tensor(v[part], dtype=torch.float32) for v in (x, y)) for part in (teacher, student, test)]


def rmse(network, x, y) -> float:
    import torch

    with torch.no_grad():
        return (network(x) - y).double().square().mean().sqrt().item()


def run(task: Task) -> list[dict]:
    import torch

    from regkd_edge.fused import Optimizer, distill_steps, fit_steps
    from regkd_edge.models import build
    from regkd_edge.objectives import RowQuantities, StepRecipe, row_quantities

    (xt, yt), (x, y), (x_test, y_test) = rows_of(task)
    d, settings = x.shape[1], {"n": task.steps, "total": task.steps, "batch": 64, "seed": task.seed}
    optimizer = Optimizer("adam", 5e-3, schedule="cosine")
    teacher = build("mlp:128,128:silu", d, 1, task.seed)
    steps = 2 * task.steps
    fit_steps(teacher, xt, yt, Optimizer("adamw", 3e-3, 1e-3, "cosine"), n=steps, total=steps, batch=64, seed=task.seed)
    teacher.requires_grad_(False)
    with torch.no_grad():
        quantities = row_quantities(teacher(x), y)
    recipes = {"mimic": StepRecipe(), "ail": StepRecipe(base="ail"), "kang2024": StepRecipe.kang2024(sigma=0.3, ascent_sigma=0.3)}
    lines, generated = [], None
    for method in METHODS:
        student, started = build("mlp:32,32:silu", d, 1, 1000 + task.seed), time.monotonic()
        before = after = float("nan")
        if not method.startswith("latent"):
            distill_steps(student, teacher, x, y, recipes[method], optimizer, rows=quantities, **settings)
        else:
            generated = generated or _generate(teacher, x, y, task.seed)
            points, before, after = generated
            with torch.no_grad():
                answers = teacher(points)
            n, many = len(x), len(points)
            mix = torch.cat([quantities.phi, torch.ones(many)])  # w_i = Phi_i on the rows; the teacher alone on the points
            weight = torch.cat([torch.full((n,), (n + many) / n), torch.full((many,), (n + many) / many)])  # lambda = 1
            rows = RowQuantities(torch.cat([quantities.t, answers]), mix=mix, weight=weight)
            terms = {"sigma": 0.3, "ascent_sigma": 0.3}
            recipe = StepRecipe(base="mix") if method == "latent" else StepRecipe.kang2024("mix", **terms)
            everywhere = torch.cat([x, points]), torch.cat([y, answers])
            distill_steps(student, teacher, *everywhere, recipe, optimizer, rows=rows, **settings)
        key = {"set": task.path.stem, "shift": task.shift, "method": method, "seed": task.seed, "steps": task.steps}
        facts = {"teacher": rmse(teacher, x_test, y_test), "rmse": rmse(student, x_test, y_test), "error_before": before, "error_after": after}
        lines.append({**key, **facts, "seconds": time.monotonic() - started})
    return lines


def _generate(teacher, x, y, seed: int):
    """``(points, error before, error after)``: twice as many points as rows from the tuned latent, and the teacher's squared
    error on generated points, against the condition that each was decoded for, before and after tuning."""
    import torch

    from regkd_edge.sampling.latent import Latent, TunedLatent, fit_vae, reward_of, tune
    from regkd_edge.sampling.sampler import noise

    vae = fit_vae(x, y, latent=4, seed=seed)
    tuned = tune(vae, teacher, y, seed=seed)

    def error(latent: Latent) -> float:
        generator = noise(seed, 99, 0)
        mu, sigma = torch.tensor(latent.mu, dtype=torch.float32), torch.tensor(latent.sigma, dtype=torch.float32)
        z = mu + sigma * torch.randn(2000, vae.latent, generator=generator)
        c = y[torch.randint(len(y), (2000,), generator=generator)]
        return -reward_of(teacher, vae.decode(z, c), c, "label", generator).mean().item()

    before, after = error(Latent((0.0,) * 4, (1.0,) * 4, 0.0)), error(tuned)
    return TunedLatent(vae, tuned, teacher, y, keep=0.5, seed=seed).draw(2 * len(x), 0), before, after


def report(records: Records, sets: list[str], shifts: list[float], steps: int, seconds: float) -> str:
    lines = ["# Distribution mismatch: after Nguyen et al. 2021", "", how_it_was_run(seconds), ""]
    lines += ["RMSE on test rows of the student's place, in standard deviations of the teacher's targets, mean (sd) over seeds. In the last columns the", "teacher's squared error on generated points, against the condition they were decoded for, before and after tuning.", ""]
    rows = []
    for name in sets:
        for shift in shifts:
            key = {"set": name, "shift": shift, "steps": steps}
            found = [records.values("rmse", method=m, **key) for m in METHODS]
            if found[0]:
                errors = [f"{mean(records.values(c, method='latent', **key)):.3f}" for c in ("error_before", "error_after")]
                cells = [with_sd(v) for v in found]
                rows.append([name, shift, len(found[0]), f"{mean(records.values('teacher', method='mimic', **key)):.4f}", *cells, *errors])
    header = ["set", "shift", "seeds", "teacher", "mimic", "ail", "mimic + PM + ABM + GM", "latent", "latent + PM + ABM + GM", "before", "after"]
    return "\n".join([*lines, table(header, rows), ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=["kin8nm", "power-plant", "cpusmall"], help="names in --data, or CSV files")
    parser.add_argument("--data", default="../shared/data", help="folder of the CSV files (default: %(default)s)")
    parser.add_argument("--shifts", nargs="+", type=float, default=[0.0, 0.5, 1.0], help="0: the teacher's place, 1: farthest")
    parser.add_argument("--seeds", type=int, default=3, help="seeds 1..N (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--jobs", type=int, default=2, help="processes (default: %(default)s)")
    parser.add_argument("--minutes", type=float, help="begin nothing new after so many minutes (run again to go on)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for nguyen2021.csv, .md, .svg")
    args = parser.parse_args()
    started = time.monotonic()
    records = Records(args.out / "nguyen2021.csv", COLUMNS, KEYS)
    tasks = [Task(data_file(args.data, n), shift, seed, args.steps) for seed in range(1, args.seeds + 1) for n in args.sets for shift in args.shifts]
    tasks = [t for t in tasks if not records.has(set=t.path.stem, shift=t.shift, seed=t.seed, steps=t.steps)]

    def done(task: Task, lines: list[dict]) -> None:
        records.add(lines)
        found = ", ".join(f"{r['method']} {r['rmse']:.3f}" for r in lines)
        print(f"[{(time.monotonic() - started) / 60:5.1f} min] {task.path.stem} shift {task.shift} seed {task.seed}: teacher {lines[0]['teacher']:.3f}, {found}", flush=True)

    in_processes(run, tasks, args.jobs, done, None if args.minutes is None else started + 60 * args.minutes)
    names = [data_file(args.data, n).stem for n in args.sets]
    page = report(records, names, args.shifts, args.steps, time.monotonic() - started)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "nguyen2021.md").write_text(page, encoding="utf-8")
    groups = {f"{n} shift {s:g}": {m: (mean(v), sd(v)) for m in METHODS if (v := records.values("rmse", set=n, shift=s, method=m, steps=args.steps))} for n in names for s in args.shifts}
    dot_plot(args.out / "nguyen2021.svg", "Students under covariate shift", {k: v for k, v in groups.items() if v}, "RMSE")
    print(page)


if __name__ == "__main__":
    main()
