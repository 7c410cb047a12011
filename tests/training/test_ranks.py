"""Two processes on loopback (gloo): the networks of one process, one line where one fails, Ctrl-C and going on."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from regkd_edge.run import RunFolder

from .warm import CLI, start

STUDENT = "conv1d:4x5/2,gap,6:tanh"
OPTIONS = ["--student", STUDENT, "--recipe", "kang2024", "--batch", 9, "--evaluate-every", 10, "--no-baseline",
           "--steps", 60]  # fmt: skip
QUIET = {"OMP_NUM_THREADS": "1"}
SLOW = f"""
import time, regkd_edge.fused.share as share, regkd_edge.training.loop as loop
loop.SAVE_AFTER, genuine = 0.0, share.Share.sum
share.Share.sum = lambda *given: (time.sleep(0.03), genuine(*given))[1]
{CLI}
"""


def weights(run):
    return load_file(run / "student" / "model.safetensors")


def apart(a, b):
    """The largest difference of two students' weights, as a share of the layer's largest weight."""
    return max(np.abs(a[key] - b[key]).max() / np.abs(a[key]).max() for key in a)


class Runs:
    """A run folder with a teacher that only torch takes, and the processes that go on with copies of it."""

    def __init__(self, folder):
        self.folder = folder
        given = ("--data", folder / "signals.npz", "--teacher", "conv1d:6x5/2,gap,6:tanh", "--epochs", 4)
        self.alone("train-teacher", folder / "run", *given)

    def copy(self, name, of="run"):
        return Path(shutil.copytree(self.folder / of, self.folder / name))

    def alone(self, *arguments):
        """One process, to its end."""
        out, err, code = start(self.folder / "said", CLI, arguments, QUIET).ended()
        assert code == 0, err

    def together(self, *arguments, codes=(CLI, CLI)):
        """What torchrun starts, without it: the environment of two processes."""
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        common = {**QUIET, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        return [
            start(self.folder / "said", code, arguments, {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)})
            for rank, code in enumerate(codes)
        ]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("several")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 2, 16)).cumsum(2)
    np.savez(folder / "signals.npz", x=x, y=np.tanh(x[:, 0].mean(1, keepdims=True)))
    (folder / "said").mkdir()
    return Runs(folder)


@pytest.fixture(scope="module")
def one(runs):
    """Distilled by one process."""
    folder = runs.copy("one")
    runs.alone("distill", folder, *OPTIONS)
    return folder


@pytest.fixture(scope="module")
def two(runs):
    """Distilled by two."""
    folder = runs.copy("two")
    said = [process.ended() for process in runs.together("distill", folder, *OPTIONS)]
    assert [code for *_, code in said] == [0, 0], said
    return folder


@pytest.mark.slow
def test_torchrun_gives_the_student_of_one_process(runs, one):
    folder = runs.copy("torchrun")
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "regkd_edge"]
    done = subprocess.run(
        [sys.executable, *command, "distill", folder, *map(str, OPTIONS), "--json"],
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
        assert a.pop("target_rmse") == pytest.approx(b.pop("target_rmse"), rel=1e-4)
        assert a == pytest.approx(b, rel=1e-4)


AGAIN = """
import torch
from regkd_edge.api import join_processes
for k in range(4):
    with join_processes() as here:
        given = torch.tensor([float(here.rank + k)])
        here.share().add(given)
        assert given.item() == 1 + 2 * k, given
"""


def test_a_script_joins_them_as_often_as_it_likes(runs):
    said = [process.ended() for process in runs.together(codes=(AGAIN, AGAIN))]
    assert [code for *_, code in said] == [0, 0], said


@pytest.mark.slow
def test_ctrl_c_keeps_a_state_from_which_two_go_on_or_one(runs, one, two):
    folder = runs.copy("stopped")
    processes = runs.together("distill", folder, *OPTIONS, codes=(SLOW, SLOW))
    state = folder / "checkpoint" / "student" / "state.safetensors"
    patience = time.monotonic() + 90
    while not state.is_file():
        assert time.monotonic() < patience and all(p.alive() for p in processes), [p.ended(5) for p in processes]
        time.sleep(0.02)
    for process in processes:
        process.interrupt()
    (_, err, code), (*other, other_code) = (process.ended() for process in processes)
    assert (code, other_code) == (130, 130), (err, other)
    assert "Interrupted" in err and "Traceback" not in err and other == ["", ""]
    assert RunFolder.open(folder).record("distill") is None
    assert 0 < int(load_file(state)["state.step"]) < 60
    alone = runs.copy("alone", of="stopped")
    runs.alone("distill", alone, *OPTIONS)
    said = [process.ended() for process in runs.together("distill", folder, *OPTIONS)]
    assert [code for *_, code in said] == [0, 0], said
    ours, whole = weights(folder), weights(two)
    assert all(np.array_equal(ours[key], whole[key]) for key in ours), "two processes go on with the same bits"
    assert 0 < apart(weights(alone), weights(one)) < 1e-3, "one goes on where two were"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["refuses", "refuses while the first is busy", "dies"])
def test_a_process_that_fails_ends_all_with_one_line(runs, how):
    """The second process cannot go on after the first steps; one of them says so."""
    code = """
import os, time, regkd_edge.errors, regkd_edge.fused.share as share
genuine, calls = share.Share.sum, []
def sum_(self, *rest):
    calls.append(1)
    if len(calls) > 20:
        {}
    return genuine(self, *rest)
share.Share.sum = sum_
"""
    fails = "os.kill(os.getpid(), 9)"
    if how != "dies":
        fails = "raise regkd_edge.errors.DataError('a row cannot be read.', 'Check the disk.')"
    first = code.format("time.sleep(4 * (len(calls) == 21))") + CLI if "busy" in how else CLI
    folder = runs.copy(how)
    processes = runs.together("distill", folder, *OPTIONS, codes=(first, code.format(fails) + CLI))
    (_, err, status), (_, other_err, other_status) = (process.ended() for process in processes)
    lines = [line for line in (err + other_err).splitlines() if line.startswith("error:")]
    assert status == 2 and other_status == (-9 if how == "dies" else 2), (err, other_err)
    assert len(lines) == 1 and "Traceback" not in err + other_err, (err, other_err)
    expected = "process 1 of 2: a row cannot be read. Check the disk." if how != "dies" else "another process of this"
    assert expected in lines[0] and (lines[0] in other_err) == ("busy" in how)
    assert RunFolder.open(folder).record("distill") is None


TEACHER = ["--teacher", "conv1d:6x5/2,gap,6:tanh", "--epochs", 4]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train-teacher", "run"])
def test_a_process_that_fails_while_the_teacher_is_trained_ends_all_with_one_line(runs, command):
    code = f"""
import regkd_edge.errors, regkd_edge.fused.share as share
genuine, calls = share.Share.sum, []
def sum_(self, *rest):
    calls.append(1)
    if len(calls) > 6:
        raise regkd_edge.errors.DataError('a row cannot be read.', 'Check the disk.')
    return genuine(self, *rest)
share.Share.sum = sum_
{CLI}
"""
    folder = runs.folder / f"failed {command}"
    if command == "run":
        whole = runs.folder / "failed.yaml"
        whole.write_text(
            f"data: {{data: {runs.folder / 'signals.npz'}}}\n"
            f"teacher: {{teacher: '{TEACHER[1]}', epochs: 4}}\n"
            f"distill: {{student: '{STUDENT}', recipe: mimic, steps: 60}}\n"
        )
        given = ("run", whole, folder)
    else:
        given = ("train-teacher", folder, "--data", runs.folder / "signals.npz", *TEACHER)
    (_, err, status), (_, other_err, other_status) = (p.ended() for p in runs.together(*given, codes=(CLI, code)))
    lines = [line for line in (err + other_err).splitlines() if line.startswith("error:")]
    assert (status, other_status) == (2, 2) and len(lines) == 1 and "Traceback" not in err + other_err, (err, other_err)
    assert "process 1 of 2: a row cannot be read. Check the disk." in lines[0]
    assert not folder.exists() or RunFolder.open(folder).record("teacher") is None


@pytest.mark.slow
def test_two_processes_train_the_teacher_of_one_and_go_on_where_they_were_stopped(runs):
    folder = runs.folder / "teacher"
    command = ("train-teacher", folder, "--data", runs.folder / "signals.npz", *TEACHER)
    processes = runs.together(*command, "--json", codes=(SLOW, SLOW))
    state = folder / "checkpoint" / "teacher" / "state.safetensors"
    patience = time.monotonic() + 90
    while not state.is_file():
        assert time.monotonic() < patience and all(p.alive() for p in processes), [p.ended(5) for p in processes]
        time.sleep(0.01)
    for process in processes:
        process.interrupt()
    (_, err, code), (*other, other_code) = (process.ended() for process in processes)
    assert (code, other_code) == (130, 130) and "Traceback" not in err and other == ["", ""], (err, other)
    assert RunFolder.open(folder).record("teacher") is None
    (out, err, code), (*other, other_code) = (process.ended() for process in runs.together(*command, "--json"))
    assert (code, other_code) == (0, 0) and other == ["", ""], (err, other)
    assert any("divided among 2 processes" in note for note in json.loads(out)["notes"]), out
    whole, ours = (load_file(run / "teacher" / "model.safetensors") for run in (runs.folder / "run", folder))
    # Sums in another order, over 12 steps of Adam: measured 2e-7 of the largest of a tensor, and 0 in some.
    assert 0 < max(np.abs(ours[k] - whole[k]).max() / np.abs(whole[k]).max() for k in whole) < 1e-4
    history = [json.loads((run / "teacher" / "history.json").read_text()) for run in (runs.folder / "run", folder)]
    for a, b in zip(*history, strict=True):
        assert a["validation_rmse"] == pytest.approx(b["validation_rmse"], rel=1e-4)


@pytest.mark.slow
def test_run_by_two_processes_of_which_one_builds_and_measures(runs, one):
    """The second process ends when nothing is left to train; everything from the graphs on is the first one's."""
    whole = runs.folder / "whole.yaml"
    whole.write_text(f"""
data: {{data: {runs.folder / "signals.npz"}}}
teacher: {{teacher: "conv1d:6x5/2,gap,6:tanh", epochs: 4}}
distill: {{student: "{STUDENT}", recipe: kang2024, batch: 9, evaluate_every: 10, steps: 60, baseline: false,
          accept_teacher: true}}
quantize: {{precision: [int8]}}
bench: {{samples: 20}}
""")
    late = (
        "import os, time, regkd_edge.stages.export as export\n"
        "genuine = export.STAGE.work\n"
        "def work(*given):\n"
        "    until = time.monotonic() + 60\n"
        f"    while not os.path.exists({str(runs.folder / 'ended')!r}):\n"
        "        assert time.monotonic() < until, 'the other process is still there'\n"
        "        time.sleep(0.02)\n"
        "    return genuine(*given)\n"
        "object.__setattr__(export.STAGE, 'work', work)\n"
    )
    ended = f"try:\n    {CLI}\nfinally:\n    import pathlib; pathlib.Path({str(runs.folder / 'ended')!r}).touch()\n"
    processes = runs.together("run", whole, runs.folder / "whole", "--json", codes=(late + CLI, ended))
    (out, err, code), (*other, other_code) = (process.ended() for process in processes)
    assert (code, other_code) == (0, 0) and other == ["", ""], (err, other)
    assert (runs.folder / "whole" / "report.html").is_file() and json.loads(out)
    # The teacher of the other run is that of one process, and the student follows it: the bound of both together.
    assert 0 < apart(weights(runs.folder / "whole"), weights(one)) < 1e-3


@pytest.mark.slow
def test_what_one_process_does(runs):
    """Teachers and students of the fused core; other commands are refused in one line."""
    folder = runs.copy("core")
    bits = []
    for name in ("mlp of one", "mlp of two"):
        given = ("--data", runs.folder / "signals.npz", "--teacher", "mlp:6:tanh", "--epochs", 3)
        if name == "mlp of one":
            runs.alone("train-teacher", runs.folder / name, *given)
        else:
            said = [process.ended() for process in runs.together("train-teacher", runs.folder / name, *given)]
            assert [code for *_, code in said] == [0, 0] and "divided" not in said[0][0], said
        bits.append((runs.folder / name / "teacher" / "model.safetensors").read_bytes())
    assert bits[0] == bits[1]
    config = folder / "run.yaml"
    written = config.read_text()
    config.write_text(written.replace("epochs: 4", "epochs: 3"))
    assert config.read_text() != written
    flat = ["--student", "mlp:4:tanh", "--recipe", "mimic", "--steps", 30, "--no-baseline"]
    (out, err, code), (*_, other_code) = (process.ended() for process in runs.together("distill", folder, *flat))
    assert (code, other_code) == (0, 0) and out.count("divided") == 1, (out, err)  # the teacher of 3 epochs
    assert "divided" not in out.split("student:")[1]
    (_, err, code), _ = (process.ended() for process in runs.together("export", folder, codes=(CLI, "")))
    assert code == 2 and err.count("\n") == 1 and "runs in one process, and torchrun started 2" in err
