"""A build with CUDA on a machine without a device: it imports, and says what is missing."""

from __future__ import annotations

import pytest

core = pytest.importorskip("regkd_edge._core")

pytestmark = pytest.mark.skipif(
    not core.has_cuda, reason="the extension was built without CUDA (no nvcc at build time)"
)


@pytest.fixture
def why():
    count, reason = core.cuda.device_count()
    if count:
        pytest.skip("this machine has a CUDA device")
    return reason


def test_the_reason_names_the_driver_or_the_device(why):
    """cudart's own text for a missing driver, "driver version is insufficient", would mislead."""
    assert "no NVIDIA driver is installed" in why or "sees no device" in why or "this build needs CUDA" in why


def test_asking_for_a_device_gives_the_reason(why):
    with pytest.raises(RuntimeError) as found:
        core.cuda.device(0)
    assert str(found.value) == why


def test_planning_checks_the_job_before_the_device(why):
    job = core.Job()
    with pytest.raises(ValueError, match="cannot run this step"):
        core.cuda.plan([job], 0)
    with pytest.raises(ValueError, match="no jobs"):
        core.cuda.plan([], 0)


def test_the_build_names_its_architectures():
    assert core.cuda_architectures.strip()
