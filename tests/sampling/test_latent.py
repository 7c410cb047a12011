"""The tuned latent: a conditional VAE that follows its rows, an optimiser that finds maxima, points the teacher handles
well.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regkd_edge.errors import DataError, RecipeError
from regkd_edge.sampling.latent import TunedLatent, fit_vae, maximise, tune


@pytest.fixture(scope="module")
def rows():
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(400, 1, generator=generator)
    x = torch.cat([u, -u, 0.5 * torch.randn(400, 1, generator=generator)], 1)  # a line in the first two features
    return x, torch.sin(u)


@pytest.fixture(scope="module")
def vae(rows):
    return fit_vae(*rows, latent=2, steps=1200)


def test_bayesian_optimisation_finds_the_hill():
    hill = lambda v: float(-((v - np.array([0.7, -1.1])) ** 2).sum())
    best, value = maximise(hill, np.full(2, -2.0), np.full(2, 2.0), evaluations=30)
    # random search with 30 points in this box is at about -0.17 on average
    assert value > -0.02 and np.allclose(best, [0.7, -1.1], atol=0.15)


def test_decoded_points_follow_the_rows(rows, vae):
    _, c = rows
    x = vae.decode(torch.randn(400, 2, generator=torch.Generator().manual_seed(1)), c)
    assert np.corrcoef(x[:, 0], x[:, 1])[0, 1] < -0.9


def test_tuning_leads_to_points_that_the_teacher_handles_well(rows, vae):
    x, c = rows
    teacher = lambda z: torch.where(z[:, 2:3] > 0, torch.sin(z[:, :1]), torch.sin(z[:, :1]) + 2)  # wrong on one side
    latent = tune(vae, teacher, c, evaluations=25)
    points = TunedLatent(vae, latent, teacher, c, keep=0.5).draw(300, 0)
    plain = vae.decode(torch.randn(300, 2, generator=torch.Generator().manual_seed(2)), c[:300])
    error = lambda p: (teacher(p) - torch.sin(p[:, :1])).square().mean()
    assert points.shape == (300, 3) and error(points) < 0.5 * error(plain)


def test_draws_are_a_function_of_seed_and_step(rows, vae):
    _, c = rows
    latent = tune(vae, lambda z: z[:, :1], c, reward="uncertainty", evaluations=8)
    sampler = TunedLatent(vae, latent, lambda z: z[:, :1], c, reward="uncertainty")
    assert (sampler.draw(20, 3) == sampler.draw(20, 3)).all() and (sampler.draw(20, 3) != sampler.draw(20, 4)).any()


def test_mistakes_are_named(rows, vae):
    x, c = rows
    with pytest.raises(DataError, match="at least 2 rows"):
        fit_vae(x[:1], c[:1])
    with pytest.raises(RecipeError, match="reward 'luck'"):
        tune(vae, lambda z: z[:, :1], c, reward="luck")
    with pytest.raises(RecipeError, match="keep must be a share"):
        TunedLatent(vae, None, lambda z: z[:, :1], c, keep=0.0)
