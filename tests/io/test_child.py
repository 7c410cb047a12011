"""Libraries that run in a process of their own: within limits, and never with modules of the current folder."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from regkd_edge.io.child import run_limited

linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the limits are told from /proc")


def test_it_returns_what_was_written():
    code = "import sys\nlimit(int(sys.argv[1]), int(sys.argv[2]))\nprint(sys.argv[3:])"
    assert run_limited(code, ["a b", 3], 1 << 28, 5).decode().strip() == "['a b', '3']"


@linux
@pytest.mark.parametrize(
    "work", ["bytearray(1 << 30)", "while True: pass", "import os; os.kill(os.getpid(), 11)", "raise SystemExit(3)"]
)
def test_one_that_reaches_a_limit_or_crashes_gives_nothing(work):
    code = f"import sys\nlimit(int(sys.argv[1]), int(sys.argv[2]))\n{work}\nprint('done')"
    assert run_limited(code, [], 1 << 28, 0) is None


def test_modules_of_the_current_folder_are_not_imported(tmp_path, monkeypatch):
    """A folder that somebody sent may hold a json.py beside the table."""
    for name in (
        "csv",
        "io",
        "json",
        "os",
        "re",
        "resource",
        "numpy",
        "python_calamine",
        "scipy",
        "lightgbm",
        "xgboost",
    ):
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'a').write({name!r})\n")
    monkeypatch.chdir(tmp_path)
    from regkd_edge.data import load_table
    from regkd_edge.errors import UserError
    from regkd_edge.models.teachers import probe

    made = tmp_path / "made"
    made.mkdir()
    for name in ("t.xlsx", "t.mat"):
        (made / name).write_bytes(b"PK\x03\x04")
        with pytest.raises(UserError):
            load_table(made / name, ["y"])
    (made / "m.txt").write_text("tree\n")
    for kind in ("lightgbm", "xgboost"):
        monkeypatch.setattr(probe, "_servers", {})
        probe.crash_of(kind, made / "m.txt")
    assert not (tmp_path / "ran").exists()


def test_a_mat_file_of_objects_is_refused(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")
    from regkd_edge.data import load_table
    from regkd_edge.errors import DataError

    scipy_io.savemat(tmp_path / "t.mat", {"c": np.array([1, "a"], dtype=object), "y": np.arange(3.0)})
    with pytest.raises(DataError, match="is a cell, expected numbers"):
        load_table(tmp_path / "t.mat", ["y"])
