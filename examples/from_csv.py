"""From a table to an engine: train a teacher, distil it, quantize the student, build it and measure it.

python examples/from_csv.py                          # scikit-learn's diabetes table
python examples/from_csv.py mine.csv --target price  # a table of your own; the last column without --target
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import regkd_edge as rk
from regkd_edge.data import Dataset, split


def write_diabetes(path: Path) -> None:
    """Write the table that scikit-learn ships: 442 patients, 10 inputs, the progression of the disease in a year."""
    from sklearn.datasets import load_diabetes

    data = load_diabetes(scaled=False)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*data.feature_names, "progression"])
        writer.writerows(row.tolist() + [label] for row, label in zip(data.data, data.target))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", type=Path)
    parser.add_argument("--target")
    chosen = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        if chosen.table is None:
            chosen.table, chosen.target = Path(folder, "diabetes.csv"), "progression"
            write_diabetes(chosen.table)
        if chosen.target is None:
            with chosen.table.open(newline="") as stream:
                chosen.target = next(csv.reader(stream))[-1]
        table = rk.load_table(chosen.table, [chosen.target])

    data = Dataset(table, split(len(table), validation=0.15, test=0.15, seed=0))
    teacher = rk.train_teacher(data, teacher="mlp:128,128:tanh")
    # Without recipe and steps, several recipes race on the validation rows (slower, and usually more accurate).
    student = rk.distill(teacher, data, student="mlp:16,16:tanh", recipe="kang2024", steps=1000)

    x, y = data.rows("test")
    calibration, _ = data.rows("train")
    int8 = rk.quantize(student, "int8", calibrate=calibration)
    engines = [rk.build(int8, backend=backend) for backend in ("native", "onnxruntime")]
    print(teacher)
    print(student)
    print(f"R2 on the held-out rows: teacher {teacher.score(x, y):.3f}, student {student.score(x, y):.3f}")
    print(rk.bench(engines, x, y, reference=student, samples=1000))


if __name__ == "__main__":
    main()
