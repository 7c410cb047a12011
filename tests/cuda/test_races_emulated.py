"""The kernels under sanitizers: no race and no wrong access as they are, and a race as soon as a barrier is missing."""

from __future__ import annotations

import os
import subprocess

import pytest
from cuda_emulation import compile_driver, thread_sanitizer_works

pytestmark = pytest.mark.slow

RACE = 66  # ThreadSanitizer's exit status


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("races")
    if why := thread_sanitizer_works(folder):
        pytest.skip(why)
    return compile_driver("race_driver.cpp", folder / "races", "-O1", "-g1", "-fsanitize=thread")


def run(program, skipped_barrier: int | None = None) -> subprocess.CompletedProcess:
    settings = {"TSAN_OPTIONS": "halt_on_error=1"}
    if skipped_barrier is not None:
        settings["CUDA_ON_CPU_SKIP_BARRIER"] = str(skipped_barrier)
    return subprocess.run([str(program)], capture_output=True, text=True, env={**os.environ, **settings}, timeout=300)


@pytest.fixture(scope="module")
def as_it_is(program):
    return run(program)


def test_no_kernel_has_a_race(as_it_is):
    assert as_it_is.returncode == 0, as_it_is.stderr[-4000:]
    assert int(as_it_is.stdout) > 100  # barriers in two steps: the program did the work


@pytest.mark.parametrize("barrier", [0, 1, 2])
def test_a_missing_barrier_of_the_set_up_is_caught(program, barrier):
    """Job, weights and buffers' addresses are written by some threads and read by all."""
    assert run(program, barrier).returncode == RACE


def test_missing_barriers_of_a_step_are_caught(program, as_it_is):
    """Spread over the first step. Two phases in a row may touch different buffers and need no barrier between them, so
    most, not all, must be caught."""
    half = int(as_it_is.stdout) // 2
    planted = range(3, half, half // 10)
    caught = [barrier for barrier in planted if run(program, barrier).returncode == RACE]
    assert 2 * len(caught) > len(planted), f"of {list(planted)} only {caught} were caught"


def test_no_access_is_out_of_bounds_or_undefined(tmp_path):
    """AddressSanitizer, UndefinedBehaviorSanitizer: workspace and shared memory have the plan's sizes, to 128 bytes."""
    program = compile_driver(
        "race_driver.cpp",
        tmp_path / "bounds",
        "-O0",  # compiles in two thirds of the time, and leaves no access out
        "-g1",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
    )
    done = run(program)
    assert done.returncode == 0, done.stderr[-4000:]
