"""Distil a teacher without a single row: from the description of its inputs alone.

python examples/without_data.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_diabetes

import regkd_edge as rk


def description(x: np.ndarray, names: list[str]) -> str:
    """What a data sheet would say: the mean, the standard deviation and the range of each input, as YAML."""
    lines = ["inputs:"]
    for name, column in zip(names, x.T):
        lines.append(f"  - {{name: {name}, mean: {column.mean():.4g}, sd: {column.std():.4g}, "
                     f"low: {column.min():.4g}, high: {column.max():.4g}}}")  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> None:
    data = load_diabetes(scaled=False)
    x, y = data.data, data.target
    teacher = rk.train_teacher(x[:300], y[:300], "mlp:64,64:tanh")  # the last time that anybody sees a row

    with tempfile.TemporaryDirectory() as folder:
        sheet = Path(folder, "inputs.yaml")
        sheet.write_text(description(x[:300], data.feature_names))
        student = rk.distill(teacher, student="mlp:16:tanh", recipe="data-free", describe=str(sheet), steps=2000)

    engine = rk.build(rk.quantize(student, "int8"), backend="native")  # calibrated on synthetic rows
    print(student)
    print(f"R2 on real rows, seen by nobody: teacher {teacher.score(x[300:], y[300:]):.3f}, "
          f"student {student.score(x[300:], y[300:]):.3f}, INT8 engine "
          f"{engine.score(x[300:], y[300:]):.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
