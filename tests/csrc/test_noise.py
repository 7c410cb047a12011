"""Noise is a function of (seed, stream, step, sample, draw, feature): known answers, moments, equal bits everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from core_arrays import address, core


def normals(
    samples: int, features: int, draws: int = 1, seed: int = 11, step: int = 3, stream: int = 0, level: str = ""
) -> np.ndarray:
    zero, one = np.zeros((samples, features), np.float32), np.ones(features, np.float32)
    out = np.empty((samples, draws, features), np.float32)
    core.perturb(address(zero), address(one), samples, features, draws, seed, step, stream, address(out), level)
    return out


@pytest.mark.parametrize(
    "counter, key, words",
    [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(counter, key, words):
    assert [f"{w:08x}" for w in core.philox(counter, key)] == words.split()


def test_normals_are_box_muller_of_the_documented_words():
    """The layout of philox.h, recomputed here in float64 from the words alone."""
    seed, step, stream, sample, draw = 0x1234567890ABCDEF, 5, 1, 17, 2
    got = normals(18, 7, draws=3, seed=seed, step=step, stream=stream)[sample, draw]
    expected = []
    for quad in range(2):
        r = core.philox([sample, quad, step, stream << 16 | draw], [seed & 0xFFFFFFFF, seed >> 32])
        for a, b in ((r[0], r[1]), (r[2], r[3])):
            radius = np.sqrt(-2 * np.log(((a >> 8) + 0.5) / 2**24))
            angle = 2 * np.pi * (b >> 8) / 2**24
            expected += [radius * np.cos(angle), radius * np.sin(angle)]
    # ln, cos and sin in float32 with errors of about an ulp each, values up to 5.8
    np.testing.assert_allclose(got, expected[:7], atol=2e-6)


def test_moments_are_those_of_a_standard_normal():
    z = normals(40000, 8).reshape(-1, 8).astype(np.float64)
    n = z.size
    assert abs(z.mean()) < 4 / np.sqrt(n)  # four standard errors
    assert abs((z**2).mean() - 1) < 4 * np.sqrt(2 / n)
    assert abs((z**3).mean()) < 4 * np.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 4 * np.sqrt(96 / n)
    correlation = np.corrcoef(z.T) - np.eye(8)
    assert np.abs(correlation).max() < 5 / np.sqrt(len(z))


@pytest.mark.parametrize("level", core.simd_levels_available())
def test_every_simd_level_gives_the_same_bits(level):
    assert (
        normals(37, 13, draws=2, level=level).tobytes()
        == normals(37, 13, draws=2, level=core.simd_levels_available()[0]).tobytes()
    )


def test_a_number_does_not_depend_on_what_is_drawn_beside_it():
    full = normals(50, 9, draws=3)
    np.testing.assert_array_equal(full[:20, :2, :5], normals(20, 5, draws=2))


def test_seed_step_and_stream_each_change_the_noise():
    base = normals(8, 4)
    for other in (
        normals(8, 4, seed=12),
        normals(8, 4, seed=11 + 2**32),
        normals(8, 4, step=4),
        normals(8, 4, stream=1),
    ):
        assert not np.any(base == other)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 31, 64, 100, 1000, 4097])
def test_an_epoch_visits_every_row_once(n):
    order = np.empty(n, np.int32)
    core.permute(3, 2**33 + 1, n, address(order))
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_epochs_differ_and_rows_reach_every_place():
    """Where row 0 of 16 goes, over 4000 epochs: chi-square with 15 degrees of freedom, 0.1 % point 37.7."""
    places = np.zeros(16)
    order = np.empty(16, np.int32)
    for epoch in range(4000):
        core.permute(5, epoch, 16, address(order))
        places[np.argmin(order)] += 1
    assert ((places - 250) ** 2 / 250).sum() < 37.7
