from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from regkd_edge.data import Dataset, Table, split

ROWS = 120


def dataset(x, y):
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    y = y[:, None] if y.ndim == 1 else y
    names = [f"a{i}" for i in range(x.shape[1])], [f"t{i}" for i in range(y.shape[1])]
    return Dataset(Table(x, y, *names, "memory"), split(len(x), 0.2, 0.2, 0))


def table():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 4))
    x[:, 0] = rng.integers(0, 5, ROWS)
    return dataset(x, 2 * x[:, 0] + np.sin(x[:, 1]))


class Residual(nn.Module):
    """A network that is no MLP."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.c = nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 1)

    def forward(self, x):
        return self.c(self.norm(x + torch.relu(self.a(x))))


def perceptron(dtype=torch.float32):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.SiLU(), nn.Dropout(0.1), nn.Linear(8, 1))
    nn.init.normal_(net[1].running_mean)
    return net.eval().to(dtype)


@pytest.fixture
def data():
    return table()


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """The user's folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
