"""Teachers and students on the sets of ../shared/data for the scripts beside this file; trained once, kept under runs/.

A teacher mlp:128,128:relu learns the labels; a student mlp:64,64:ACTIVATION learns half from the labels and half from
the teacher (base `blend`). Both by the training steps of the package, without early stopping, so that a case depends on
its set, activation and seed alone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
DATA = ROOT.parent / "shared" / "data"
CACHE = ROOT / "runs" / "bench-students"

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


def _train(spec: str, case: Case, teacher, folder: Path) -> None:
    from regkd_edge.fused import Optimizer, distill_steps, fit_steps
    from regkd_edge.models import build, save_model
    from regkd_edge.objectives import StepRecipe

    x, y, scalers = standardised(case)
    network = build(spec, x.shape[1], y.shape[1], case.seed)
    options = {"n": STEPS, "total": STEPS, "batch": BATCH, "seed": case.seed}
    if teacher is None:
        fit_steps(network, x, y, Optimizer("adamw", 1e-3, 1e-4, "cosine"), **options)
    else:
        distill_steps(network, teacher, x, y, StepRecipe("blend"), Optimizer("adam", 3e-3, 0.0, "cosine"), **options)
    save_model(folder, network, scalers, spec)


def prepare(case: Case) -> None:
    """Train the case's teacher and student and export the student, where that is not done yet."""
    from regkd_edge.export import export_onnx
    from regkd_edge.models import load_model

    if not (case.teacher_folder / "model.json").is_file():
        _train("mlp:128,128:relu", case, None, case.teacher_folder)
    if not (case.folder / "model.json").is_file():
        _train(f"mlp:64,64:{case.activation}", case, load_model(case.teacher_folder).module, case.folder)
    if not case.graph.is_file():
        student = load_model(case.folder)
        export_onnx(student.module, student.scalers, case.graph, spec=str(student.spec))


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    for case in cases():
        prepare(case)
        print(case.name, case.activation, case.seed, flush=True)
