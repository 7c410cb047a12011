"""The noise: Random123's known answers, the moments of normals, and independence of everything but its index."""

from __future__ import annotations

import math

import pytest
import torch

from regkd_edge.errors import RecipeError
from regkd_edge.fused import perturb
from regkd_edge.fused.philox import ASCENT, PERTURB, normal, philox, signs
from regkd_edge.fused.points import perturb_twin

# Random123, kat_vectors, philox4x32 with 10 rounds: counter, key, answer.
KNOWN = [
    ([0] * 4, 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ([0xFFFFFFFF] * 4, 2**64 - 1, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], 0x299F31D0A4093822, "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


@pytest.mark.parametrize("counter,key,answer", KNOWN)
def test_known_answers(counter, key, answer):
    words = philox(*[torch.tensor(c) for c in counter], key)
    assert " ".join(f"{int(w):08x}" for w in words) == answer


def test_normals_are_normal():
    n = normal(7, PERTURB, 3, 20000, 2, 10).double()
    size = n.numel()
    # Each bound is 5 standard errors of the moment of a true normal.
    assert abs(n.mean()) < 5 / size**0.5
    assert abs((n**2).mean() - 1) < 5 * (2 / size) ** 0.5
    assert abs((n**3).mean()) < 5 * (15 / size) ** 0.5
    assert abs((n**4).mean() - 3) < 5 * (96 / size) ** 0.5
    below = (n[..., None] < torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0], dtype=torch.float64)).double().mean((0, 1, 2))
    for share, z in zip(below.tolist(), (-2, -1, 0, 1, 2)):
        expected = 0.5 * (1 + math.erf(z / 2**0.5))
        assert abs(share - expected) < 5 * (expected * (1 - expected) / size) ** 0.5
    flat = n.reshape(-1, 10)
    correlation = flat.T @ flat / flat.shape[0] - torch.eye(10, dtype=torch.float64)
    assert correlation.abs().max() < 6 / flat.shape[0] ** 0.5 * 2**0.5


def test_a_number_depends_on_its_index_alone():
    whole = normal(7, PERTURB, 3, 50, 4, 13)
    assert torch.equal(normal(7, PERTURB, 3, 20, 2, 6), whole[:20, :2, :6])
    assert torch.equal(normal(7, PERTURB, 3, 50, 2, 13, first_draw=2), whole[:, 2:])
    for other in (normal(8, PERTURB, 3, 50, 4, 13), normal(7, ASCENT, 3, 50, 4, 13), normal(7, PERTURB, 4, 50, 4, 13)):
        assert (other == whole).float().mean() < 0.01
    high = normal(7 + (1 << 40), PERTURB, 3, 50, 4, 13)
    assert (high == whole).float().mean() < 0.01


def test_signs_are_fair_and_independent():
    s = signs(3, 0, 5000, 0, 2, 7)
    assert set(s.unique().tolist()) == {-1.0, 1.0}
    flat = s.reshape(-1, 7)
    assert (flat.T @ flat / flat.shape[0] - torch.eye(7)).abs().max() < 6 / flat.shape[0] ** 0.5
    assert torch.equal(signs(3, 0, 5000, 1, 1, 7)[:, 0], s[:, 1])


@pytest.mark.parametrize("shape", [(5, 3), (5,), (4, 2, 3, 3), (1, 1), (33, 65)])
def test_perturb_takes_tensors_of_any_shape(shape):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    out = perturb(x, 0.25, 3, seed=11, step=2)
    assert out.shape == (shape[0], 3, *shape[1:])
    assert torch.equal(out, perturb_twin(x, 0.25, 3, 11, 2))
    assert torch.equal(perturb(x, 0.0, 2, 11, 2), x[:, None].expand(shape[0], 2, *shape[1:]))


def test_perturb_with_one_sigma_a_feature_and_its_gradient():
    x = torch.zeros(200, 3, requires_grad=True)
    out = perturb(x, (0.0, 1.0, 10.0), 50, seed=1, step=0)
    assert torch.all(out[..., 0] == 0)
    assert 9 < out[..., 2].std() / out[..., 1].std() < 11
    (grad,) = torch.autograd.grad(3 * out.sum(), x)
    assert torch.all(grad == 150)


@pytest.mark.parametrize("bad", [{"sigma": (1.0, 2.0)}, {"draws": 0}, {"seed": -1}, {"step": 2**32}])
def test_perturb_refuses(bad):
    with pytest.raises(RecipeError):
        perturb(**{"x": torch.zeros(2, 3), "sigma": 0.1, "draws": 1, "seed": 0, "step": 0, **bad})
