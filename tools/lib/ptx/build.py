"""Sources -> PTX -> C++ -> a shared library with a driver, kept in a cache by the contents of all that goes in."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .parse import PtxError, parse
from .report import Machine
from .translate import translate

__all__ = ["Unavailable", "build", "compile_ptx"]

HERE = Path(__file__).parent
FLAGS = ["-std=c++20", "-O3", "-fmad=false", "-lineinfo"]  # those of the product; -lineinfo only adds comments
# The functions between the kernel and the phases of a tile: what they call is a phase of its own.
CONTAINERS = ("work_tile",)


class Unavailable(Exception):
    """nvcc or g++ is not installed."""


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise PtxError(f"{' '.join(command)}\n{done.stderr[-3000:]}")


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"{name} is not installed")
    return found


def compile_ptx(source: Path, architecture: str, out: Path) -> str:
    """The PTX text of a CUDA file for a virtual architecture such as "80"."""
    _run([_tool("nvcc"), *FLAGS, f"-arch=compute_{architecture}", "-ptx", str(source), "-o", str(out)])
    return out.read_text()


def _digest(files: list[Path], *words: str) -> str:
    digest = hashlib.sha256(" ".join(words).encode())
    for path in sorted(files):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:20]


def build(
    kernels: list[Path],
    driver: Path | None,
    cache: Path,
    *,
    architecture: str = "80",
    mode: str = "check",
) -> Machine:
    """A library that runs the kernels' PTX where the driver launches them.

    Parameters
    ----------
    kernels : list of Path
        CUDA files; headers beside them and in the folder ``../core`` are part of the cache's key.
    driver : Path
        A C++ file that includes them through ``cuda_on_cpu.h`` and calls their host functions; None where
        ``Machine.launch`` is enough.
    mode : str
        ``check``: bounds, alignment, races. ``count``: instructions, at several times the speed.

    Raises
    ------
    Unavailable
        There is no nvcc or no g++.
    PtxError
        The PTX holds what the translator does not know.
    """
    nvcc, compiler = _tool("nvcc"), _tool("g++")
    inputs = [*kernels, *HERE.glob("*.py"), *HERE.glob("*.h")]
    for folder in {f for k in kernels for f in (k.parent, k.parent.parent / "core")}:
        inputs += folder.glob("*.h")
    if driver:
        inputs += [driver, *driver.parent.glob("*.h")]
    version = subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout
    out = cache / f"{mode}-{_digest(inputs, architecture, mode, version)}"
    if not (out / "library.json").exists():
        out.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(2) as pool:
            objects = [str(out / "kernels.o"), *([str(out / "driver.o")] if driver else [])]
            common = [compiler, "-std=c++20", "-O1", "-fPIC", "-ffp-contract=off", "-U_FORTIFY_SOURCE", "-DREGKD_PTX"]
            common.append("-fno-gnu-unique")  # each library has a machine of its own
            common += [f"-I{HERE}"]
            cpu = Path("/proc/cpuinfo")
            if cpu.exists() and " fma" in cpu.read_text():
                common.append("-mfma")  # else a function of the C library for each fused multiply-add
            host = (
                pool.submit(_run, [*common, f"-I{driver.parent}", "-c", str(driver), "-o", objects[1]])
                if driver
                else None
            )
            texts = pool.map(lambda k: compile_ptx(k, architecture, out / f"{k.stem}.ptx"), kernels)
            done = translate([parse(text) for text in texts], CONTAINERS)
            source = out / "kernels.cpp"
            source.write_text(done.text)
            define = "-DPTX_CHECK" if mode == "check" else "-DPTX_COUNT"
            _run([*common, define, "-w", "-c", str(source), "-o", str(out / "kernels.o")])
            if host:
                host.result()
        _run([compiler, "-shared", *objects, "-o", str(out / "library.so"), "-ldl"])
        described = {"phases": done.phases, "where": {str(k): v for k, v in done.where.items()}}
        described["barriers"] = done.barriers
        temporary = out / f"library.json.{os.getpid()}"
        temporary.write_text(json.dumps(described))
        temporary.replace(out / "library.json")
    return Machine(out / "library.so", json.loads((out / "library.json").read_text()))
