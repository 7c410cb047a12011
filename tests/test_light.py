"""The light half: what a device installs, without torch, imports, shows help, measures and reports."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def call(*arguments, **options):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, **options)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def light(tmp_path_factory):
    """``pip install .`` without extras, and ONNX Runtime, in a fresh environment."""
    folder = tmp_path_factory.mktemp("light")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    # Without the CUDA half, which takes long to compile and has its own tests.
    environment = {**os.environ, "CMAKE_ARGS": "-DREGKD_CUDA=OFF"}
    call(
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        ROOT,
        "onnxruntime",
        cwd=folder,
        env=environment,
    )
    return folder / "venv" / "bin"


@pytest.fixture(scope="module")
def carried(tmp_path_factory):
    """A run made with torch, as it would be copied to the device."""
    folder = tmp_path_factory.mktemp("made") / "run"
    regkd = [sys.executable, "-c", "from regkd_edge.cli import main; main()"]
    call(*regkd, "train-teacher", folder, "--data", "diabetes", "--teacher", "mlp:8:relu", "--epochs", 2)
    call(*regkd, "distill", folder, "--student", "mlp:16:relu", "--steps", 20)
    call(*regkd, "quantize", folder)
    return folder


def test_it_has_no_torch_and_imports(light):
    assert (
        call(
            light / "python",
            "-c",
            "import importlib.util, regkd_edge; print(importlib.util.find_spec('torch'), regkd_edge.__version__)",
        ).split()[0]
        == "None"
    )


def test_it_shows_the_help_of_every_command(light):
    for command in (
        "train-teacher",
        "distill",
        "quantize",
        "build",
        "bench",
        "report",
        "check",
        "bundle",
        "deploy",
        "run",
        "demo",
        "doctor",
    ):
        assert "Example" in call(light / "regkd-edge", command, "--help")
    assert call(light / "python", "-m", "regkd_edge", "--help") == call(light / "regkd-edge", "--help")


def test_doctor_names_what_is_absent(light):
    out = call(light / "regkd-edge", "doctor")
    assert "torch" in out and "absent" in out


def test_it_builds_measures_and_reports(light, carried, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(carried, run)
    for command in (["build"], ["bench", "--samples", "200", "--warmup", "10"], ["report"]):
        call(light / "regkd-edge", command[0], run, *command[1:])
    assert (run / "report.html").stat().st_size > 5000
    assert "onnxruntime.int8" in (run / "report.json").read_text()


def test_training_without_torch_is_refused_with_the_remedy(light, tmp_path):
    done = subprocess.run(
        [light / "regkd-edge", "train-teacher", tmp_path / "run", "--data", write_csv(tmp_path), "--target", "y"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "torch" in done.stderr and "pip install" in done.stderr and "Traceback" not in done.stderr


def write_csv(folder: Path) -> Path:
    path = folder / "table.csv"
    path.write_text("a,y\n" + "".join(f"{i},{i % 5}\n" for i in range(40)))
    return path
