"""tools/gpu_check on a machine that lacks something: it says what, and exits with 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "gpu_check"


def run(*arguments, **environment):
    return subprocess.run(
        [str(SCRIPT), *arguments], capture_output=True, text=True, env={**os.environ, **environment}, timeout=120
    )


def test_without_a_gpu_it_names_what_is_missing(tmp_path):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    done = run(PYTHON=sys.executable, REGKD_EDGE_RESULTS=str(tmp_path))
    assert done.returncode == 2
    assert f"torch {torch.__version__} sees no NVIDIA GPU" in done.stderr
    assert not list(tmp_path.iterdir())  # no table without a measurement


COMMANDS = {
    "cmake": """
        if [ "$1" = --build ]; then cp "$CORE" "$2/"; else while [ "$1" != -B ]; do shift; done; mkdir -p "$2"; fi""",
    "nvcc": """
        [ "$1" = --version ] && { echo "release 13.0, V13.0.88"; exit; }
        while [ "$1" != -o ]; do shift; done
        printf '#!/bin/sh\\necho 1 2 3\\n' >"$2"; chmod +x "$2" """,
    "compute-sanitizer": """
        case $2 in
            memcheck) echo "========= ERROR SUMMARY: 0 errors" ;;
            racecheck) echo "========= RACECHECK SUMMARY: 1 hazard"; exit 66 ;;
            synccheck) echo "========= Error: Device not supported"; exit 1 ;;
            *) exit 124 ;;
        esac""",
    "nvidia-smi": "echo 580.1",
    "ninja": "",
    "python": 'PYTHONPATH="$STUBS:$PYTHONPATH" exec "$REAL" "$@"',
}
# A GPU as PyTorch would describe it, and none of the package's
# dependencies but torch, numpy and those of the configuration.
INTERPRETER = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("safetensors", "onnx", "sklearn", "typer", "rich"):
            raise ImportError(name + " is not installed")
sys.meta_path.insert(0, Absent())
import torch
torch.cuda.is_available = lambda: True
torch.cuda.get_device_capability = lambda *_: (9, 0)
torch.cuda.get_device_name = lambda *_: "A GPU of the test"
"""


@pytest.mark.slow
def test_its_way_from_the_build_to_the_table(tmp_path):
    """Every program that needs a device stands in by name; what is found goes into the table, and skipped tests and
    errors of the sanitizer are a failure. The tests and the package come from the tree beside the new build."""
    torch = pytest.importorskip("torch")
    core = pytest.importorskip("regkd_edge._core")
    if torch.cuda.is_available() or not core.has_cuda:
        pytest.skip("needs a core built with CUDA, and no GPU")
    stubs, results = tmp_path / "stubs", tmp_path / "results"
    stubs.mkdir()
    for name, text in COMMANDS.items():
        (stubs / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (stubs / name).chmod(0o755)
    (stubs / "sitecustomize.py").write_text(INTERPRETER)
    (stubs / "pybind11.py").write_text("def get_cmake_dir(): return ''\n")  # pip takes it away after building
    done = run(
        "--no-bench", PYTHON=str(stubs / "python"), REAL=sys.executable, CORE=core.__file__, STUBS=str(stubs),
        PATH=f"{stubs}:{os.environ['PATH']}", REGKD_EDGE_RESULTS=str(results),
    )  # fmt: skip
    table = (results / "gpu_check.md").read_text()
    assert done.returncode == 1 and "not every CUDA test ran" in done.stderr, done.stdout + done.stderr
    assert "- device: A GPU of the test (sm_90)" in table and "- driver: 580.1" in table
    assert "skipped in" in table and "error" not in table.split("- tests:")[1].splitlines()[0]
    assert "- memcheck: clean (ERROR SUMMARY: 0 errors)" in table
    assert "- racecheck: FOUND ERRORS (RACECHECK SUMMARY: 1 hazard)" in table
    assert "- synccheck: did not run, exit status 1 (========= Error: Device not supported)" in table
    assert "- initcheck: not done after 40 s" in table
    assert "- timings: not asked for" in table and "- result: FAILED" in table


def test_an_absent_interpreter_is_named():
    done = run(PYTHON="no-such-python")
    assert done.returncode == 2
    assert "'no-such-python' is not on the PATH" in done.stderr


def test_an_unknown_argument_is_refused():
    done = run("--fast")
    assert done.returncode == 2
    assert "unknown argument '--fast'" in done.stderr
