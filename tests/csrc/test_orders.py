"""The C++ core compiled by itself: orders of work, threads, and the sanitizers of g++."""

from __future__ import annotations

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent

pytestmark = [
    pytest.mark.slow,  # a compile of 5 to 20 s each
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
]

# x86-64-v3 is what nearly every machine and valgrind-like tools run; phases as functions make the compile ten times
# shorter.
MACHINE = ["-march=x86-64-v3", "-DREGKD_LEVEL=v3"] if platform.machine() == "x86_64" else ["-DREGKD_LEVEL=neon"]
FLAGS = [
    "-std=c++20",
    "-g",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-uninitialized",
    "-Wno-maybe-uninitialized",
]


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    folder = tmp_path_factory.mktemp("core_driver")

    def make(*flags: str) -> Path:
        program = folder / ("driver_" + "_".join(f.strip("-").replace("=", "_").replace(",", "_") for f in flags))
        if not program.exists():
            command = ["g++", *FLAGS, *MACHINE, "-DREGKD_PHASE=__attribute__((noinline))", *flags, f"-I{ROOT / 'csrc'}"]
            command += [str(HERE / "core_driver.cpp"), str(ROOT / "csrc/cpu/pool.cpp"), "-lpthread", "-o", str(program)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0 and "cannot find -l" in done.stderr:
                pytest.skip("this g++ comes without the sanitizer's library: " + done.stderr.splitlines()[-1])
            assert done.returncode == 0, done.stderr
        return program

    return make


def run(program: Path, mode: str) -> str:
    done = subprocess.run([str(program), mode], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_order_of_the_items_of_a_phase_gives_the_same_bits(build):
    assert run(build("-O2"), "orders") == "7 jobs, 0 differences\n"


def test_a_phase_whose_items_read_each_other_is_seen(build):
    assert run(build("-O2"), "planted") == "planted: seen\n"


def test_no_address_or_undefined_behaviour_error(build):
    program = build("-O1", "-DREGKD_FORWARDS_ONLY", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert run(program, "threads") == "7 jobs, 0 differences\n"


def test_no_data_race_between_the_threads_of_a_step(build):
    assert run(build("-O1", "-DREGKD_FORWARDS_ONLY", "-fsanitize=thread"), "threads") == "7 jobs, 0 differences\n"


def test_a_missing_barrier_would_be_reported(build):
    done = subprocess.run(
        [str(build("-O1", "-DREGKD_FORWARDS_ONLY", "-fsanitize=thread")), "unsynchronised"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0 and "data race" in done.stderr


@pytest.mark.skipif(
    shutil.which("aarch64-linux-gnu-g++") is None or shutil.which("qemu-aarch64-static") is None,
    reason="needs g++-aarch64-linux-gnu and qemu-user-static",
)
def test_aarch64_runs_the_same_jobs_and_draws_the_same_bits(build, tmp_path):
    program = tmp_path / "driver_aarch64"
    command = [
        "aarch64-linux-gnu-g++",
        *FLAGS,
        "-O1",
        "-static",
        "-DREGKD_LEVEL=neon",
        "-DREGKD_PHASE=__attribute__((noinline))",
    ]
    command += [
        f"-I{ROOT / 'csrc'}",
        str(HERE / "core_driver.cpp"),
        str(ROOT / "csrc/cpu/pool.cpp"),
        "-lpthread",
        "-o",
        str(program),
    ]
    subprocess.run(command, check=True, capture_output=True)

    def there(mode: str) -> str:
        return subprocess.run(
            ["qemu-aarch64-static", str(program), mode], check=True, capture_output=True, text=True
        ).stdout

    assert there("noise") == run(build("-O2"), "noise")
    assert there("orders") == "7 jobs, 0 differences\n"
