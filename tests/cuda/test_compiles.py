"""nvcc compiles every kernel file for the architectures that a release ships: no spills, no warnings.

The training kernels take 20 s for each of them: here for 80 and 90, with REGKD_EDGE_ALL_ARCHITECTURES=1 for all.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
# What is assembled from the PTX of each virtual architecture. Those of 86, 87 and 89 are that of 80 but for their names
# (test_one_ptx_serves_80_to_89), so nvcc makes it once.
ARCHITECTURES = {
    "75": ["75"],
    "80": ["80", "86", "87", "89"],
    "90": ["90"],
    "100": ["100"],
    "110": ["110"],
    "120": ["120"],
}
ALL = bool(os.environ.get("REGKD_EDGE_ALL_ARCHITECTURES"))
FLAGS = ["-std=c++20", "-O3", "-fmad=false", "-Werror", "all-warnings"]
KERNELS = {
    "perturb.cu": "perturb_kernel",
    "matching_loss.cu": "loss_kernel",
    "train.cu": "train_kernel",
    "small.cu": "small_kernel",
    "device.cu": None,
}

needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc is not installed")


def known_architectures() -> list[str]:
    listed = subprocess.run(["nvcc", "--list-gpu-code"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"sm_(\d+)\b", listed)


def run_nvcc(*arguments: str) -> str:
    """Its report."""
    done = subprocess.run(["nvcc", *FLAGS, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stderr


def wanted_architectures() -> list[str]:
    known = known_architectures()
    return [a for real in ARCHITECTURES.values() for a in real if a in known]


def compile_for(architectures: list[str], source: Path, out: Path) -> str:
    """The assembler's report on registers and spills. ``out``: an object, or a .fatbin without the host's code."""
    code = []
    for virtual, real in ARCHITECTURES.items():
        wanted = [f"sm_{a}" for a in real if a in architectures]
        code += [f"-gencode=arch=compute_{virtual},code=[{','.join(wanted)}]"] if wanted else []
    kind = ["-fatbin"] if out.suffix == ".fatbin" else ["-Xcompiler", "-Wall,-Wextra", "-c"]
    return run_nvcc("-Xptxas", "-v", *code, *kind, str(source), "-o", str(out))


# What runs once per step or tile, around the phases: they keep a few words in local memory across the calls of
# phases, once per tile. In the phases themselves nothing may spill.
OUTER = ("train_kernel", "begin_step", "work_tile", "finish_step")
FEW_BYTES = 64


def assert_no_spills(report: str) -> None:
    spills = re.findall(r"Function properties for (\w+)\n.*?(\d+) bytes spill stores, (\d+) bytes spill loads", report)
    assert spills, f"no report of spills from the assembler:\n{report[-2000:]}"
    wrong = [
        f"{name}: {stores} bytes stored, {loads} loaded"
        for name, stores, loads in spills
        if max(int(stores), int(loads)) > (FEW_BYTES if any(outer in name for outer in OUTER) else 0)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_kernel_file_is_known_here():
    assert {source.name for source in SOURCES} == set(KERNELS)


@needs_nvcc
@pytest.mark.parametrize("name", [name for name in KERNELS if name not in ("train.cu", "small.cu")])
def test_small_kernels_compile_for_all_architectures(name, tmp_path):
    wanted = wanted_architectures()
    wanted = wanted if KERNELS[name] else wanted[:1]  # a file without a kernel is the same for all
    report = compile_for(wanted, ROOT / "csrc" / "cuda" / name, tmp_path / "out.o")
    if KERNELS[name]:
        for a in wanted:
            assert re.search(rf"Compiling entry function '\w*{KERNELS[name]}\w*' for 'sm_{a}'", report), a
        assert_no_spills(report)


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("name", ["train.cu", "small.cu"])
def test_the_training_kernels_compile(name, tmp_path):
    wanted = [a for a in wanted_architectures() if ALL or a in ("80", "90")]
    halves = [wanted[: len(wanted) // 2], wanted[len(wanted) // 2 :]]
    with ThreadPoolExecutor(2) as pool:
        sources = [ROOT / "csrc" / "cuda" / name] * 2
        reports = list(pool.map(compile_for, halves, sources, [tmp_path / "first.o", tmp_path / "second.fatbin"]))
    for half, report in zip(halves, reports):
        for a in half:
            assert f"for 'sm_{a}'" in report, a
        assert_no_spills(report)


@needs_nvcc
def test_one_ptx_serves_80_to_89(tmp_path):
    """No source asks for an architecture between them."""
    sources = [path for room in ("core", "cuda") for path in (ROOT / "csrc" / room).iterdir()]
    names = re.findall(r"__CUDA_ARCH__ *[<>=!]+ *(\d+)", "".join(path.read_text() for path in sources))
    assert set(names) == {"800", "900"}
    texts = []
    for a in ("80", "89"):
        run_nvcc("-ptx", f"-arch=compute_{a}", str(SOURCES[0].parent / "small.cu"), "-o", str(tmp_path / a))
        texts.append((tmp_path / a).read_text().replace(f".target sm_{a}", ".target"))
    assert len(set(texts)) == 1


def test_sources_are_fit_for_cuda_12_2():
    """Nothing of CUDA 13's runtime: names that 12.2 lacks, or that 13 took away, must not appear."""
    newer = [
        "cudaGetDriverEntryPointByVersion",
        "cudaStreamGetDevice",
        "cudaDevResource",
        "cudaLogs",
        "cudaGraphConditional",
    ]
    removed = [
        "cooperative_launch_multi",
        "cudaLaunchCooperativeKernelMultiDevice",
        "properties.clockRate",
        "properties.kernelExecTimeoutEnabled",
    ]
    for source in (ROOT / "csrc" / "cuda").iterdir():
        text = source.read_text()
        assert not [name for name in newer + removed if name in text], source.name
