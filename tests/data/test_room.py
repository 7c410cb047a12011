"""Rows in Python that do not fit in memory: refused before any of them is read."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

import regkd_edge as rk
from regkd_edge.errors import DataError
from regkd_edge.io import memory


@pytest.fixture
def rows(tmp_path, monkeypatch):
    """A mapped array of 10 GB, of which the disk holds nothing, where 16 GiB are available."""
    with open(tmp_path / "x.dat", "wb") as stream:
        stream.truncate(125_000_000 * 20 * 4)
    monkeypatch.setattr(memory, "available_memory", lambda: 16 << 30)
    return np.memmap(tmp_path / "x.dat", np.float32, "r", shape=(125_000_000, 20))


def test_a_mapped_array_that_does_not_fit_is_refused_in_one_line(rows):
    network = nn.Sequential(nn.Linear(20, 4), nn.Tanh(), nn.Linear(4, 1))
    for call in (
        lambda: rk.distill(network, rows, student="mlp:4:tanh", steps=10),
        lambda: rk.distill(network, rows, rows[:, :1], student="mlp:4:tanh", steps=10),
        lambda: rk.train_teacher(rows, rows[:, 0], teacher="mlp:4:tanh", epochs=1),
    ):
        with pytest.raises(DataError) as caught:
            call()
        said = str(caught.value)
        assert "[125000000, 20]" in said and "37.3 GiB" in said and "16.0 GiB are available" in said
        assert "--data x.npy" in said and "\n" not in said
