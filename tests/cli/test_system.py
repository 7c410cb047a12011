"""What the operating system refuses ends in one line too: permissions, space, memory, temporary folders."""

from __future__ import annotations

import errno
import os
import tempfile

import pytest
from test_mistakes import CSV, check

from regkd_edge.errors import NotAvailable
from regkd_edge.io import memory
from regkd_edge.io.files import temporary_folder

FACTORY = "import torch\n\ndef net():\n    return torch.nn.Linear(2, 1)\n"


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A table, a factory, and a folder ``shut`` that holds them too; :func:`shut` closes it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shut" / "run").mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "shut"):
        (folder / "t.csv").write_text(CSV)
        (folder / "net.py").write_text(FACTORY)
    return tmp_path


UNREADABLE = {
    "table": "train-teacher run --target y --data",
    "held-out table": "train-teacher run --target y --data t.csv --test-data",
    "teacher": "distill run --target y --data t.csv --teacher-from",
    "factory": "distill run --target y --data t.csv --factory",
    "weights": "distill run --target y --data t.csv --factory net.py:net --weights",
    "scaler": "distill run --target y --data t.csv --factory net.py:net --inputs standardized --teacher-scaler",
    "configuration": "run",
    "bundle": "deploy",
    "graph": "check --target desktop",
    "file": "inspect",
}
SUFFIX = {
    "teacher": ".onnx", "factory": ".py", "weights": ".pt", "scaler": ".json", "configuration": ".yaml",
    "bundle": ".tar.gz", "graph": ".onnx", "file": ".onnx",
}  # fmt: skip


@pytest.mark.parametrize("what", UNREADABLE)
@pytest.mark.parametrize("place", ["mode 000", "in a folder of mode 000"])
def test_a_path_that_may_not_be_read(cli, here, permissions, what, place):
    folder = here if place == "mode 000" else here / "shut"
    path = folder / f"closed{SUFFIX.get(what, '.csv')}"
    path.write_text("a,y\n1,2\n")
    (path if place == "mode 000" else folder).chmod(0)
    try:
        given = f"{path}:net" if what == "factory" else path
        check(cli(*UNREADABLE[what].split(), given), path.name, "Permission denied")
        assert not (here / "run").exists()
    finally:
        (here / "shut").chmod(0o700)


@pytest.mark.parametrize("command", ["status", "distill", "train-teacher", "report", "quantize", "compare"])
def test_a_run_in_a_folder_that_may_not_be_entered(cli, here, permissions, command):
    (here / "shut").chmod(0)
    try:
        check(cli(command, here / "shut" / "run", *([here] if command == "compare" else [])), "shut/run", "Permission")
    finally:
        (here / "shut").chmod(0o700)


@pytest.mark.parametrize("step", ["write", "memory", "files"])
def test_other_refusals_name_the_reason_and_leave_nothing_behind(cli, here, monkeypatch, step):
    error, word = {
        "write": (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/x"), "No space left"),
        "memory": (MemoryError("Unable to allocate 8 GiB"), "8 GiB"),
        "files": (OSError(errno.EMFILE, os.strerror(errno.EMFILE)), "ulimit"),
    }[step]

    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr("regkd_edge.data.reading._read_file", refuse)
    check(cli("train-teacher", "run", "--data", "t.csv", "--target", "y"), word)
    assert not (here / "run").exists()


def test_a_network_beyond_memory_is_refused_before_anything_is_written(cli, here, monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 8 * 2**30)
    large = "mlp:65536,65536:relu"
    words = (large, "80.0 GiB", "8.0 GiB are available")
    check(cli("train-teacher", "run", "--data", "t.csv", "--target", "y", "--teacher", large), *words)
    (here / "large.yaml").write_text(f"data: {{data: t.csv, target: y}}\nteacher: {{teacher: '{large}'}}\n")
    check(cli("run", "large.yaml", "run", "--quiet"), *words)
    assert not (here / "run").exists()

    assert cli("distill", "run", "--data", "t.csv", "--target", "y", "--factory", "net.py:net", "--accept-teacher",
               "--student", "mlp:4:tanh", "--steps", 5, "--no-baseline").code == 0  # fmt: skip
    before = {path: path.read_bytes() for path in (here / "run").rglob("*") if path.is_file() and path.suffix != ".log"}
    check(cli("distill", "run", "--student", large, "--recipe", "kang2024"), large, "8.0 GiB are available")
    assert {path: path.read_bytes() for path in before} == before


def test_no_temporary_folder(cli, here, monkeypatch):
    """A run's scratch files lie in the run; what needs the system's folder says so."""
    brought = ("--data", "t.csv", "--target", "y", "--factory", "net.py:net", "--accept-teacher")
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", None)
        patch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(here / "absent"), "/proc/none"])
        assert cli("distill", "run", *brought, "--student", "mlp:4:tanh", "--steps", 5, "--no-baseline").code == 0
        assert cli("quantize", "run", "--precision", "int8").code == 0
        assert cli("build", "run", "--backend", "native").code == 0
        assert cli("bundle", "run", "--target", "desktop").code == 0
        with pytest.raises(NotAvailable, match="TMPDIR"):
            temporary_folder()
