"""Two processes on loopback (gloo): the student of one process, one line where one fails, Ctrl-C and going on."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from safetensors.numpy import load_file

from regkd_edge.run import RunFolder

STUDENT = "conv1d:4x5/2,gap,6:tanh"
OPTIONS = ["--student", STUDENT, "--recipe", "kang2024", "--batch", 9, "--evaluate-every", 10, "--no-baseline"]
CLI = "import sys; sys.argv[0] = 'regkd-edge'; from regkd_edge.cli import main; main()"
QUIET = {"OMP_NUM_THREADS": "1"}


def listen():
    """A child of tests that run in the background would inherit that Ctrl-C is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def started(*arguments, code=CLI, environment=None):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **QUIET, **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=listen,
    )


def together(*arguments, codes=(CLI, CLI)):
    """What torchrun starts, without it: the environment of two processes."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return [
        started(*arguments, code=code, environment={**common, "RANK": str(rank), "LOCAL_RANK": str(rank)})
        for rank, code in enumerate(codes)
    ]


def ended(processes, seconds=120):
    return [(*process.communicate(timeout=seconds), process.returncode) for process in processes]


def weights(run):
    return load_file(run / "student" / "model.safetensors")


def apart(a, b):
    """The largest difference of two students' weights, as a share of the layer's largest weight."""
    return max(np.abs(a[key] - b[key]).max() / np.abs(a[key]).max() for key in a)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run folder with a teacher that only torch takes, to be copied."""
    folder = tmp_path_factory.mktemp("several")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 2, 16)).cumsum(2)
    np.savez(folder / "signals.npz", x=x, y=np.tanh(x[:, 0].mean(1, keepdims=True)))
    (out, err, code) = ended(
        [started("train-teacher", folder / "run", "--data", folder / "signals.npz", "--teacher", "conv1d:6x5/2,gap,6:tanh",
                 "--epochs", 4)]
    )[0]  # fmt: skip
    assert code == 0, err

    def copy(name):
        subprocess.run(["cp", "-r", folder / "run", folder / name], check=True)
        return folder / name

    return copy


@pytest.fixture(scope="module")
def one(runs):
    """Distilled by one process."""
    folder = runs("one")
    out, err, code = ended([started("distill", folder, *OPTIONS, "--steps", 60)])[0]
    assert code == 0, err
    return folder


@pytest.mark.slow
def test_torchrun_gives_the_student_of_one_process(runs, one):
    folder = runs("two")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "regkd_edge"]
    done = subprocess.run(
        [sys.executable, *command, "distill", folder, *map(str, OPTIONS), "--steps", "60", "--json"],
        env={**os.environ, **QUIET},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)  # one object: the other process prints nothing
    assert any("divided among 2 processes" in note for note in said["notes"])
    # Sums in another order, over 60 steps of Adam: measured 1e-6 to 1e-5 of the largest weight.
    assert 0 < apart(weights(folder), weights(one)) < 1e-3
    ours, theirs = (json.loads((run / "student" / "history.json").read_text()) for run in (folder, one))
    for a, b in zip(ours, theirs):
        assert a == pytest.approx(b, rel=1e-4)


@pytest.mark.slow
def test_ctrl_c_keeps_a_state_from_which_two_go_on(runs):
    steps = ["--steps", 150]
    folder, whole = runs("stopped"), runs("whole")
    often = f"import regkd_edge.training.loop as loop; loop.SAVE_AFTER = 0.0\n{CLI}"
    processes = together("distill", folder, *OPTIONS, *steps, codes=(often, often))
    state = folder / "checkpoint" / "student" / "state.safetensors"
    patience = time.monotonic() + 90
    while not state.is_file():
        assert time.monotonic() < patience and all(p.poll() is None for p in processes), ended(processes, 5)
        time.sleep(0.02)
    for process in processes:
        process.send_signal(signal.SIGINT)
    (_, err, code), (other_out, other_err, other_code) = ended(processes)
    assert (code, other_code) == (130, 130), (err, other_err)
    assert "Interrupted" in err and "Traceback" not in err and (other_out, other_err) == ("", "")
    assert RunFolder.open(folder).record("distill") is None and state.is_file()
    for run, processes in (
        (folder, together("distill", folder, *OPTIONS, *steps)),
        (whole, together("distill", whole, *OPTIONS, *steps)),
    ):
        (_, err, code), (_, other_err, other_code) = ended(processes, 240)
        assert (code, other_code) == (0, 0), (err, other_err)
        assert (run / "student" / "model.safetensors").is_file()
    ours, theirs = weights(folder), weights(whole)
    assert all(np.array_equal(ours[key], theirs[key]) for key in ours), "two processes go on with the same bits"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["refuses", "dies"])
def test_a_process_that_fails_ends_all_with_one_line(runs, how):
    """The second process cannot go on after the first steps; the first one says so."""
    fails = {
        "refuses": "raise regkd_edge.errors.DataError('a row cannot be read.', 'Check the disk.')",
        "dies": "os.kill(os.getpid(), 9)",
    }[how]
    broken = f"""
import os, regkd_edge.errors, regkd_edge.fused.share as share
genuine, calls = share.Share.sum, []
def sum_(self, *rest):
    calls.append(1)
    if len(calls) > 20:
        {fails}
    return genuine(self, *rest)
share.Share.sum = sum_
{CLI}
"""
    folder = runs(how)
    processes = together("distill", folder, *OPTIONS, "--steps", 300, codes=(CLI, broken))
    (_, err, code), (_, other_err, other_code) = ended(processes)
    lines = [line for line in (err + other_err).splitlines() if line.startswith("error:")]
    assert code == 2 and other_code == {"refuses": 2, "dies": -9}[how], (err, other_err)
    assert len(lines) == 1 and "Traceback" not in err + other_err, (err, other_err)
    expected = {"refuses": "process 1 of 2: a row cannot be read. Check the disk.", "dies": "another process of this"}
    assert expected[how] in lines[0] and lines[0] in err
    assert RunFolder.open(folder).record("distill") is None


@pytest.mark.slow
def test_what_one_process_does(runs):
    """Students of the fused core are trained by the first process; other commands are refused, with one line."""
    folder = runs("core")
    flat = ["--student", "mlp:4:tanh", "--recipe", "mimic", "--steps", 30, "--no-baseline"]
    (out, err, code), (*_, other_code) = ended(together("distill", folder, *flat))
    assert (code, other_code) == (0, 0) and "divided" not in out, (out, err)
    (_, err, code), (other_out, _, other_code) = ended(together("export", folder, codes=(CLI, "")))
    assert code == 2 and err.count("\n") == 1 and "runs in one process, and torchrun started 2" in err
