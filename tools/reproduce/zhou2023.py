"""Data-free distillation for regression: the protocol of Zhou & Chiam 2023 (arXiv 2301.04338), re-implemented.

A teacher d-500-1 (tanh) is trained on 5000 rows; students d-H-1 learn from it without any row, by Gaussian inputs, by
an adversarial generator (Kang & Kang 2021) or by bounded ascent ("direct"), 20,000 steps each. Beside the five methods
of the paper stands what ``distill --no-data`` ships, at the same number of student steps and points: "default" knows
what theirs know, mean and standard deviation of every feature; "described" also knows each feature's lowest and highest
value and whether it is whole numbers, as a data sheet has it; "like" has 50 inputs without labels, for means, ranges
and correlations. RMSE is on standardised targets; "best" is the checkpoint with the lowest RMSE on real validation
labels, as the authors select, "last" is what a user has who owns no row. Ours see no real row, so both are the same.
"distance" is the RMSE between student and teacher on the test rows, at the last step: where the teacher's own error is
most of the RMSE on labels, it alone says which method made the better copy.

Stored results of the authors' code are quoted for the sets it was run on. Everything is resumable: a second call skips
what the CSV already holds.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace
from pathlib import Path

from common import Records, data_file, in_processes, mean, read_csv, run_arguments
from zhou2023_report import METHODS, SHIPPED, plot, report

COLUMNS = (
    "set", "hidden", "method", "seed", "epochs", "teacher", "best", "last", "best_epoch", "seconds", "cpu", "distance",
)  # fmt: skip
KEYS = ("set", "hidden", "method", "seed", "epochs")
ROUND = 10  # student steps per epoch
LIKE = 50  # inputs that "like" knows


@dataclass(frozen=True)
class Task:
    """One method on one set and width, all seeds together; or (method "teacher") the teachers of a set."""

    path: Path
    hidden: int
    method: str
    seeds: tuple[int, ...]
    epochs: int
    look: int  # epochs between two looks at the validation rows
    work: Path

    @property
    def set(self) -> str:
        return self.path.stem


# Data and teachers
# -----------------------------------------------------------------------------------------------------------


def rows_of(path: Path, seed: int):
    """``(train, validation, test)`` of (x, y), standardised on the whole set; the authors' split."""
    import torch
    from sklearn.model_selection import train_test_split

    x, y = read_csv(path)
    size = 5000 if len(x) > 5100 else int(0.6 * len(x))
    x, y = (fitted(v).standardize(v) for v in (x, y))
    xa, xb, ya, yb = train_test_split(x, y, train_size=size, random_state=seed)
    xv, xt, yv, yt = train_test_split(xb, yb, train_size=0.1, random_state=seed)
    return [tuple(torch.tensor(v, dtype=torch.float32) for v in part) for part in ((xa, ya), (xv, yv), (xt, yt))]


def fitted(v):
    """The authors' scaling of v [N, d], a constant column left at 0: rounding gives one of 0.1 a deviation of 1e-17."""
    import numpy as np

    from regkd_edge.data import Scaler

    varies = v.max(0) > v.min(0)
    return Scaler(np.where(varies, v.mean(0), v[0]), np.where(varies, v.std(0), 1.0))


def rmse(network, part) -> float:
    import torch

    with torch.no_grad():
        return (network(part[0]) - part[1]).double().square().mean().sqrt().item()


def distance(network, teacher, part) -> float:
    """Between two networks on the inputs of ``part``, in standardised targets."""
    import torch

    with torch.no_grad():
        return rmse(network, (part[0], teacher(part[0])))


def teacher_file(task: Task, seed: int) -> Path:
    return task.work / f"{task.set}-{seed}.safetensors"


def train_teachers(task: Task) -> list[dict]:
    """RMSprop 1e-3, weight decay 1e-5, batch 16, at most 500 epochs; the rate is halved after 10 epochs without a new
    best on the validation rows, training ends after 50 such epochs in all, the best is kept. All seeds together."""
    import copy

    import torch
    from safetensors.torch import save_file

    from regkd_edge.fused import Member, Optimizer, advance
    from regkd_edge.models import MLP
    from regkd_edge.objectives import StepRecipe

    task.work.mkdir(parents=True, exist_ok=True)
    busy = time.process_time()
    parts = [rows_of(task.path, seed) for seed in task.seeds]
    d = parts[0][0][0].shape[1]
    steps = -(-len(parts[0][0][0]) // 16)  # an epoch, its last batch filled up from the next
    members = []
    for seed, (train, _, _) in zip(task.seeds, parts):
        network = MLP([d, 500, 1], "tanh", generator=torch.Generator().manual_seed(seed))
        members.append(
            Member(
                network,
                None,
                *train,
                StepRecipe(base="labels"),
                Optimizer("rmsprop", 1e-3, 1e-5),
                500 * steps,
                16,
                seed,
            )
        )
    best = [float("inf")] * len(members)
    kept = [m.student.state_dict() for m in members]
    since, worse, live = [0] * len(members), [0] * len(members), list(range(len(members)))
    for _ in range(500):
        advance([members[i] for i in live], steps)
        for i in live:
            now = rmse(members[i].student, parts[i][1])
            if now < best[i]:
                best[i], since[i], kept[i] = now, 0, copy.deepcopy(members[i].student.state_dict())
                continue
            since[i], worse[i] = since[i] + 1, worse[i] + 1
            if since[i] >= 10:
                members[i].optimizer, since[i] = replace(members[i].optimizer, lr=members[i].optimizer.lr / 2), 0
        live = [i for i in live if worse[i] < 50]
        if not live:
            break
    for seed, state in zip(task.seeds, kept):
        spent = {"cpu_seconds": f"{(time.process_time() - busy) / len(task.seeds):.3f}"}
        save_file({k: v.contiguous() for k, v in state.items()}, teacher_file(task, seed), spent)
    return []


def teacher_seconds(task: Task) -> float | None:
    """CPU seconds that the training took, where the file says."""
    from safetensors import safe_open

    if not teacher_file(task, task.seeds[0]).is_file():
        return None
    with safe_open(teacher_file(task, task.seeds[0]), "pt") as file:
        return float(seconds) if (seconds := (file.metadata() or {}).get("cpu_seconds")) else None


def load_teacher(task: Task, seed: int):
    from safetensors.torch import load_file

    from regkd_edge.models import MLP

    state = load_file(teacher_file(task, seed))
    network = MLP([state["layers.0.weight"].shape[1], 500, 1], "tanh")
    network.load_state_dict(state)
    return network.requires_grad_(False)


# Students
# --------------------------------------------------------------------------------------------------------------------


def students(task: Task) -> list[dict]:
    """Train the students of all seeds by one method; return one record per seed."""
    import copy

    import torch

    from regkd_edge.models import MLP

    parts = [rows_of(task.path, seed)[1:] for seed in task.seeds]
    teachers = [load_teacher(task, seed) for seed in task.seeds]
    d, total = teachers[0].widths[0], task.epochs * ROUND
    networks = [
        MLP([d, task.hidden, 1], "tanh", generator=torch.Generator().manual_seed(10_000 + seed)) for seed in task.seeds
    ]
    step = method(task, networks, teachers, total)
    best = [(float("inf"), 0, None)] * len(networks)
    started, busy = time.monotonic(), time.process_time()
    for epoch in range(task.look, task.epochs + 1, task.look):
        step(task.look * ROUND)
        for i, (network, (validation, _)) in enumerate(zip(networks, parts)):
            now = rmse(network, validation)
            if now < best[i][0]:
                best[i] = now, epoch, copy.deepcopy(network.state_dict())
    seconds, cpu = (time.monotonic() - started) / len(networks), (time.process_time() - busy) / len(networks)
    lines = []
    for seed, network, teacher, (_, test), (_, epoch, state) in zip(task.seeds, networks, teachers, parts, best):
        last, away = rmse(network, test), distance(network, teacher, test)
        network.load_state_dict(state)
        facts = {"set": task.set, "hidden": task.hidden, "method": task.method, "seed": seed, "epochs": task.epochs}
        lines.append(
            {
                **facts,
                "teacher": rmse(teacher, test),
                "best": rmse(network, test),
                "last": last,
                "best_epoch": epoch,
                "seconds": seconds,
                "cpu": cpu,
                "distance": away,
            }
        )
    return lines


def entries_of(x) -> list[dict]:
    """What a data sheet says of each feature of x [N, d]: mean, standard deviation, lowest and highest value, whether
    they are whole numbers. No row and no relation between features goes into it."""
    entries = []
    for j, column in enumerate(x.T):
        low, high = float(column.min()), float(column.max())
        whole = bool((column == column.round()).all())
        spread = {"mean": float(column.mean()), "sd": float(column.std()), "low": low, "high": high, "integer": whole}
        entries.append({"name": f"x{j}", **({"constant": low} if low == high else spread)})
    return entries


def shipped(task: Task) -> list[dict]:
    """What ``distill --no-data`` gives with default settings; one record per seed."""
    import tempfile

    import numpy as np
    import yaml

    from regkd_edge.config import DistillConfig
    from regkd_edge.data import Dataset, Scalers, split
    from regkd_edge.models import Teacher
    from regkd_edge.training import described_rows, distill

    x, y = read_csv(task.path)
    scalers, lines = Scalers(fitted(x), fitted(y)), []
    for seed in task.seeds:
        test, network = rows_of(task.path, seed)[2], load_teacher(task, seed)
        teacher = Teacher(network, scalers, "standardized", task.set)
        with tempfile.TemporaryDirectory() as folder:
            about: dict = {}
            if task.method == "described":
                about = {"describe": str(Path(folder, "inputs.yaml"))}
                Path(about["describe"]).write_text(yaml.safe_dump({"inputs": entries_of(x)}), encoding="utf-8")
            if task.method == "like":
                about = {"like": str(Path(folder, "rows.csv"))}
                few = x[np.random.default_rng(seed).choice(len(x), LIKE, replace=False)]
                names = ",".join(f"x{j}" for j in range(x.shape[1]))
                np.savetxt(about["like"], few, delimiter=",", header=names, comments="", fmt="%.17g")
            config = DistillConfig(no_data=True, student=f"mlp:{task.hidden}:tanh", steps=task.epochs * ROUND, **about)
            started, busy = time.monotonic(), time.process_time()
            table = described_rows(teacher, config, seed)
            student = distill(Dataset(table, split(len(table), 0.15, 0.15, seed)), teacher, config, seed)
        found = rmse(student.module, test)
        facts = {"set": task.set, "hidden": task.hidden, "method": task.method, "seed": seed, "epochs": task.epochs}
        facts |= {
            "teacher": rmse(network, test),
            "best": found,
            "last": found,
            "best_epoch": student.best_step // ROUND,
        }
        facts |= {"seconds": time.monotonic() - started, "cpu": time.process_time() - busy}
        lines.append({**facts, "distance": distance(student.module, network, test)})
    return lines


def method(task: Task, networks, teachers, total: int):
    """A function (steps) that trains all networks on, by the task's method."""
    from regkd_edge.fused import Member, Optimizer, advance
    from regkd_edge.objectives import Schedule, StepRecipe
    from regkd_edge.sampling import AdversarialGenerator, Feed, Gaussian, Part, advance_fed

    kind, _, alpha = task.method.partition("_")
    optimizer, recipe, d = Optimizer("rmsprop", 1e-3, 1e-5), StepRecipe(base="mimic"), teachers[0].widths[0]
    batch = 50 if alpha == "dec" else 100
    if kind == "direct":
        recipe = StepRecipe.direct2023("decreasing" if alpha == "dec" else 1)
    make = lambda seed, network, teacher, rows: Member(
        network, teacher, None, None, recipe, optimizer, total, rows, seed
    )
    if kind != "generator":
        members = [make(*who, batch) for who in zip(task.seeds, networks, teachers)]
        return lambda n: advance(members, n)
    members = [make(*who, 100) for who in zip(task.seeds, networks, teachers)]
    feeds = []
    for seed in task.seeds:
        generator = AdversarialGenerator(d, seed=seed, batch=batch)  # 50-500-d; learns one step an epoch
        whole = [Part(generator, 100)]
        mixed = [Part(generator, 50, Schedule(1.0, 0.0)), Part(Gaussian(d, seed=seed), 50, Schedule(0.0, 1.0))]
        feeds.append(Feed(mixed if alpha == "dec" else whole, steps=ROUND))
    return lambda n: advance_fed(members, feeds, n)


def run(task: Task) -> list[dict]:
    if task.method == "teacher":
        return train_teachers(task)
    return shipped(task) if task.method in SHIPPED else students(task)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sets",
        nargs="+",
        default=["compactiv", "cpusmall", "pole"],
        help="names in --data, or CSV files whose last column is the target",
    )
    parser.add_argument(
        "--hidden", nargs="+", type=int, default=[25, 50], help="widths of the student (default: 25 50)"
    )
    parser.add_argument("--seeds", type=int, default=10, help="seeds 1..N (default: %(default)s)")
    parser.add_argument(
        "--epochs", type=int, default=2000, help="epochs of 10 student steps (default: %(default)s, the paper's)"
    )
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument(
        "--look",
        type=int,
        default=5,
        help="epochs between two validations (default: %(default)s; the authors validate every epoch)",
    )
    run_arguments(parser, "zhou2023")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("build/reproduce/teachers"),
        help="folder of trained teachers (default: %(default)s)",
    )
    args = parser.parse_args()
    if args.epochs % args.look:
        parser.error(f"--epochs {args.epochs} is not a multiple of --look {args.look}")
    started = time.monotonic()
    seeds = tuple(range(1, args.seeds + 1))
    paths = [data_file(args.data, name) for name in args.sets]
    records = Records(args.out / "zhou2023.csv", COLUMNS, KEYS)

    def done(task: Task, lines: list[dict]) -> None:
        records.add(lines)
        best = (
            f" best {mean([r['best'] for r in lines]):.4f} last {mean([r['last'] for r in lines]):.4f}" if lines else ""
        )
        print(
            f"[{(time.monotonic() - started) / 60:5.1f} min] {task.set} H={task.hidden} {task.method}, "
            f"{len(task.seeds)} seeds{best}",
            flush=True,
        )

    task = lambda path, hidden, m, todo: Task(path, hidden, m, tuple(todo), args.epochs, args.look, args.work)
    until = None if args.minutes is None else started + 60 * args.minutes
    teachers = [task(p, 500, "teacher", [s]) for p in paths for s in seeds]
    in_processes(run, [t for t in teachers if not teacher_file(t, t.seeds[0]).is_file()], args.jobs, done, until)
    todo = []
    for group in (seeds[i : i + 5] for i in range(0, len(seeds), 5)):
        for m in args.methods:
            for path in paths:
                for hidden in args.hidden:
                    missing = [
                        s
                        for s in group
                        if not records.has(set=path.stem, hidden=hidden, method=m, seed=s, epochs=args.epochs)
                    ]
                    taught = all(teacher_file(task(path, hidden, m, missing), s).is_file() for s in missing)
                    todo += [task(path, hidden, m, missing)] if missing and taught else []
    in_processes(run, todo, args.jobs, done, until)
    names = [p.stem for p in paths]
    teaching = [seconds for t in teachers if (seconds := teacher_seconds(t)) is not None]
    page = report(
        records, names, args.hidden, list(seeds), args.epochs, args.methods, teaching, time.monotonic() - started
    )
    (args.out / "zhou2023.md").write_text(page, encoding="utf-8")
    plot(args.out / "zhou2023.svg", records, names, args.hidden, args.methods, args.epochs)
    print(page)


if __name__ == "__main__":
    main()
