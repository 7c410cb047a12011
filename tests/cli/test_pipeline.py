"""What two commands on one new run folder do to each other."""

from __future__ import annotations

import shutil
from contextlib import ExitStack

import pytest

from regkd_edge.cli.pipeline import start
from regkd_edge.errors import RunFolderError, UserError
from regkd_edge.run import RunFolder

fcntl = pytest.importorskip("fcntl")  # without it there is no lock to lose


def test_a_command_that_loses_the_race_leaves_the_new_run_to_the_winner(tmp_path, monkeypatch):
    """Both found no folder; the other one locks it before this one does."""
    folder = tmp_path / "run"
    prepare = RunFolder.prepare
    with ExitStack() as other:

        def prepare_and_lose(path):
            run = prepare(path)
            other.enter_context(RunFolder(path).lock())
            return run

        monkeypatch.setattr(RunFolder, "prepare", prepare_and_lose)
        losing = start(folder, {}, False, True, create=True)
        with pytest.raises(RunFolderError, match="another regkd-edge command is using"), losing:
            pytest.fail("two commands hold the lock")
        assert folder.is_dir()


def test_a_refused_command_removes_its_new_folder_while_it_holds_the_lock(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    remove = shutil.rmtree

    def remove_locked(path, **options):
        with pytest.raises(RunFolderError, match="another regkd-edge command is using"), RunFolder(path).lock():
            pass
        remove(path, **options)

    monkeypatch.setattr("regkd_edge.cli.pipeline.shutil.rmtree", remove_locked)
    with pytest.raises(UserError, match="no such data"), start(folder, {}, False, True, create=True):
        raise UserError("no such data.", "Give another file.")
    assert not folder.exists()
