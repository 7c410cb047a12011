"""Distil a convolutional teacher of vibration signals into a conv1d and a gru student with two outputs.

The signals are simulated: a mass on a spring with damping (one mode of a beam, a blade or a bearing house), shaken by
random forces, and seen by an accelerometer with noise. From 128 samples at 1 kHz the networks tell the natural
frequency, which falls when a crack grows, and the damping.

python examples/signals.py
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import regkd_edge as rk

RATE, SAMPLES, SETTLING = 1000.0, 128, 400


def vibration(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return accelerations [n, 1, 128] in m/s^2, and natural frequency [Hz] with damping [%], [n, 2].

    x'' + 2 z w x' + w^2 x = force, with a force that is white noise: exact at the sampling times, it is the
    autoregression x_t = 2 r cos(b) x_{t-1} - r^2 x_{t-2} + e_t, r = exp(-z w dt), b = w dt sqrt(1 - z^2).
    """
    rng = np.random.default_rng(seed)
    frequency, damping = rng.uniform(50, 150, n), rng.uniform(0.01, 0.08, n)
    w = 2 * np.pi * frequency
    r, b = np.exp(-damping * w / RATE), w / RATE * np.sqrt(1 - damping**2)
    position = np.zeros((n, SETTLING + SAMPLES + 2))
    for t in range(2, position.shape[1]):
        position[:, t] = 2 * r * np.cos(b) * position[:, t - 1] - r**2 * position[:, t - 2] + rng.normal(size=n)
    acceleration = np.diff(position, 2)[:, -SAMPLES:]
    acceleration *= rng.uniform(2, 5, (n, 1)) / acceleration.std(1, keepdims=True)
    acceleration += 0.2 * rng.normal(size=acceleration.shape)
    return acceleration[:, None, :], np.column_stack([frequency, 100 * damping])


def convolutional_teacher(x: np.ndarray, y: np.ndarray, epochs: int = 15) -> nn.Module:
    """A network of the kind that teams have: plain PyTorch, trained on their own labels."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv1d(1, 32, 9, stride=2, padding=4), nn.ReLU(), nn.Conv1d(32, 32, 5, stride=2, padding=2), nn.ReLU(),
        nn.AdaptiveAvgPool1d(8), nn.Flatten(), nn.Linear(256, 64), nn.ReLU(), nn.Linear(64, 2),
    )  # fmt: skip
    mean, sd = torch.tensor(y.mean(0)).float(), torch.tensor(y.std(0)).float()
    xs, ys = torch.from_numpy(x).float(), (torch.from_numpy(y).float() - mean) / sd
    optimizer = torch.optim.Adam(net.parameters(), 2e-3)
    for _ in range(epochs):
        for part in torch.randperm(len(xs)).split(64):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(xs[part]), ys[part]).backward()
            optimizer.step()
    with torch.no_grad():  # raw units out: the deviations go into the last layer
        net[-1].weight.mul_(sd[:, None])
        net[-1].bias.mul_(sd).add_(mean)
    return net.eval()


def main() -> None:
    x, y = vibration(3000)
    x_test, y_test = vibration(500, seed=1)
    teacher = rk.load_teacher(convolutional_teacher(x, y), target_names=["frequency [Hz]", "damping [%]"])
    few, labels = x[:400], y[:400]
    settings = {"base": "mix", "terms": [], "sampler": "neighbours", "noise": "mixed", "steps": 600}
    print(teacher)
    for spec in ("conv1d:8x9/4,16d5/2,gap,16:relu", "gru:12:channels-first"):
        student = rk.distill(teacher, few, labels, student=spec, **settings)
        engine = rk.build(rk.quantize(student, "int8", calibrate=few, validation=(few, labels)))
        cost = student.cost
        print(f"{student}\n  {cost.multiply_adds:,} multiply-adds and {cost.peak_numbers:,} numbers at once per row")
        print(f"R2 on new signals: teacher {teacher.score(x_test, y_test):.3f}, "
              f"student {student.score(x_test, y_test):.3f}, INT8 engine "
              f"{engine.score(x_test, y_test):.3f}")  # fmt: skip


if __name__ == "__main__":
    main()
