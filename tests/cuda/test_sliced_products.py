"""Wide networks with many rows: products in slices (csrc/cuda/sliced.h) take the steps of the CPU core, with the same
bits wherever weights and buffers lie and however many threads there are."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_emulation import WAYS, Emulation, ptx_cache  # noqa: F401
from cuda_jobs import Case
from test_train_emulated import Emulator, check

core = pytest.importorskip("regkd_edge._core")

H100 = 227 * 1024
MANY = dict(
    batch=530, rows=560, draws=1, weights={"base": (1, 1), "pm": (1, 1), "gm": (0.1, 0.1)}, base="squares", gm_on=3
)
# Last blocks of 64, 32 and 16 rows and less; rows of weights at multiples of 16 bytes, and not.
NETWORKS = {
    "multiples of 4": dict(student=(4, 64, 100, 1), teacher=(4, 128, 72, 1)),
    "odd widths": dict(student=(5, 67, 33, 2), teacher=(5, 131, 15, 2), cotangents=1),
    "many inputs": dict(student=(70, 80, 1), teacher=(70, 65, 1)),
}


@pytest.fixture(scope="module", params=WAYS)
def emulator(request, ptx_cache):  # noqa: F811
    return Emulator(Emulation(request.param, "train_driver.cpp", "train.cu small.cu", ptx_cache))


@pytest.mark.parametrize("network", NETWORKS)
def test_steps_are_those_of_the_cpu_core(emulator, network):
    plan = check(emulator, {"shared": H100, "threads": 128}, steps=2, **{**MANY, **NETWORKS[network]})
    assert plan["sliced"] and plan["buffers"] > 0 and plan["tiles"] == 34


def test_search_and_several_cotangents_need_both_networks_at_once(emulator):
    everything = dict(batch=260, rows=270, student=(5, 70, 9, 6), teacher=(5, 80, 6), cotangents=2)
    plan = check(emulator, {"shared": H100, "threads": 128}, **everything)
    assert plan["sliced"] and plan["buffers"] > 0


@pytest.fixture(scope="module")
def alone(emulator):
    settings = {**MANY, "student": (4, 68, 1), "teacher": (4, 68, 20, 1), "steps": 2}
    case = Case(core, **settings)
    return settings, case, emulator.run([case], shared=H100, threads=128)


@pytest.mark.parametrize("without", [("teacher",), ("teacher", "student"), ("teacher", "student", "buffers")])
def test_no_bit_depends_on_where_weights_and_buffers_lie(emulator, alone, without):
    settings, case, plan = alone
    assert plan["buffers"] and plan["student"] and plan["teacher"]
    other = Case(core, **settings)
    elsewhere = emulator.run([other], shared=plan["shared_bytes"] - 4 * sum(plan[w] for w in without), threads=128)
    assert {name for name in ("teacher", "student", "buffers") if not elsewhere[name]} <= set(without)
    assert not elsewhere[without[-1]]
    for name, value in case.results().items():
        np.testing.assert_array_equal(other.results()[name], value, err_msg=name)


@pytest.mark.parametrize("threads, blocks", [(256, 2), (64, 3)])
def test_no_bit_depends_on_threads_and_blocks(emulator, alone, threads, blocks):
    settings, case, _ = alone
    other = Case(core, **settings)
    emulator.run([other], shared=H100, threads=threads, blocks=blocks)
    for name, value in case.results().items():
        np.testing.assert_array_equal(other.results()[name], value, err_msg=name)


def test_a_member_of_another_kind_changes_no_bit(emulator):
    if emulator.lib is not None and "ptx" in str(emulator.lib._name):
        pytest.skip("this build of the PTX has the kernel of wide networks alone")
    settings = [{**MANY, **NETWORKS["odd widths"]}, dict(seed=2), dict(seed=1, batch=200, rows=210, draws=1)]
    together, alone = ([Case(core, steps=2, **s) for s in settings] for _ in range(2))
    emulator.run(together, shared=H100, threads=256)
    for case, single in zip(together, alone):
        emulator.run([single], shared=H100, threads=128, blocks=3)
        for name, value in single.results().items():
            np.testing.assert_array_equal(case.results()[name], value, err_msg=name)
