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


def test_an_absent_interpreter_is_named():
    done = run(PYTHON="no-such-python")
    assert done.returncode == 2
    assert "'no-such-python' is not on the PATH" in done.stderr


def test_an_unknown_argument_is_refused():
    done = run("--fast")
    assert done.returncode == 2
    assert "unknown argument '--fast'" in done.stderr
