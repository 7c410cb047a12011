"""Every barrier of the block in the compiled kernels is needed:
without it the PTX machine reports a race or an error."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_emulation import Emulation, ptx_cache  # noqa: F401
from cuda_jobs import Case
from test_loss_emulated import problem
from test_train_emulated import Emulator, aligned

core = pytest.importorskip("regkd_edge._core")

pytestmark = pytest.mark.slow

BOX = dict(low=-1.0, high=1.0, ascent_rule="normalised")
RANDOM_SIGNS = dict(student=(5, 9, 7, 6), teacher=(5, 12, 6), cotangents=2)
# Wide layers, many rows: products in slices. One cotangent without a search, then with one, then none at all.
SLICED = dict(batch=530, rows=560, draws=1, gm_on=3, student=(3, 12, 9, 1), teacher=(3, 65, 9, 1), base="squares")
VALUES = {"base": (1, 1), "pm": (1, 1)}
# Together they come to every barrier; (settings of the case, of the launch).
WORKLOADS = [
    ({}, {}),
    ({**BOX, **RANDOM_SIGNS}, {}),
    ({**BOX, **RANDOM_SIGNS}, {"shared": 12 * 1024}),
    ({**BOX, **RANDOM_SIGNS, "batch": 200, "rows": 250, "draws": 1}, {}),
    ({"weights": {"base": (1, 1), "pm": (1, 1)}, "optimizer": "rmsprop"}, {}),
    ({"weights": {"base": (1, 1), "pm": (1, 1)}}, {"shared": 12 * 1024}),
    ({"weights": {"base": (1, 1), "pm": (1, 1)}, "batch": 300, "rows": 250}, {}),
    ({**SLICED, "weights": {**VALUES, "gm": (0.1, 0.1)}}, {"shared": 227 * 1024}),
    ({**SLICED, "weights": VALUES}, {"shared": 227 * 1024}),
    ({**BOX, **RANDOM_SIGNS, "batch": 345, "rows": 350, "draws": 1, "teacher": (5, 66, 9, 6), "student": (5, 9, 9, 6)},
     {"shared": 227 * 1024}),
]  # fmt: skip
# The same where a block has too little shared memory for the path of small networks.
WORKLOADS += [(case, {**launch, "shared": 97 * 1024}) for case, launch in WORKLOADS if "shared" not in launch]


@pytest.fixture(scope="module")
def train(ptx_cache):  # noqa: F811
    return Emulator(Emulation("ptx", "train_driver.cpp", "train.cu small.cu", ptx_cache))


def faults(emulator, workload, skipped=0) -> str:
    """What the machine reports of a run, or nothing; barriers met are counted by it."""
    case, launch = workload
    emulator.emulation.machine.settings(skipped_barrier=skipped)
    try:
        emulator.run([Case(core, steps=2, **case)], **{"threads": 128, "blocks": 2, **launch})
    except AssertionError as report:
        return str(report) or "failed"
    finally:
        emulator.emulation.machine.settings()
    return ""


def test_no_barrier_of_the_training_kernel_is_redundant(train):
    machine = train.emulation.machine
    meets: dict[int, list] = {barrier: [] for barrier in machine.barriers}
    for workload in WORKLOADS:
        before = {barrier: machine.met(barrier) for barrier in machine.barriers}
        assert not faults(train, workload)
        for barrier in machine.barriers:
            if machine.met(barrier) > before[barrier]:
                meets[barrier].append(workload)
    assert [machine.place(barrier) for barrier, found in meets.items() if not found] == []
    redundant = [
        machine.place(barrier) for barrier, found in meets.items() if not any(faults(train, w, barrier) for w in found)
    ]
    assert redundant == []


def test_no_barrier_of_the_loss_kernel_is_redundant(ptx_cache):  # noqa: F811
    emulation = Emulation("ptx", "loss_driver.cpp", "matching_loss.cu", ptx_cache)
    machine, lib = emulation.machine, emulation.lib
    for barrier in machine.barriers:
        reports = []
        for outputs in (2, 200):  # buffers in shared memory and outside
            job, student, y, t, rows = problem(300, outputs, "squares")
            gradient, value, workspace = np.zeros_like(student), np.zeros(1), aligned(4 << 20)
            arrays = dict(student=student, y=y, t=t, gradient=gradient, value=value, workspace=workspace, **rows)
            machine.forget()
            for name, array in arrays.items():
                machine.window(array, name)
            machine.settings(skipped_barrier=barrier)
            addresses = [a.ctypes.data for a in (gradient, value, workspace)]
            inputs = [a.ctypes.data for a in (student, y, t)]
            lib.matching_loss(job.to_bytes(), *inputs, 300, outputs, *addresses)
            machine.settings()
            reports += [machine.error(), *machine.races()]
        assert any(reports), machine.place(barrier)
