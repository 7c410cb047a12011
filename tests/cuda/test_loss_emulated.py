"""The matching_loss kernel, run as CPU threads and as PTX, gives the values and gradients of the CPU core."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from cuda_emulation import WAYS, Emulation, ptx_cache  # noqa: F401

core = pytest.importorskip("regkd_edge._core")

ROW_ARRAYS = ("row_weight", "row_a", "row_b", "row_error", "row_outlier")


@pytest.fixture(scope="module", params=WAYS)
def kernel(request, ptx_cache):  # noqa: F811
    emulation = Emulation(request.param, "loss_driver.cpp", "matching_loss.cu", ptx_cache)
    lib = emulation.lib
    address, whole = ctypes.c_void_p, ctypes.c_int64
    lib.workspace_bytes.argtypes, lib.workspace_bytes.restype = [whole, ctypes.c_int32], whole
    lib.matching_loss.argtypes = [
        ctypes.c_char_p,
        address,
        address,
        address,
        whole,
        ctypes.c_int32,
        address,
        address,
        address,
    ]

    def run(constants, student, y, t, rows, calls=1):
        n, outputs = student.shape
        gradient, value = np.full_like(student, np.nan), np.full(1, np.nan)
        workspace = np.zeros(
            lib.workspace_bytes(n, outputs) // 8, np.float64
        )  # zeroed once, whatever the number of calls
        args = [None if a is None else a.ctypes.data for a in (student, y, t)]
        results = [a.ctypes.data for a in (gradient, value, workspace)]
        with emulation.memory(student=student, y=y, t=t, gradient=gradient, value=value, workspace=workspace, **rows):
            for _ in range(calls):
                assert lib.matching_loss(constants.to_bytes(), *args, n, outputs, *results) == 0
        return value[0], gradient

    return run


def problem(n, outputs, base, **fields):
    rng = np.random.default_rng(n)
    student, y, t = (rng.standard_normal((n, outputs)).astype(np.float32) for _ in range(3))
    rows = {name: rng.random(n).astype(np.float32) for name in ROW_ARRAYS}
    rows["row_outlier"] = (rows["row_outlier"] < 0.3).astype(np.float32)
    job = core.Job()
    for name, value in {"base": base, "nu": 0.5, "margin": 0.1, "delta": 0.7, **fields}.items():
        setattr(job, name, value)
    for name, array in rows.items():
        setattr(job, name, array.ctypes.data)
    return job, student, y, t, rows  # rows: kept alive


def by_cpu(job, student, y, t):
    gradient = np.full_like(student, np.nan)
    value = core.matching_loss(
        job, student.ctypes.data, y.ctypes.data, t.ctypes.data, *student.shape, gradient.ctypes.data
    )
    return value, gradient


@pytest.mark.parametrize(
    "base, fields",
    [("squares", {}), ("huber", {}), ("tbr", {}), ("tbr", {"imitate": 1}), ("tor", {}), ("tor", {"drop_outliers": 1})],
)
@pytest.mark.parametrize("n, outputs", [(1, 1), (70, 3), (200, 2)])
def test_values_and_gradients_are_the_cpus(kernel, base, fields, n, outputs):
    job, student, y, t, rows = problem(n, outputs, base, **fields)
    value, gradient = kernel(job, student, y, t, rows)
    expected, expected_gradient = by_cpu(job, student, y, t)
    assert value == pytest.approx(expected, rel=1e-6)  # float32 a row, the same formulas; rows are summed in float64
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-7)


def test_more_outputs_than_shared_memory_holds(kernel):
    """200 outputs of 32 rows are 100 KB: the buffers lie in the workspace."""
    job, student, y, t, rows = problem(70, 200, "squares")
    value, gradient = kernel(job, student, y, t, rows)
    expected, expected_gradient = by_cpu(job, student, y, t)
    assert value == pytest.approx(expected, rel=1e-5)  # 200 squares a row, summed in float32
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-7)


def test_a_workspace_serves_many_calls(kernel):
    job, student, y, t, rows = problem(300, 2, "huber")
    once, again = kernel(job, student, y, t, rows), kernel(job, student, y, t, rows, calls=3)
    assert once[0] == again[0]
    np.testing.assert_array_equal(once[1], again[1])
