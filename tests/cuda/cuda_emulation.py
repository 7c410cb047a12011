"""The kernels of csrc/cuda on the CPU, in two ways: the sources by g++ and ``cuda_on_cpu.h``, a device thread a CPU
thread; and the PTX that nvcc makes of them, a device thread a fiber (tools/lib/ptx)."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tools" / "lib"))

import ptx  # noqa: E402

WAYS = ["threads", "ptx"]
# The same rounding as the product: nothing contracted, no fast-math. -mfma: one rounding in `fused`, as on the device.
FLAGS = ["-std=c++20", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-pthread", f"-I{HERE}"]
FLAGS.append(
    "-DREGKD_PHASE=inline __attribute__((noinline))"
)  # as on the device: inlined everywhere, they compile for minutes


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


@contextlib.contextmanager
def alone(cache: Path, name: str):
    """No other process of the tests compiles the same meanwhile: it would, a file later."""
    import fcntl

    with open(cache / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def library(driver: str, cache: Path) -> Path:
    """A driver's kernels as threads of the CPU, compiled once for all files of tests that run them."""
    folders = (HERE, ROOT / "csrc" / "core", ROOT / "csrc" / "cuda")
    sources = [p for f in folders for p in sorted(f.iterdir()) if p.suffix in (".h", ".cu", ".cpp")]
    version = subprocess.run(["g++", "--version"], capture_output=True, text=True).stdout if shutil.which("g++") else ""
    digest = hashlib.sha256(repr((driver, version, FLAGS, _fma())).encode())
    for path in sources:
        digest.update(path.name.encode() + path.read_bytes())
    out = cache / f"threads-{digest.hexdigest()[:20]}.so"
    with alone(cache, out.stem):
        if not out.exists():
            made = compile_driver(driver, out.with_suffix(f".{os.getpid()}"), "-O1", "-shared", "-fPIC")
            made.replace(out)
    return out


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


class Emulation:
    """A driver's library; with ``ptx`` its kernels are PTX, and only the arrays given to ``memory`` can be accessed."""

    def __init__(self, way: str, driver: str, kernels: str, cache: Path, architecture: str = "80"):
        self.machine = None
        if way == "threads":
            self.lib = ctypes.CDLL(str(library(driver, cache)))
            return
        try:
            sources = [ROOT / "csrc" / "cuda" / name for name in kernels.split()]
            with alone(cache, f"{Path(driver).stem}-{architecture}"):
                self.machine = ptx.build(sources, HERE / driver, cache, architecture=architecture)
        except ptx.Unavailable as why:
            pytest.skip(f"PTX cannot be compiled and run here: {why}")
        self.lib = self.machine.lib

    @contextlib.contextmanager
    def memory(self, **arrays: np.ndarray | None):
        """Launches inside may access these arrays; afterwards no access may have been wrong and no race seen."""
        if self.machine is None:
            yield
            return
        self.machine.forget()
        for name, array in arrays.items():
            if array is not None:
                self.machine.window(array, name)
        try:
            yield
        except AssertionError as failed:  # a launch's status
            raise AssertionError(self.machine.error() or failed) from failed
        assert not self.machine.error()
        races = self.machine.races()
        assert not races, "\n".join(map(str, races[:10]))


@pytest.fixture(scope="module")
def ptx_cache(request) -> Path:
    """Compiled drivers and translations, for all files of tests, and kept from one run of the tests to the next."""
    return Path(request.config.cache.mkdir("ptx"))
