"""regkd_runtime as an application uses it: installed, found by CMake, linked, and safe against damaged files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from native_reference import check_answers
from runtime_build import SIGNALS, SOURCE, checked, cmake_build, tool

from regkd_edge import __version__

HERE = Path(__file__).parent
CONSUMER = f"""\
cmake_minimum_required(VERSION 3.18)
project(consumer CXX)
find_package(regkd_runtime {".".join(__version__.split(".")[:2])} REQUIRED)
find_package(Threads REQUIRED)
add_executable(consumer consumer.cpp)
target_compile_options(consumer PRIVATE -Wall -Wextra -Werror)
target_link_libraries(consumer PRIVATE regkd::runtime Threads::Threads)
"""


@pytest.mark.slow
def test_an_application_finds_links_and_runs_it(installed, engines, tmp_path):
    (tmp_path / "CMakeLists.txt").write_text(CONSUMER)
    (tmp_path / "consumer.cpp").write_text((HERE / "consumer.cpp").read_text())
    build = cmake_build(tmp_path, tmp_path / "build", f"-DCMAKE_PREFIX_PATH={installed}")
    from regkd_edge.engines.native.file import from_bytes

    for name in ("fp32", "int8"):
        answers = np.array(checked(build / "consumer", engines / name).stdout.split(), dtype=float)
        program = from_bytes((engines / name / "engine.rkdn").read_bytes())
        check_answers(program, np.full((1, 5), 0.5), answers[None], share=1)  # one row: it may be one with a tie
    missing = subprocess.run([build / "consumer", tmp_path / "nothing"], capture_output=True, text=True)
    assert (missing.returncode, missing.stdout) == (
        3,
        f"code 1: '{tmp_path / 'nothing'}' cannot be opened: No such file or directory.\n",
    )


def test_the_public_header_stands_alone(tmp_path):
    """With exceptions off and every warning an error, as embedded applications build."""
    source = tmp_path / "alone.cpp"
    source.write_text(
        "#include <regkd/engine.h>\n#include <regkd/engine.h>\nbool use(regkd::Engine& e) { return e.loaded(); }\n"
    )
    checked(
        tool("g++"),
        "-std=c++17",
        "-fno-exceptions",
        "-fno-rtti",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Wconversion",
        "-Wshadow",
        "-Werror",
        "-I",
        SOURCE / "include",
        "-c",
        source,
        "-o",
        tmp_path / "alone.o",
    )


@pytest.mark.slow
def test_no_damaged_file_reaches_memory_that_is_not_its_own(engines, signal_engines, tmp_path):
    """Address and undefined-behaviour sanitizers over 20000 mutations of each engine, and over the intact ones."""
    flags = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -O1"
    (tmp_path / "CMakeLists.txt").write_text(
        f"cmake_minimum_required(VERSION 3.18)\nproject(fuzz CXX)\nadd_subdirectory({SOURCE} "
        f"runtime)\nadd_executable(fuzz {HERE / 'fuzz.cpp'})\n"
        f"target_include_directories(fuzz PRIVATE {SOURCE})\ntarget_link_libraries(fuzz PRIVATE regkd_runtime)\n"
    )
    # Debug: -O1 for all files, or the sanitizers make the kernels slow to compile
    build = cmake_build(
        tmp_path,
        tmp_path / "build",
        "-DCMAKE_BUILD_TYPE=Debug",
        f"-DCMAKE_CXX_FLAGS={flags}",
        "-DREGKD_RUNTIME_TENSORRT=OFF",
        "-DREGKD_RUNTIME_TOOL=ON",
    )
    for name in SIGNALS:
        done = checked(build / "fuzz", signal_engines / name / "engine.rkdn", 5000)
        assert "refused" in done.stdout
        for level in ("sse2", "avx2", "avx512", "avx512-vnni", "neon", "neon-dotprod"):
            _run_if_there(build / "runtime" / "regkd-run", signal_engines, name, level, rows=f"{name}/rows.csv")
    for name in ("fp32", "int8"):
        done = checked(build / "fuzz", engines / name / "engine.rkdn", 20000)
        assert "refused" in done.stdout
        for level in ("sse2", "avx2", "avx512", "avx512-vnni", "neon", "neon-dotprod"):
            _run_if_there(build / "runtime" / "regkd-run", engines, name, level)


def _run_if_there(program, engines, name, level, rows="rows.csv"):
    done = subprocess.run([program, engines / name, engines / rows, "--level", level], capture_output=True, text=True)
    assert done.returncode == 0 or "no level" in done.stderr, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("level", ["neon", "neon-dotprod"])
def test_aarch64_gives_the_same_answers(aarch64, engines, level):
    """Cross-compiled and run by qemu's user emulation: right answers, which say nothing of speed."""
    from regkd_edge.engines.native.file import from_bytes

    x = np.load(engines / "rows.npy")
    for name in ("fp32", "int8"):
        done = checked(
            tool("qemu-aarch64-static"), aarch64 / "regkd-run", engines / name, engines / "rows.csv", "--level", level
        )
        answers = np.array([line.split(",") for line in done.stdout.splitlines()[1:]], dtype=float)
        check_answers(from_bytes((engines / name / "engine.rkdn").read_bytes()), x, answers)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["neon", "neon-dotprod"])
@pytest.mark.parametrize("name", SIGNALS)
def test_aarch64_answers_for_signals_as_this_machine_does(aarch64, signal_engines, level, name):
    from regkd_edge.engines.native import BACKEND

    engine = signal_engines / name
    done = checked(tool("qemu-aarch64-static"), aarch64 / "regkd-run", engine, engine / "rows.csv", "--level", level)
    answers = np.array([line.split(",") for line in done.stdout.splitlines()[1:]], dtype=float)
    want = BACKEND.load(engine).infer(np.load(engine / "rows.npy"))
    # A value near a tie may be rounded otherwise, seldom and by a step of the output.
    assert (np.abs(answers - want) <= (want.max(0) - want.min(0)) / 100).all()
    # The share is that of native_reference.check_answers; here all rows agreed.
    assert (np.abs(answers - want).max(1) <= 1e-4 * np.abs(want).max()).mean() >= 0.95


@pytest.fixture(scope="module")
def aarch64(tmp_path_factory):
    tool("aarch64-linux-gnu-g++")
    tool("qemu-aarch64-static")
    toolchain = SOURCE / "cmake" / "aarch64-linux-gnu.cmake"
    return cmake_build(
        SOURCE,
        tmp_path_factory.mktemp("aarch64"),
        f"-DCMAKE_TOOLCHAIN_FILE={toolchain}",
        "-DCMAKE_EXE_LINKER_FLAGS=-static",
        "-DREGKD_RUNTIME_TENSORRT=OFF",
    )
