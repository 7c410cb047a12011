"""The students of kang2024.py: the split, a teacher, and base and base + terms on a share of its rows."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

from common import read_csv

VARIANTS = ("base", "pm", "abm", "gm", "all", "auto")
DEFAULTS: dict = {
    "w_pm": 1.0,
    "w_abm": (1.0, 0.0),
    "w_gm": 0.1,
    "sigma": 0.3,
    "ascent_sigma": 0.3,
    "draws": 1,
    "ascent_size": 0.1,
}
LOOK = 100  # steps between two looks at the held-out rows


@dataclass(frozen=True)
class Task:
    """All students of one set and seed that are still missing: (fraction, base, variant) each."""

    path: Path
    seed: int
    wanted: tuple[tuple[float, str, str], ...]
    steps: int
    score: str  # select | test
    teacher: str
    student: str
    constants: str  # JSON of fields of StepRecipe that replace the defaults
    optimizer: str  # JSON of fields of Optimizer
    batch: int


def constants_of(task: Task, variant: str) -> dict:
    """The fields of StepRecipe beside the base: the terms of a variant with their constants."""
    fields = {**DEFAULTS, **json.loads(task.constants)}
    weights = {"base": (), "pm": ("w_pm",), "abm": ("w_abm",), "gm": ("w_gm",), "all": ("w_pm", "w_abm", "w_gm")}[
        variant
    ]
    wanted = (*weights, "w_base") if weights else ()
    return {k: v for k, v in fields.items() if not k.startswith("w_") or k in wanted}


def split(n: int, seed: int):
    """Row numbers of the teacher's training and validation rows and of the test rows: 64, 16 and 20 %."""
    import numpy as np

    order = np.random.default_rng(seed).permutation(n)
    test, validation = round(0.2 * n), round(0.16 * n)
    return order[test + validation :], order[test : test + validation], order[:test]


def rmse(network, x, y) -> float:
    import torch

    with torch.no_grad():
        return (network(x) - y).double().square().mean().sqrt().item()


def train_teacher(spec: str, x, y, xv, yv, seed: int):
    """On all training rows: AdamW along a cosine, 300 epochs of batch 64 (3,000 to 30,000 steps), best kept."""
    import copy

    from regkd_edge.fused import Member, Optimizer, advance
    from regkd_edge.models import build
    from regkd_edge.objectives import StepRecipe

    total = max(3000, min(30_000, 300 * len(x) // 64)) // LOOK * LOOK
    network = build(spec, x.shape[1], y.shape[1], seed)
    member = Member(
        network, None, x, y, StepRecipe(base="labels"), Optimizer("adamw", 3e-3, 1e-3, "cosine"), total, 64, seed
    )
    best, kept = float("inf"), None
    for _ in range(0, total, LOOK):
        advance([member], LOOK)
        now = rmse(network, xv, yv)
        if now < best:
            best, kept = now, copy.deepcopy(network.state_dict())
    network.load_state_dict(kept)
    return network.requires_grad_(False)


def by_the_race(task: Task, raw, teacher, scalers, seen, kept_out, test):
    """What ``distill`` gives with its default, recipe auto, on the same rows; it chooses its base itself."""
    from regkd_edge.config import DistillConfig
    from regkd_edge.data import Dataset, Split, Table
    from regkd_edge.models import Teacher
    from regkd_edge.training import distill

    names = [f"x{j}" for j in range(raw[0].shape[1])]
    data = Dataset(Table(*raw, names, ["target"], task.path.stem), Split(seen, kept_out, test))
    config = DistillConfig(student=task.student, batch=task.batch)
    return distill(data, Teacher(teacher, scalers, "standardized", task.path.stem), config, task.seed).module


def by_one_recipe(task: Task, base: str, variant: str, teacher, x, y, seen, kept_out, judge):
    """Base, or base and terms, with early stopping; the student, and its RMSE at the last step."""
    import copy

    import torch

    from regkd_edge.fused import Member, Optimizer, advance
    from regkd_edge.models import build
    from regkd_edge.objectives import StepRecipe, row_quantities

    recipe = StepRecipe(base=base, **constants_of(task, variant))
    student = build(task.student, x.shape[1], 1, 1000 + task.seed)
    with torch.no_grad():
        quantities = row_quantities(teacher(x[seen]), y[seen])
    optimizer = Optimizer(**json.loads(task.optimizer))
    batch = min(task.batch, len(seen))
    data = x[seen], y[seen]
    member = Member(student, teacher, *data, recipe, optimizer, task.steps, batch, task.seed, quantities)
    best, kept = float("inf"), None
    for done in range(0, task.steps, LOOK):
        advance([member], min(LOOK, task.steps - done))
        now = rmse(student, x[kept_out], y[kept_out])
        if now < best:
            best, kept = now, copy.deepcopy(student.state_dict())
    last = rmse(student, x[judge], y[judge])
    student.load_state_dict(kept)
    return student, last


def run(task: Task) -> list[dict]:
    import numpy as np
    import torch

    from regkd_edge.data import Scaler, Scalers

    raw = x, y = read_csv(task.path)
    train, validation, test = split(len(x), task.seed)
    centre, scale = x[train].mean(0), np.where(x[train].std(0) > 0, x[train].std(0), 1.0)
    shift, unit = y[train].mean(0), y[train].std(0)
    scalers = Scalers(Scaler(centre, scale), Scaler(shift, unit))
    x, y = (torch.tensor(v, dtype=torch.float32) for v in ((x - centre) / scale, (y - shift) / unit))
    teacher = train_teacher(task.teacher, x[train], y[train], x[validation], y[validation], task.seed)
    judge = validation if task.score == "select" else test
    floor = rmse(teacher, x[judge], y[judge])
    lines, raced = [], {}
    for fraction, base, variant in task.wanted:
        rows = train[: round(fraction * len(train))]  # nested: the smaller share is inside the larger
        held = max(4, len(rows) // 5)
        seen, kept_out = rows[held:], rows[:held]
        started = time.monotonic()
        if variant == "auto":  # one student beside all bases
            if fraction not in raced:
                raced[fraction] = by_the_race(task, raw, teacher, scalers, seen, kept_out, test)
            student = raced[fraction]
            last = rmse(student, x[judge], y[judge])
        else:
            student, last = by_one_recipe(task, base, variant, teacher, x, y, seen, kept_out, judge)
        key = {
            "set": task.path.stem,
            "fraction": fraction,
            "base": base,
            "variant": variant,
            "seed": task.seed,
            "steps": task.steps,
            "score": task.score,
        }
        facts = {
            "rows": len(rows),
            "teacher": floor,
            "rmse": rmse(student, x[judge], y[judge]),
            "last": last,
            "seconds": time.monotonic() - started,
        }
        lines.append({**key, **facts})
    return lines
