"""From a boosted forest to an MLP: nearer to the labels than the same network without a teacher, and small.

The data are the 1,797 scanned digits that scikit-learn ships, as a table of 64 columns; the target is the digit.

python examples/boosted_forest.py
"""

from __future__ import annotations

import pickle
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.model_selection import train_test_split

import regkd_edge as rk

STUDENT = "mlp:32,32:relu"


def microseconds(predict: Callable[[np.ndarray], object], row: np.ndarray, calls: int = 200) -> float:
    """Time one row per call, from Python."""
    predict(row)
    start = time.perf_counter()
    for _ in range(calls):
        predict(row)
    return 1e6 * (time.perf_counter() - start) / calls


def main() -> None:
    x, y = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y.astype(float), random_state=0)
    forest = HistGradientBoostingRegressor(random_state=0).fit(x, y)
    teacher = rk.load_teacher(forest)
    print(teacher)

    # A forest has values and no gradients. What it adds to the labels are its answers between the rows: the student
    # sees points around them (neighbours), for which nobody has a label.
    settings = {"base": "mimic", "terms": [], "sampler": "neighbours", "noise": "mixed"}
    few = slice(0, 150)
    for rows, name, steps in ((few, "150 rows", 600), (slice(None), "all rows", 1500)):
        alone = rk.train_teacher(x[rows], y[rows], STUDENT)  # the same network on the labels
        student = rk.distill(teacher, x[rows], y[rows], student=STUDENT, steps=steps, **settings)
        engine = rk.build(
            rk.quantize(student, "int8", calibrate=x[rows], validation=(x[rows], y[rows])), backend="native"
        )
        print(f"R2 on new digits, {name}: forest {forest.score(x_test, y_test):.3f}, "
              f"labels {alone.score(x_test, y_test):.3f}, student {student.score(x_test, y_test):.3f}, "
              f"INT8 engine {engine.score(x_test, y_test):.3f}")  # fmt: skip

    row = x_test[:1].astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        engine.save(Path(folder, "engine"))
        size = Path(folder, "engine", "engine.rkdn").stat().st_size
    print(f"one digit: forest {microseconds(forest.predict, row):.0f} us and {len(pickle.dumps(forest)):,} bytes, "
          f"engine {microseconds(engine.predict, row):.1f} us and {size:,} bytes")  # fmt: skip


if __name__ == "__main__":
    main()
