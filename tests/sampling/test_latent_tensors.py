"""The VAE of images and signals: shapes of all kinds, decoded rows that are shaped as the real ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regkd_edge.data import Places
from regkd_edge.sampling.latent import TunedLatent, fit_vae, tune
from regkd_edge.sampling.latent_tensors import ConvolutionalVAE


@pytest.mark.parametrize(
    ("shape", "axis"),
    [((2, 16), 0), ((33, 3), 1), ((1, 1), 0), ((1, 5), 0), ((3, 17, 40), 0), ((9, 12, 2), -1), ((1, 64, 1), 0)],
)
def test_rows_of_any_shape_go_in_and_come_out_flat(shape, axis):
    places = Places(shape, axis)
    vae = ConvolutionalVAE(places, 2, 4)
    x, c = torch.randn(6, places.d), torch.randn(6, 2)
    assert vae.encode(x, c).shape == (6, 8) and vae.decode(torch.randn(6, 4), c).shape == (6, places.d)
    loss = vae.loss(x, c, torch.randn(6, 4))
    loss.backward()
    assert all(p.grad is not None for p in vae.parameters())


def bumps(n, seed):
    """A bump whose place and width vary, in two channels of opposite sign, channels last;
    the condition is its place."""
    generator = torch.Generator().manual_seed(seed)
    place = 4 + 16 * torch.rand(n, 1, generator=generator)
    width = 1.5 + torch.rand(n, 1, generator=generator)
    bump = torch.exp(-(((torch.arange(24.0) - place) / width) ** 2))
    return torch.stack([bump, -bump], 2).flatten(1), (place - 12) / 5


def test_decoded_signals_have_their_bump_where_the_condition_says():
    x, c = bumps(300, 0)
    vae = fit_vae(x, c, latent=3, steps=250, places=Places((24, 2), 1))
    c = torch.tensor([[-1.2], [0.0], [1.2]]).repeat_interleave(20, 0)
    decoded = vae.decode(torch.randn(60, 3, generator=torch.Generator().manual_seed(1)), c).reshape(60, 24, 2)
    where = decoded[:, :, 0].argmax(1).float()
    assert (where - (12 + 5 * c[:, 0])).abs().median() < 2  # places; at random it would be about 6
    assert np.corrcoef(decoded[..., 0].flatten(), decoded[..., 1].flatten())[0, 1] < -0.9  # channels of opposite sign
    teacher = lambda x: x.reshape(-1, 24, 2)[..., 0].mean(1, keepdim=True)
    sampler = TunedLatent(vae, tune(vae, teacher, c, evaluations=4), teacher, c)
    assert (sampler.draw(10, 1) == sampler.draw(10, 1)).all() and sampler.draw(10, 1).shape == (10, 48)
