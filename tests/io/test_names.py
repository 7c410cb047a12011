"""A name from a file stays inside its folder, on every system."""

from __future__ import annotations

import os
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from regkd_edge.errors import DataError, RunFolderError
from regkd_edge.io.names import inside, name_problem, plain_name


@pytest.mark.parametrize("name", ["a", "onnx/student.int8.onnx", "engines/onnxruntime.fp32", "änderung.csv", ".lock"])
def test_an_ordinary_name_is_taken(tmp_path, name):
    assert inside(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "/", "/a", "a/..", "a/../b", "../a", "a//b", "a/", "./a", "a\\b", "c:", "c:/x", "a\0b", "a\nb"]
    + ["nul", "NUL.txt", "a/con", "COM1", "lpt9.x", "a ", " a", "a.", "a/b. ", "\ud800", "x" * 256, "ab/" * 400]
    + [None, 7, b"a", ["a"], {"a": 1}],
)
def test_a_name_that_leads_out_or_that_a_system_treats_apart_is_refused(tmp_path, name):
    with pytest.raises(DataError) as error:
        inside(tmp_path, name, "'state.json'", DataError, "Do this.")
    assert "'state.json'" in error.value.cause and error.value.remedy == "Do this."
    assert not plain_name(name)


@given(
    st.text(max_size=30) | st.lists(st.sampled_from(["..", ".", "", "a", "/", "\\", "c:", "~", "nul"])).map("/".join)
)
@example("..%2f..")
def test_what_is_accepted_stays_inside(name):
    if name_problem(name) is None:
        assert ".." not in PurePosixPath(name).parts and not PurePosixPath(name).is_absolute()
        windows = PureWindowsPath(name)
        assert not windows.is_absolute() and not windows.drive and not windows.root and ".." not in windows.parts
        assert os.path.normpath(os.path.join("/srv/folder", name)).startswith("/srv/folder/")


def test_a_link_may_lead_inside_but_not_outside(tmp_path):
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "in").symlink_to(folder / "deep")
    (folder / "out").symlink_to(tmp_path)
    (folder / "gone").symlink_to(tmp_path / "absent")
    (tmp_path / "alias").symlink_to(folder)
    assert inside(folder, "in/file") == folder / "in/file"
    assert inside(tmp_path / "alias", "deep/file")  # the folder itself may be reached by a link
    for name in ("out", "out/file", "gone"):
        with pytest.raises(RunFolderError, match="symbolic link"):
            inside(folder, name)
