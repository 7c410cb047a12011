"""Distribution mismatch: the student's rows come from elsewhere than the teacher's (after Nguyen et al. 2021).

The paper is about classification; the carry-over to regression is ours (regkd_edge/sampling/latent.py). Rows are
ordered along the first principal direction of the whole set (its largest loading is positive, so that every seed has
the same two ends): the teacher learns on the lower 60 %, a fifth of it held out to select its weights; the student's
rows begin ``shift`` x 40 % further up (shift 0: where the teacher's are; 1: the upper 60 %). A tenth of the rows of its
place is the student's, with labels; it is tested on others of the same place. All students make the same steps, without
early stopping.

  scratch      the student's own labels, no teacher
  mimic, ail   the bases alone
  terms        mimic + PM + ABM + GM
  trust_terms  each row by its trust w_i |S-T|^2 + (1 - w_i) |S-y|^2, + PM + ABM + GM
  latent       rows by trust, and points of the tuned latent beside them (the carry-over alone)
  nguyen2021   latent + PM + ABM + GM on rows and points: what we call the mismatch recipe
  auto         what ``distill`` gives with its default, a race on the same rows, a sixth of them held out;
               its teacher keeps the quantiles of its own rows, as one trained by the tool does

The excess of a student is its RMSE (to the labels) less the teacher's on the same rows. It can be negative: the student
has labels of its place, the teacher has none. Where mimic's excess is below 2 % of the teacher's RMSE, mimic counts as
equal to the teacher: there is nothing to halve.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

from common import Records, data_file, in_processes, read_csv, run_arguments
from kang2024_students import rmse, train_teacher
from nguyen2021_report import METHODS, plot, report

SETS = ["compactiv", "concrete", "cpusmall", "energy", "kin8nm", "pole", "power-plant"]
COLUMNS = ("set", "shift", "method", "seed", "steps", "teacher", "rmse", "error_before", "error_after", "seconds")
KEYS = ("set", "shift", "method", "seed", "steps")


@dataclass(frozen=True)
class Task:
    """All methods on one set, shift and seed."""

    path: Path
    shift: float
    seed: int
    steps: int
    methods: tuple[str, ...] = METHODS


def by_the_race(task: Task, teacher, x_teacher, x, y):
    """The student of recipe auto, in the space of the tensors x and y; ``x_teacher`` is what the teacher learnt on."""
    import numpy as np

    from regkd_edge.config import DistillConfig
    from regkd_edge.data import Dataset, Scaler, Scalers, Split, Table
    from regkd_edge.models import Teacher
    from regkd_edge.sampling.synthetic import summary_of_inputs
    from regkd_edge.training import distill

    as_they_are = lambda width: Scaler(np.zeros(width), np.ones(width))
    n, d, held = len(x), x.shape[1], len(x) // 6
    table = Table(x.double().numpy(), y.double().numpy(), [f"x{j}" for j in range(d)], ["target"], task.path.stem)
    data = Dataset(table, Split(np.arange(held, n), np.arange(held), np.arange(0)))
    kept = {"inputs": summary_of_inputs(x_teacher.numpy()), "train_rows": len(x_teacher)}
    taught = Teacher(teacher, Scalers(as_they_are(d), as_they_are(1)), "standardized", task.path.stem, extra=kept)
    return distill(data, taught, DistillConfig(student="mlp:32,32:silu"), task.seed).module


def rows_of(task: Task):
    """``(teacher's x, y), (student's x, y), (test x, y)``, standardised on the teacher's rows, float32 tensors."""
    import numpy as np
    import torch

    x, y = read_csv(task.path)
    z = (x - x.mean(0)) / np.where(x.std(0) > 0, x.std(0), 1.0)
    direction = np.linalg.svd(z, full_matrices=False)[2][0]
    along = z @ (direction * np.sign(direction[np.abs(direction).argmax()]))
    rng = np.random.default_rng(task.seed)
    keep = rng.permutation(len(x))[:6000]
    x, y, along = x[keep], y[keep], along[keep]
    order = np.argsort(along, kind="stable")
    n, begin = len(x), round(0.4 * task.shift * len(x))
    lower, place = rng.permutation(order[: round(0.6 * n)]), rng.permutation(order[begin : begin + round(0.6 * n)])
    student, test = place[: round(0.06 * n)], place[round(0.06 * n) : round(0.3 * n)]
    teacher = lower[~np.isin(lower, test)]
    centre, scale = x[teacher].mean(0), np.where(x[teacher].std(0) > 0, x[teacher].std(0), 1.0)
    x, y = (x - centre) / scale, (y - y[teacher].mean(0)) / y[teacher].std(0)
    return [tuple(torch.tensor(v[part], dtype=torch.float32) for v in (x, y)) for part in (teacher, student, test)]


def run(task: Task) -> list[dict]:
    import torch

    from regkd_edge.fused import Optimizer, distill_steps
    from regkd_edge.models import build
    from regkd_edge.objectives import RowQuantities, StepRecipe, row_quantities

    (xt, yt), (x, y), (x_test, y_test) = rows_of(task)
    d, settings = x.shape[1], {"n": task.steps, "total": task.steps, "batch": 64, "seed": task.seed}
    optimizer = Optimizer("adam", 5e-3, schedule="cosine")
    fifth = len(xt) // 5
    teacher = train_teacher("mlp:128,128:silu", xt[fifth:], yt[fifth:], xt[:fifth], yt[:fifth], task.seed)
    with torch.no_grad():
        quantities = row_quantities(teacher(x), y)
    terms = {"sigma": 0.3, "ascent_sigma": 0.3}
    recipes = {
        "scratch": StepRecipe(base="labels"),
        "mimic": StepRecipe(),
        "ail": StepRecipe(base="ail"),
        "terms": StepRecipe.kang2024(**terms),
    }
    recipes |= {"latent": StepRecipe(base="mix")} | dict.fromkeys(
        ("trust_terms", "nguyen2021"), StepRecipe.kang2024("mix", **terms)
    )
    quantities = replace(quantities, mix=quantities.phi)  # w_i = Phi_i on the rows
    lines, generated = [], None
    for method in task.methods:
        student, started = build("mlp:32,32:silu", d, 1, 1000 + task.seed), time.monotonic()
        before = after = float("nan")
        rows, seen = quantities, (x, y)
        if method in ("latent", "nguyen2021"):
            generated = generated or _generate(teacher, x, y, task.seed)
            points, before, after = generated
            with torch.no_grad():
                answers = teacher(points)
            n, many = len(x), len(points)
            mix = torch.cat([quantities.mix, torch.ones(many)])  # the teacher alone on the points
            weight = torch.cat([torch.full((n,), (n + many) / n), torch.full((many,), (n + many) / many)])  # lambda = 1
            rows = RowQuantities(torch.cat([quantities.t, answers]), mix=mix, weight=weight)
            seen = torch.cat([x, points]), torch.cat([y, answers])
        if method == "auto":
            student = by_the_race(task, teacher, xt[fifth:], x, y)
        else:
            distill_steps(student, teacher, *seen, recipes[method], optimizer, rows=rows, **settings)
        key = {"set": task.path.stem, "shift": task.shift, "method": method, "seed": task.seed, "steps": task.steps}
        facts = {
            "teacher": rmse(teacher, x_test, y_test),
            "rmse": rmse(student, x_test, y_test),
            "error_before": before,
            "error_after": after,
        }
        lines.append({**key, **facts, "seconds": time.monotonic() - started})
    return lines


def _generate(teacher, x, y, seed: int):
    """``(points, error before, error after)``: twice as many points as rows from the tuned latent, and the teacher's
    squared error on generated points, against the condition that each was decoded for, before and after tuning."""
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=SETS, help="names in --data, or CSV files")
    parser.add_argument(
        "--shifts",
        nargs="+",
        type=float,
        default=[0.0, 0.5, 1.0],
        help="0: the teacher's distribution, 1: the farthest",
    )
    parser.add_argument("--seeds", type=int, default=3, help="seeds 1..N (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=4000)
    run_arguments(parser, "nguyen2021")
    args = parser.parse_args()
    started = time.monotonic()
    records = Records(args.out / "nguyen2021.csv", COLUMNS, KEYS)
    tasks = [
        Task(data_file(args.data, n), shift, seed, args.steps)
        for seed in range(1, args.seeds + 1)
        for n in args.sets
        for shift in args.shifts
    ]
    missing = lambda t: tuple(m for m in METHODS if not records.has(set=t.path.stem, shift=t.shift, method=m,
        seed=t.seed, steps=t.steps))  # noqa: E731  # fmt: skip
    tasks = [replace(t, methods=missing(t)) for t in tasks if missing(t)]

    def done(task: Task, lines: list[dict]) -> None:
        records.add(lines)
        found = ", ".join(f"{r['method']} {r['rmse']:.3f}" for r in lines)
        where = f"{task.path.stem} shift {task.shift} seed {task.seed}: teacher {lines[0]['teacher']:.3f}"
        print(f"[{(time.monotonic() - started) / 60:5.1f} min] {where}, {found}", flush=True)

    in_processes(run, tasks, args.jobs, done, None if args.minutes is None else started + 60 * args.minutes)
    names = [data_file(args.data, n).stem for n in args.sets]
    page = report(records, names, args.shifts, args.steps, args.seeds, time.monotonic() - started)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "nguyen2021.md").write_text(page, encoding="utf-8")
    plot(records, names, args.shifts, args.steps, args.out / "nguyen2021.svg")
    print(page)


if __name__ == "__main__":
    main()
