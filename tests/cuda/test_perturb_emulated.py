"""The perturb kernel, run as CPU threads and as PTX, gives the twin's bits."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from cuda_emulation import WAYS, Emulation, ptx_cache  # noqa: E402, F401

from regkd_edge.fused.points import perturb_twin  # noqa: E402


@pytest.fixture(scope="module", params=WAYS)
def kernel(request, ptx_cache):  # noqa: F811
    emulation = Emulation(request.param, "perturb_driver.cpp", "perturb.cu", ptx_cache)
    lib = emulation.lib
    floats = np.ctypeslib.ndpointer(np.float32, flags="C")
    lib.perturb.argtypes = [
        floats,
        floats,
        floats,
        ctypes.c_int64,
        ctypes.c_int32,
        ctypes.c_int32,
        ctypes.c_uint64,
        ctypes.c_uint32,
        ctypes.c_void_p,
    ]

    def run(x, sigma, draws, seed, step, device_step=None):
        out = np.full((x.shape[0], draws, x.shape[1]), np.nan, np.float32)
        counter = None if device_step is None else np.array([device_step], np.int64)
        address = None if counter is None else counter.ctypes.data
        with emulation.memory(x=x, sigma=sigma, out=out, counter=counter):
            assert lib.perturb(x, sigma, out, x.shape[0], draws, x.shape[1], seed, step, address) == 0
        return out

    return run


@pytest.mark.parametrize("samples, draws, features", [(1, 1, 1), (7, 1, 4), (5, 3, 13), (300, 2, 6)])
def test_bits_are_the_twins(kernel, samples, draws, features):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((samples, features)).astype(np.float32)
    sigma = rng.uniform(0.01, 1, features).astype(np.float32)
    seed, step = 0x1234_5678_9ABC_DEF0, 17
    twin = perturb_twin(torch.from_numpy(x), torch.from_numpy(sigma), draws, seed, step)
    np.testing.assert_array_equal(kernel(x, sigma, draws, seed, step), twin.numpy())


def test_a_step_counter_in_device_memory_is_added(kernel):
    x, sigma = np.zeros((4, 8), np.float32), np.ones(8, np.float32)
    np.testing.assert_array_equal(kernel(x, sigma, 2, 5, 100, device_step=11), kernel(x, sigma, 2, 5, 111))
    assert (kernel(x, sigma, 2, 5, 100, device_step=11) != kernel(x, sigma, 2, 5, 100)).all()
