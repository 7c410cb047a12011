"""Builds the kernel files of csrc/cuda for the CPU, with g++ and ``cuda_on_cpu.h``: a library, or a program."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
# The same rounding as the product: nothing contracted, no fast-math. -mfma: one rounding in `fused`, as on the device.
FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-pthread", f"-I{HERE}"]


def _fma() -> list[str]:
    cpu = Path("/proc/cpuinfo")
    text = cpu.read_text() if cpu.exists() else ""
    return ["-mfma"] if " fma" in text else []


def compile_driver(driver: str, out: Path, *options: str) -> Path:
    """Compiles tests/cuda/<driver> with g++ into ``out``; skips the test where there is no g++."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed: the kernel files cannot be compiled for the CPU")
    command = [compiler, *FLAGS, *_fma(), *options, str(HERE / driver), "-o", str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stderr[-4000:]}"
    return out


def library(driver: str, out: Path) -> Path:
    return compile_driver(driver, out, "-O1", "-shared", "-fPIC")


def thread_sanitizer_works(folder: Path) -> str:
    """Why programs of -fsanitize=thread cannot run here, or an empty string."""
    source, program = folder / "empty.cpp", folder / "empty"
    source.write_text("int main() { return 0; }\n")
    if shutil.which("g++") is None:
        return "g++ is not installed"
    if subprocess.run(["g++", "-fsanitize=thread", str(source), "-o", str(program)], capture_output=True).returncode:
        return "g++ has no ThreadSanitizer here"
    if subprocess.run([str(program)], capture_output=True).returncode:
        return "ThreadSanitizer's runtime does not start here"
    return ""
