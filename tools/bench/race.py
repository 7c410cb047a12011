"""What the race of recipe auto costs: CPU and wall seconds against the base alone, 10,000 rows x 20 features.

Both students are trained until they stop improving. Two tables: labels with little noise, and labels with much of it.
The teacher (mlp:256,256, 20 epochs) is trained first and not counted. CPU seconds are what other work on the machine
disturbs least; the ratio is of these. Each training is repeated, the least is printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reproduce"))

from common import one_thread, table  # noqa: E402

ROWS, FEATURES = 10_000, 20
NOISE = {"little noise": 0.1, "much noise": 1.0}


def rows(noise: float, n: int):
    """Correlated inputs [n, d] and a smooth function of three directions [n, 1], with N(0, noise^2) added."""
    import numpy as np

    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, FEATURES)) @ (np.eye(FEATURES) + 0.3 * rng.normal(size=(FEATURES, FEATURES)))
    h = np.tanh(x @ rng.normal(size=(FEATURES, 3)) / FEATURES**0.5)
    return x, np.sin(2 * h[:, :1]) + h[:, 1:2] * h[:, 2:] + noise * rng.normal(size=(n, 1))


def measure(noise: float, n: int, repeats: int) -> list:
    """``[CPU s of the base, of auto, ratio, wall s of auto, change of the distance to the teacher, who won]``."""
    import numpy as np

    from regkd_edge.config import DistillConfig, TeacherConfig
    from regkd_edge.data import Dataset, Table, split
    from regkd_edge.models import predict
    from regkd_edge.training import baseline, distill, train_teacher

    x, y = rows(noise, n)
    data = Dataset(Table(x, y, [f"x{j}" for j in range(FEATURES)], ["y"], "made"), split(n, 0.15, 0.15, 0))
    teacher = train_teacher(data, TeacherConfig(epochs=20), 0).as_teacher()
    test = data.x[data.split.test]
    best = {}
    for _ in range(repeats):
        for name, train in (("base", baseline), ("auto", distill)):
            busy, started = time.process_time(), time.monotonic()
            student = train(data, teacher, DistillConfig(), 0)
            cpu, wall = time.process_time() - busy, time.monotonic() - started
            away = predict(student.module, student.scalers, test) - teacher.predict(test)
            found = (cpu, wall, float(np.sqrt((away**2).mean())), student.race and student.race["winner"])
            best[name] = min(best.get(name, found), found, key=lambda v: v[0])
    base, auto = best["base"], best["auto"]
    change = f"{auto[2] / base[2] - 1:+.0%}"
    return [f"{base[0]:.2f}", f"{auto[0]:.2f}", f"{auto[0] / base[0]:.1f}", f"{auto[1]:.1f}", change, auto[3]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=ROWS, help="default: %(default)s")
    parser.add_argument("--repeats", type=int, default=2, help="default: %(default)s")
    args = parser.parse_args()
    one_thread()
    header = ["labels", "base, CPU s", "auto, CPU s", "ratio", "auto, wall s", "distance to the teacher", "won"]
    print(table(header, [[name, *measure(noise, args.rows, args.repeats)] for name, noise in NOISE.items()]))


if __name__ == "__main__":
    main()
