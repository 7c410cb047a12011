"""Small products run on one BLAS thread: several spin while they wait for each other, which a busy machine pays for."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
threadpoolctl = pytest.importorskip("threadpoolctl")

import regkd_edge as rk
from regkd_edge.quantization import corrections
from regkd_edge.quantization.threads import threads_for


def blas_threads():
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


def test_a_narrow_student_is_quantized_on_one_thread_and_the_rest_keeps_its_own(monkeypatch):
    met, learn = [], corrections.learn_rounding
    monkeypatch.setattr(corrections, "learn_rounding", lambda *a, **k: met.extend(blas_threads()) or learn(*a, **k))
    x = np.random.default_rng(0).normal(size=(60, 3))
    student = rk.distill(lambda x: x[:, 0], x, student="mlp:8:relu", recipe="mimic", steps=20)
    with threadpoolctl.threadpool_limits(2, "blas"):
        before = blas_threads()
        rk.quantize(student, "int8", calibrate=x)
        assert blas_threads() == before
    assert set(met) == {1} and len(before) > 0


@pytest.mark.parametrize(("width", "limited"), [(128, True), (129, False)])
def test_wide_layers_keep_their_threads(width, limited):
    from types import SimpleNamespace

    chain = SimpleNamespace(
        layers=[SimpleNamespace(weight=np.zeros((width, 3))), SimpleNamespace(weight=np.zeros((1, 3)))]
    )
    with threadpoolctl.threadpool_limits(2, "blas"):
        before = blas_threads()
        with threads_for(chain):
            assert blas_threads() == ([1] * len(before) if limited else before)
