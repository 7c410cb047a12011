"""From a torch module of your own to a C99 header for a microcontroller.

python examples/from_module.py [FOLDER]     # writes FOLDER/student.h (default: the current folder)
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

import regkd_edge as rk


class Reader(nn.Module):
    """A residual network that reads a scanned digit of 8 x 8 pixels as a number; raw pixels in, raw numbers out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.block, self.last = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # [n, 64] -> [n, 1]
        h = torch.relu(self.first(x / 16))
        return self.last(h + torch.relu(self.block(h)))


def trained(x: torch.Tensor, y: torch.Tensor) -> Reader:
    """The module that stands for yours: trained by yourself, with your own code."""
    torch.manual_seed(0)
    net = Reader()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(200):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
    return net


def main(folder: Path) -> None:
    pixels, digits = load_digits(return_X_y=True)
    x, y = torch.tensor(pixels, dtype=torch.float32), torch.tensor(digits[:, None], dtype=torch.float32)
    net = trained(x[:1200], y[:1200])

    teacher = rk.load_teacher(net)
    # Only 120 rows, and no labels: the student follows the teacher on them and around them.
    student = rk.distill(teacher, x[:120], student="mlp:16,16:relu", recipe="kang2024", steps=300)
    int8 = rk.quantize(student, "int8", calibrate=x[:120])
    engine = rk.build(int8, backend="native", c_header="student")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(engine.folder / "student.h", folder)

    print(teacher)
    print(f"R2 on unseen digits: teacher {teacher.score(x[1200:], y[1200:]):.3f}, "
          f"student {student.score(x[1200:], y[1200:]):.3f}, "
          f"INT8 engine {engine.score(x[1200:], y[1200:]):.3f}")  # fmt: skip
    print(f"{folder / 'student.h'}: {(folder / 'student.h').stat().st_size:,} bytes of C99")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "."))
