"""nvcc compiles every kernel file for every architecture that a release ships: no spills, no warnings."""

from __future__ import annotations

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "csrc" / "cuda").glob("*.cu"))
ARCHITECTURES = ["75", "80", "86", "87", "89", "90", "100", "110", "120"]
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


def compile_for(architectures: list[str], source: Path, out: Path) -> str:
    """The assembler's report on registers and spills."""
    code = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in architectures]
    flags = [
        "-std=c++20",
        "-O3",
        "-fmad=false",
        "-Werror",
        "all-warnings",
        "-Xcompiler",
        "-Wall,-Wextra",
        "-Xptxas",
        "-v",
    ]
    done = subprocess.run(["nvcc", *flags, *code, "-c", str(source), "-o", str(out)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stderr


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
    wanted = [a for a in ARCHITECTURES if a in known_architectures()]
    wanted = wanted if KERNELS[name] else wanted[:1]  # a file without a kernel is the same for all
    report = compile_for(wanted, ROOT / "csrc" / "cuda" / name, tmp_path / "out.o")
    if KERNELS[name]:
        for a in wanted:
            assert re.search(rf"Compiling entry function '\w*{KERNELS[name]}\w*' for 'sm_{a}'", report), a
        assert_no_spills(report)


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("name", ["train.cu", "small.cu"])
def test_the_training_kernels_compile_for_all_architectures(name, tmp_path):
    wanted = [a for a in ARCHITECTURES if a in known_architectures()]
    halves = [wanted[::2], wanted[1::2]]
    with ThreadPoolExecutor(2) as pool:
        sources = [ROOT / "csrc" / "cuda" / name] * 2
        reports = list(pool.map(compile_for, halves, sources, [tmp_path / "even.o", tmp_path / "odd.o"]))
    for half, report in zip(halves, reports):
        for a in half:
            assert f"for 'sm_{a}'" in report, a
        assert_no_spills(report)


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
