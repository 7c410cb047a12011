"""Distil a convolutional teacher of scanned digits into a conv2d student: with a tenth of the rows, and without any.

python examples/images.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import nn

import regkd_edge as rk

STUDENT = "conv2d:8x3,16d3/2,flat,16:relu"


class Teacher(nn.Module):
    """Images [n, 1, 8, 8] of 0 to 16 -> the digit as a number [n, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 1),
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 4.5 + 3.0 * self.net(x / 16.0)


def trained(x: torch.Tensor, y: torch.Tensor, epochs: int = 15) -> Teacher:
    """The teacher, by plain PyTorch."""
    torch.manual_seed(0)
    teacher = Teacher()
    optimizer = torch.optim.Adam(teacher.parameters(), 2e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(x)).split(64):
            optimizer.zero_grad()
            nn.functional.mse_loss(teacher(x[part]), y[part]).backward()
            optimizer.step()
    return teacher.eval()


def main() -> None:
    data = load_digits()
    x, y = data.data.reshape(-1, 1, 8, 8), data.target[:, None].astype(float)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0)).numpy()
    x, y = x[order], y[order]
    train, test = slice(0, 1400), slice(1400, None)
    few = slice(0, 140)
    module = trained(torch.from_numpy(x[train]).float(), torch.from_numpy(y[train]).float())
    teacher = rk.load_teacher(module)
    print(teacher)

    settings = {"base": "mix", "terms": [], "sampler": "neighbours", "noise": "mixed", "steps": 500}
    student = rk.distill(teacher, x[few], y[few], student=STUDENT, **settings)
    graph = student.export("digits.onnx", check=x[test])  # raw pixels in, [batch, 1, 8, 8]
    engine = rk.build(rk.quantize(student, "int8", calibrate=x[few], validation=(x[few], y[few])))
    print(student, graph, sep="\n")
    print(f"R2 on new images: teacher {teacher.score(x[test], y[test]):.3f}, "
          f"student {student.score(x[test], y[test]):.3f}, INT8 engine "
          f"{engine.score(x[test], y[test]):.3f}")  # fmt: skip

    with tempfile.TemporaryDirectory() as folder:  # no image at all: only the range of a pixel
        sheet = Path(folder, "pixels.yaml")
        pixels = "\n".join(f"  - {{name: p{j}, low: 0, high: 16, integer: true}}" for j in range(64))
        sheet.write_text(f"inputs:\n{pixels}\n")
        blind = rk.distill(teacher, student=STUDENT, no_data=True, input_shape=(1, 8, 8), describe=str(sheet),
                           base="mimic", terms=[], steps=500)  # fmt: skip
    print(f"R2 on new images: student that saw no image {blind.score(x[test], y[test]):.3f}")


if __name__ == "__main__":
    main()
