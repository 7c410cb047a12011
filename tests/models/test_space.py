"""A teacher in a standardized space: codes and counts are restored to values that occur, everything else in float64."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from regkd_edge.data import Columns, Scalers
from regkd_edge.models.space import InStandardizedSpace, Snap

NAMES = ["code", "binary", "count", "free", "constant", "red", "blue"]


def rows(n, seed=0):
    rng = np.random.default_rng(seed)
    red = rng.integers(0, 2, n)
    return np.column_stack(
        [rng.choice([0, 2, 7], n), rng.choice([-1, 1], n), rng.permutation(n) * 3 + 200, rng.normal(5, 2, n),
         np.full(n, 0.3), red, 1 - red]
    ).astype(float)  # fmt: skip


X = rows(400)
COLUMNS = Columns.detect(X, NAMES, categorical=["code"], groups=[[5, 6]])


def test_points_move_to_what_can_occur_as_columns_restrict_moves_them():
    points = X + np.random.default_rng(1).normal(0, 3, X.shape)
    moved = Snap(COLUMNS)(torch.from_numpy(points))
    assert np.array_equal(moved.numpy(), COLUMNS.restrict(points))
    assert np.array_equal(moved[:, 3].numpy(), points[:, 3])


def test_gradients_pass_straight_through():
    points = torch.from_numpy(X[:5]).requires_grad_(True)
    (Snap(COLUMNS)(points) ** 2).sum().backward()
    assert torch.equal(points.grad, 2 * points.detach())


class Seen(nn.Module):
    def forward(self, x):
        self.x = x
        return x[:, :1]


def test_a_row_that_went_through_the_space_arrives_with_its_codes_bit_for_bit():
    scalers = Scalers.fit(X, X[:, :1])
    seen = Seen()
    network = InStandardizedSpace(seen, scalers, columns=COLUMNS, dtype=torch.float64)
    network(torch.from_numpy(scalers.x.standardize(X)).float())
    whole = [0, 1, 2, 4, 5, 6]
    assert np.array_equal(seen.x[:, whole].numpy(), X[:, whole])
    assert np.allclose(seen.x[:, 3].numpy(), X[:, 3], atol=2e-6)  # float32 on the way, values around 5
    network(torch.randn(200, 7) * 50)  # far outside: an index of an embedding must stay in its range
    assert set(seen.x[:, 0].tolist()) <= {0.0, 2.0, 7.0}
    assert seen.x[:, 2].min() >= 200 and seen.x[:, 2].max() <= 200 + 3 * 399


def test_the_scaling_stays_in_float64_when_the_network_changes_its_type():
    scalers = Scalers.fit(X, X[:, :1])
    network = InStandardizedSpace(nn.Linear(7, 1), scalers, columns=COLUMNS).float()
    assert network.x_mul.dtype == torch.float64 and network.snap.values.dtype == torch.float64
