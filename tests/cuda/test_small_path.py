"""The small path of the training kernel: which jobs take it, every way to part a sum, clusters, mixed company."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from cuda_emulation import Emulation, ptx_cache  # noqa: F401
from cuda_jobs import Case
from test_train_emulated import SHARED, Emulator, check

core = pytest.importorskip("regkd_edge._core")

LARGE = dict(student=(5, 9, 2), teacher=(5, 120, 120, 2))  # W and its transpose of 120 x 120 are 115 kB


@pytest.fixture(scope="module", params=["threads", "ptx"])
def emulator(request, ptx_cache):  # noqa: F811
    return Emulator(Emulation(request.param, "train_driver.cpp", "train.cu small.cu", ptx_cache))


@pytest.fixture(scope="module", params=["threads", "ptx"])
def clusters(request, ptx_cache):  # noqa: F811
    """The PTX of sm_90, which has barriers of clusters."""
    return Emulator(Emulation(request.param, "train_driver.cpp", "small.cu", ptx_cache, architecture="90"))


def assert_equal(found: Case, expected: Case) -> None:
    for name, value in expected.results().items():
        np.testing.assert_array_equal(found.results()[name], value, err_msg=name)


@pytest.mark.parametrize(
    "student, teacher, small",
    [
        ((8, 32, 32, 1), (8, 64, 64, 1), True),
        ((13, 50, 1), (13, 500, 1), True),
        ((16, 64, 64, 1), (16, 128, 128, 1), False),
        ((64, 64, 64, 1), (64, 256, 256, 256, 1), False),
    ],
)
def test_shapes_of_the_small_path(emulator, student, teacher, small):
    image = Case(core, student=student, teacher=teacher, batch=8).job.to_bytes()
    plan, size = (ctypes.c_int32 * 11)(), ctypes.c_int64()
    emulator.lib.plan(image, 1, SHARED, 64, 2, plan, ctypes.byref(size))
    assert plan[8] == small


@pytest.mark.parametrize(
    "student, teacher",
    [
        ((3, 70, 33, 1), (3, 66, 65, 1)),  # two rows per lane, more rows than lanes hold at once
        ((7, 30, 17, 3), (7, 12, 5, 3)),  # sums shared by 2, 4 and 8 lanes
        ((13, 6, 1), (13, 230, 1)),  # 13 inputs of a wide layer, one output: sums shared by a warp
        ((1, 3, 1), (1, 2, 1)),
    ],
)
def test_every_way_to_part_a_sum(emulator, student, teacher):
    check(emulator, student=student, teacher=teacher, batch=13, draws=1)


def test_a_cluster_has_the_bits_of_a_grid(clusters):
    settings = dict(steps=3, batch=21, draws=1)
    together, apart = Case(core, **settings), Case(core, **settings)
    assert clusters.run([together], blocks=4, cluster=4)["clustered"]
    plan = clusters.run([apart], blocks=3, threads=128)
    assert not plan["clustered"] and plan["blocks"] == 3
    assert_equal(together, apart)


def test_members_of_clusters(clusters):
    cases, alone = ([Case(core, seed=s, steps=2, batch=9, draws=1) for s in (1, 2)] for _ in range(2))
    assert clusters.run(cases, blocks=2, cluster=2)["clustered"]
    for case, single in zip(cases, alone):
        clusters.run([single], blocks=1)
        assert_equal(case, single)


def test_small_and_large_members_go_together(emulator):
    settings = [dict(seed=1), LARGE, dict(seed=2, optimizer="rmsprop")]
    together, alone = ([Case(core, steps=2, batch=17, draws=1, **s) for s in settings] for _ in range(2))
    assert emulator.run(together)["small"] == 2
    for case, single in zip(together, alone):
        emulator.run([single], blocks=1)
        assert_equal(case, single)
