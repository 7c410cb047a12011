"""Points around rows are points that can occur: ranges, whole numbers, codes, one-hot groups, the rows' own sheet."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.data import Scaler
from regkd_edge.data.columns import Columns
from regkd_edge.errors import DataError
from regkd_edge.recipes.samplers import NOISES
from regkd_edge.sampling.neighbours import Neighbours


@pytest.fixture(scope="module")
def rows():
    """Continuous, whole, binary, constant, a code, and a one-hot group of three."""
    rng = np.random.default_rng(0)
    n = 80
    group = np.eye(3)[rng.integers(3, size=n)]
    columns = [
        rng.normal(5, 2, n),
        rng.poisson(3, n),
        rng.integers(0, 2, n),
        np.full(n, 4.0),
        rng.choice([1, 7, 40], n),
    ]
    return np.column_stack([*columns, group]).astype(float)


def around(x, noise, sigma=0.5, count=500, seed=0):
    names = [f"c{j}" for j in range(x.shape[1])]
    columns = Columns.detect(x, names, categorical=["c4"], groups=[(5, 6, 7)] if x.shape[1] == 8 else ())
    return Neighbours(x, columns, Scaler.fit(x)).points(count, noise, sigma, seed)


@pytest.mark.parametrize("noise", NOISES)
def test_every_point_is_one_that_can_occur(rows, noise):
    x = around(rows, noise)
    assert x.shape == (500, 8)
    inside = (x >= rows.min(0)) & (x <= rows.max(0))
    assert inside[:, 1:].all()
    assert inside[:, 0].all() != (noise in ("open", "mixed")), "the ends of few rows are not those of the inputs"
    for j in range(1, 8):
        assert set(x[:, j]) <= set(rows[:, j]), "whole, binary, constant and coded columns keep to observed values"
    assert (x[:, 5:].sum(1) == 1).all(), "one of a one-hot group is 1"
    assert len(np.unique(x[:, 0])) > (60 if noise == "crossover" else 300)


def test_open_noise_does_not_cross_a_zero_that_the_rows_do_not_cross():
    x = np.random.default_rng(3).uniform(0.0, 2.0, size=(40, 1))
    x[0] = 0.0
    points = Neighbours(x, Columns.detect(x, ["a"]), Scaler.fit(x)).points(400, "open", 1.0, 0)
    assert points.min() == 0.0 and points.max() > 2.2


@pytest.mark.parametrize("noise", NOISES)
def test_the_same_seed_gives_the_same_points(rows, noise):
    assert (around(rows, noise, seed=3) == around(rows, noise, seed=3)).all()
    assert (around(rows, noise, seed=3) != around(rows, noise, seed=4)).any()


def test_principal_noise_stays_on_the_sheet_and_isotropic_noise_leaves_it():
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(400, 2))
    x = factors @ rng.normal(size=(2, 6)) + 1e-3 * rng.normal(size=(400, 6))
    names = [f"c{j}" for j in range(6)]
    made = Neighbours(x, Columns.detect(x, names), Scaler.fit(x))
    off = np.linalg.svd(x - x.mean(0))[2][2:]  # directions in which the rows hardly vary

    def away(noise):
        inside = made.points(400, noise, 0.3, 0)
        return (np.abs((inside - x) @ off.T)).mean()

    assert away("principal") < 0.1 * away("isotropic")


def test_fewer_rows_than_columns_still_have_principal_directions():
    x = np.random.default_rng(2).normal(size=(5, 12))
    points = Neighbours(x, Columns.detect(x, [f"c{j}" for j in range(12)]), Scaler.fit(x)).points(
        50, "principal", 1.0, 0
    )
    assert np.isfinite(points).all() and len(np.unique(points[:, 0])) > 10


def test_neighbours_of_nothing_are_refused():
    with pytest.raises(DataError, match="at least 1"):
        Neighbours(np.zeros((0, 2)), None, None)
