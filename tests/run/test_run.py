"""The run folder: whole files or none, and what counts as done."""

from __future__ import annotations

import errno
import json
import os

import pytest

from regkd_edge.config import RunConfig
from regkd_edge.errors import RunFolderError
from regkd_edge.io.files import file_hash, write_atomic, write_json
from regkd_edge.run import RunFolder


@pytest.fixture
def run(tmp_path):
    return RunFolder.create(tmp_path / "run", RunConfig())


def make(run, text="content", name="data.npz"):
    """A stage's work that writes one file and counts its calls."""
    calls = []

    def work():
        calls.append(1)
        path = run.file(name)
        with write_atomic(path) as temporary:
            temporary.write_text(text)
        return [path], {"calls": len(calls)}

    return work, calls


def test_a_failed_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), write_atomic(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError("stopped")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_an_interrupted_write_leaves_the_old_file_and_no_rubbish(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), write_atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert (path.read_text(), os.listdir(tmp_path)) == ("old", ["file.txt"])


def test_a_full_disk_is_a_users_error_and_keeps_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RunFolderError, match="No space left"), write_atomic(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "old"


def test_a_folder_that_cannot_be_made_is_a_users_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RunFolderError, match="cannot create"):
        RunFolder.create(tmp_path / "file" / "run", RunConfig())


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_write_permission_is_a_users_error(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(RunFolderError, match="cannot"):
            RunFolder.create(tmp_path / "run", RunConfig())
    finally:
        tmp_path.chmod(0o700)


def test_no_write_permission_inside_a_run_is_a_users_error(run, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(RunFolderError, match="Permission denied"):
        write_json(run.file("x.json"), {})


def test_a_stage_runs_once_and_again_only_when_its_inputs_change(run):
    work, calls = make(run)
    assert run.run_stage("data", {"a": 1}, work) == (True, {"calls": 1}, [])
    assert run.run_stage("data", {"a": 1}, work) == (False, {"calls": 1}, [])
    assert run.run_stage("data", {"a": 2}, work)[0]
    assert run.run_stage("data", {"a": 2}, work, force=True)[0]
    assert len(calls) == 3


@pytest.mark.parametrize("harm", ["remove", "change"])
def test_a_stage_whose_output_was_harmed_runs_again(run, harm):
    work, calls = make(run)
    run.run_stage("data", {}, work)
    if harm == "remove":
        run.file("data.npz").unlink()
    else:
        run.file("data.npz").write_text("tampered")
    assert run.run_stage("data", {}, work)[0]
    assert run.file("data.npz").read_text() == "content"


def test_a_stage_that_fails_halfway_is_not_done(run):
    work, _ = make(run)
    run.run_stage("data", {"a": 1}, work)

    def stopped():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.run_stage("data", {"a": 2}, stopped)
    assert run.record("data") is None
    assert run.run_stage("data", {"a": 1}, work)[0]


def test_what_a_stage_no_longer_writes_is_removed_even_after_an_interruption(run):
    def writing(*names, stop=False):
        def work():
            paths = [run.file("bench", name) for name in names]
            for path in paths:
                with write_atomic(path) as temporary:
                    temporary.write_text("x")
            if stop:
                raise KeyboardInterrupt
            return paths, {}

        return work

    run.run_stage("bench", {"a": 1}, writing("old.json", "kept.json"))
    with pytest.raises(KeyboardInterrupt):
        run.run_stage("bench", {"a": 2}, writing("kept.json", stop=True))
    assert run.file("bench", "old.json").exists()
    run.run_stage("bench", {"a": 3}, writing("kept.json"))
    assert os.listdir(run.file("bench")) == ["kept.json"]
    run.discard("bench")
    assert run.record("bench") is None
    assert not run.file("bench").exists()


def test_a_stage_bound_to_a_machine_runs_again_on_another(run):
    work, calls = make(run, name="engines/native.fp32")
    run.run_stage("build", {}, work, machine="desk")
    assert not run.run_stage("build", {}, work, machine="desk")[0]
    assert run.run_stage("build", {}, work, machine="jetson")[0]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"stages": 3}',
        '{"format": 1, "stages": {"data": 3}}',
        '{"format": 99, "stages": {}}',
        "\x00\xff",
    ],
)
def test_a_corrupt_state_is_refused_with_the_remedy(run, content):
    run.file("state.json").write_text(content, encoding="latin-1")
    with pytest.raises(RunFolderError) as error:
        RunFolder.open(run.path)
    assert error.value.remedy


@pytest.mark.parametrize("content", ["a: [", "seed: many", "unknown: 1", "- 1", "distill: {base: none}"])
def test_a_corrupt_configuration_is_refused_with_the_remedy(run, content):
    from regkd_edge.errors import UserError

    run.file("run.yaml").write_text(content)
    with pytest.raises(UserError) as error:
        run.config()
    assert error.value.remedy


def test_open_wants_a_run_folder(tmp_path):
    with pytest.raises(RunFolderError, match="no run folder"):
        RunFolder.open(tmp_path / "absent")
    with pytest.raises(RunFolderError, match="not a run folder"):
        RunFolder.open(tmp_path)


def test_create_refuses_a_folder_that_holds_something_else(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(RunFolderError, match="holds other files"):
        RunFolder.create(tmp_path, RunConfig())


def test_two_commands_cannot_work_on_one_folder(run):
    with run.lock(), pytest.raises(RunFolderError, match="another"), RunFolder(run.path).lock():
        pass


def test_the_lock_sweeps_what_a_killed_command_left(run):
    left = run.file(".data.npz.abc.tmp.npz")
    left.write_text("half")
    own = [run.file(name) for name in (".notes.tmpl", ".tmp", ".kept.tmp.d")]
    for file in own:
        file.write_text("mine")
    with run.lock():
        assert not left.exists()
    assert all(file.exists() for file in own)


def test_the_hash_of_a_folder_sees_names_and_contents(tmp_path):
    folder = tmp_path / "f"
    folder.mkdir()
    (folder / "a").write_text("1")
    first = file_hash(folder)
    (folder / "a").rename(folder / "b")
    second = file_hash(folder)
    (folder / "b").write_text("2")
    assert len({first, second, file_hash(folder)}) == 3


def test_state_json_is_readable_and_ordered(run):
    run.run_stage("teacher", {}, make(run, name="teacher/model.json")[0])
    run.run_stage("data", {}, make(run)[0])
    content = json.loads(run.file("state.json").read_text())
    assert list(content["stages"]) == ["data", "teacher"]


def test_a_refusal_before_anything_was_written_leaves_what_was_done(run):
    work, calls = make(run)
    assert run.run_stage("data", {"source": "right.csv"}, work)[0]

    def refuse():
        raise RunFolderError("no file 'wrong.csv'.")

    with pytest.raises(RunFolderError, match=r"wrong\.csv"):
        run.run_stage("data", {"source": "wrong.csv"}, refuse)
    assert run.run_stage("data", {"source": "right.csv"}, work) == (False, {"calls": 1}, [])


def test_a_stop_after_something_was_written_leaves_the_stage_missing_and_its_files_known(run):
    work, _ = make(run)
    run.run_stage("data", {}, work)

    def half():
        make(run, "other content")[0]()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.run_stage("data", {"changed": 1}, half)
    assert run.record("data") is None
    assert list(run.known_outputs("data")) == ["data.npz"]


def test_a_run_at_work_keeps_its_configuration_when_another_is_refused(run):
    before = run.file("run.yaml").read_bytes()
    with run.lock(), pytest.raises(RunFolderError, match="another"):
        RunFolder.create(run.path, RunConfig.from_dict({"seed": 7}))
    assert run.file("run.yaml").read_bytes() == before


def test_a_command_that_waits_for_nobody_leaves_the_yaml_of_a_run_at_work(run):
    from regkd_edge.cli.pipeline import start

    before = run.file("run.yaml").read_bytes()
    with run.lock():
        for given in ({"config": RunConfig.from_dict({"seed": 7})}, {"create": True}):
            with pytest.raises(RunFolderError, match="another"), start(run.path, {"seed": 9}, False, True, **given):
                pass
    assert run.file("run.yaml").read_bytes() == before and run.file("run.yaml").exists()


@pytest.mark.parametrize("left", [[], [".lock"], [".lock", ".run.yaml.x1y2z3.tmp.yaml"]])
def test_a_folder_left_by_a_kill_before_its_first_file_is_used_again(tmp_path, left):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in left:
        (folder / name).write_text("")
    run = RunFolder.create(folder, RunConfig())
    assert run.config() == RunConfig()
    assert sorted(path.name for path in folder.iterdir()) == [".lock", "run.yaml"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_a_written_file_gets_the_mode_that_the_umask_leaves(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        write_json(tmp_path / "x.json", {})
    finally:
        os.umask(before)
    assert (tmp_path / "x.json").stat().st_mode & 0o777 == mode


HOSTILE = [
    "../victim",
    "/etc/hostname",
    "report.html/../../victim",
    "a\\b",
    "c:victim",
    "nul",
    "",
    ".",
    "x\0y",
    "run.yaml",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_state_that_names_what_its_stage_never_writes_is_refused_and_deletes_nothing(run, name):
    victim = run.path.parent / "victim"
    victim.write_text("mine")
    record = {"fingerprint": "0", "machine": "", "outputs": {name: "00"}, "seconds": 0, "summary": {}}
    run.file("state.json").write_text(json.dumps({"format": 1, "stages": {"report": record}}))
    with pytest.raises(RunFolderError, match=r"state\.json"):
        RunFolder.open(run.path)
    with pytest.raises(RunFolderError):
        run.discard("report")
    assert victim.read_text() == "mine" and run.file("run.yaml").exists()


def test_a_link_in_the_run_that_leads_elsewhere_is_refused(run, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "student.int8.onnx").write_text("mine")
    run.path.joinpath("onnx").symlink_to(outside)
    record = {"fingerprint": "0", "machine": "", "outputs": {"onnx/student.int8.onnx": "00"}, "summary": {}}
    run.file("state.json").write_text(json.dumps({"format": 1, "stages": {"quantize": record}}))
    with pytest.raises(RunFolderError, match="symbolic link"):
        run.discard("quantize")
    with pytest.raises(RunFolderError, match="symbolic link"):
        run.file("onnx", "student.int8.onnx")
    assert (outside / "student.int8.onnx").read_text() == "mine"
