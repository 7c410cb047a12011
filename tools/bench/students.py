"""Teachers and students on the sets of ../shared/data for the scripts beside this file; trained once, kept under runs/.

A teacher mlp:128,128:relu learns the labels in a fixed number of steps; a student mlp:64,64:ACTIVATION is distilled
from it on the same rows by the default recipe, auto, as ``distill`` does.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
DATA = ROOT.parent / "shared" / "data"
CACHE = ROOT / "runs" / "bench-distilled"

SETS = (
    "airfoil", "autompg", "bike", "compactiv", "concrete", "cpusmall", "elevators", "energy", "gas", "kin40k", "kin8nm",
    "machine", "parkinsons", "pole", "power-plant", "servo", "skillcraft", "solar", "stock", "wine-quality-red",
    "yacht",
)  # fmt: skip
ACTIVATIONS = ("relu", "tanh", "silu")
SEEDS = (1, 2, 3)
STEPS = 4000
BATCH = 64


@dataclass(frozen=True)
class Case:
    """One student to be quantized: a set, an activation, a seed (of the split, the weights and the rows' order)."""

    name: str
    activation: str
    seed: int

    @property
    def folder(self) -> Path:
        return CACHE / f"{self.name}.{self.activation}.{self.seed}"

    @property
    def teacher_folder(self) -> Path:
        return CACHE / f"{self.name}.teacher.{self.seed}"

    @property
    def graph(self) -> Path:
        return self.folder / "student.fp32.onnx"


def cases(sets=SETS, activations=ACTIVATIONS, seeds=SEEDS) -> list[Case]:
    return [Case(name, activation, seed) for name in sets for seed in seeds for activation in activations]


def dataset(case: Case):
    """The set with 15 % validation and 15 % test rows by the case's seed."""
    from regkd_edge.data import Dataset, load_table, split

    table = load_table(DATA / f"{case.name}.csv", ["target"])
    return Dataset(table, split(len(table.x), 0.15, 0.15, case.seed))


def standardised(case: Case):
    """``(x [N, d], y [N, o], scalers)``: the training rows as float32 tensors."""
    import torch

    data = dataset(case)
    x, y = data.rows("train")
    scalers = data.scalers()
    as_tensor = lambda values: torch.tensor(values, dtype=torch.float32)
    return as_tensor(scalers.x.standardize(x)), as_tensor(scalers.y.standardize(y)), scalers


def _train_teacher(case: Case) -> None:
    from regkd_edge.fused import Optimizer, fit_steps
    from regkd_edge.models import build, save_model

    spec, (x, y, scalers) = "mlp:128,128:relu", standardised(case)
    network = build(spec, x.shape[1], y.shape[1], case.seed)
    optimizer = Optimizer("adamw", 1e-3, 1e-4, "cosine")
    fit_steps(network, x, y, optimizer, n=STEPS, total=STEPS, batch=BATCH, seed=case.seed)
    save_model(case.teacher_folder, network, scalers, spec)


def _distill(case: Case) -> None:
    from regkd_edge.config import DistillConfig
    from regkd_edge.models import Teacher, load_model, save_model
    from regkd_edge.training import distill

    kept = load_model(case.teacher_folder)
    teacher = Teacher(kept.module, kept.scalers, "standardized", str(case.teacher_folder))
    config = DistillConfig(student=f"mlp:64,64:{case.activation}")
    trained = distill(dataset(case), teacher, config, case.seed)
    save_model(case.folder, trained.module, trained.scalers, trained.spec)


def prepare(case: Case) -> None:
    """Train the case's teacher, distil its student and export it, where that is not done yet."""
    from regkd_edge.export import export_onnx
    from regkd_edge.models import load_model

    if not (case.teacher_folder / "model.json").is_file():
        _train_teacher(case)
    if not (case.folder / "model.json").is_file():
        _distill(case)
    if not case.graph.is_file():
        student = load_model(case.folder)
        export_onnx(student.module, student.scalers, case.graph, spec=str(student.spec))


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    for case in cases():
        prepare(case)
        print(case.name, case.activation, case.seed, flush=True)
