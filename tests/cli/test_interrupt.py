"""Ctrl-C in the middle of a command: nothing half written, and the same command goes on."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from regkd_edge.run import RunFolder

# A state is kept ten times as often, so that a tenth of the steps is enough to be stopped between two of them.
OFTEN = "from regkd_edge.training import loop; loop.SAVE_AFTER /= 10; "
COMMAND = [sys.executable, "-c", OFTEN + "from regkd_edge.cli import main; main()"]


def listen():
    """Where the tests themselves run in the background, Ctrl-C is ignored, and a child would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def regkd(*arguments):
    return subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "steps"), [("kang2024", 1000), ("kang2021", 3000)])
def test_distill_goes_on_where_it_was_stopped(tmp_path, recipe, steps):
    """kang2021: a generator learns along, its state is part of what is kept. The steps take several times as long as
    the time between two states that are kept, so that the first one is written well before the end."""
    run, whole = tmp_path / "run", tmp_path / "whole"
    teacher = ("--data", "diabetes", "--teacher", "mlp:16:tanh", "--epochs", 2)
    student = ("--recipe", recipe, "--student", "mlp:8:tanh", "--no-baseline", "--backend", "torch", "--steps", steps)
    process = regkd("train-teacher", run, *teacher)
    assert process.wait(120) == 0, process.stderr.read()
    shutil.copytree(run, whole)

    process = regkd("distill", run, *student)
    checkpoint = run / "checkpoint" / "student"
    patience = time.monotonic() + 120
    while not (checkpoint.is_dir() and any(checkpoint.iterdir())):
        assert process.poll() is None and time.monotonic() < patience, process.communicate()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert not (run / "student").exists()
    assert RunFolder.open(run).record("distill") is None

    for folder in (run, whole):
        process = regkd("distill", folder, *student)
        assert process.wait(240) == 0, process.stderr.read()
    resumed, uninterrupted = ((folder / "student" / "model.safetensors").read_bytes() for folder in (run, whole))
    assert resumed == uninterrupted
    assert not checkpoint.exists()
