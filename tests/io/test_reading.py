"""A damaged file is named with the place and with what was read there; a sound one is read as its library reads it."""

from __future__ import annotations

import json
import os
import zipfile

import numpy as np
import pytest
import yaml

from regkd_edge.config import RunConfig
from regkd_edge.data import load_table
from regkd_edge.errors import DataError, RunFolderError, UserError
from regkd_edge.io.arrays import archive_problem
from regkd_edge.io.reading import read_json, read_yaml, tensors_problem
from regkd_edge.io.regular import file_problem


@pytest.fixture
def write(tmp_path):
    def put(content):
        path = tmp_path / "file"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return put


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is empty"),
        ('{"format": 1,\n "sta', "it ends in the middle, at line 2, column 2: read '\"sta'"),
        ('{"format": 1,\n', "it ends in the middle, at line 2, column 1: nothing follows"),
        ('{"a": 1,\n "b": x}', "line 2, column 7: expecting value, read '\"b\": x}'"),
        ('{"a": 1} trailing', "line 1, column 10: extra data"),
        (b'{"a": "\xff"}', "byte 7 is 0xff, which is not UTF-8 text"),
        ("[" * 100_000, "nested too deep"),
    ],
    ids=["empty", "cut in a word", "cut at a line", "garbled", "something after it", "bytes", "brackets"],
)
def test_json(write, content, said):
    path = write(content)
    with pytest.raises(RunFolderError) as error:
        read_json(path, "Do it again.")
    assert said in error.value.cause and str(path) in error.value.cause
    assert error.value.remedy == "Do it again."


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("seed: 3\ndata:\n  target: [", ("line 3, column 12", "the end of the file", "reads 'target: ['")),
        ("seed: 3\ndata:\n  source: digits\n  tar", ("line 4", "could not find expected ':'", "reads 'tar'")),
        ("a: [1, 2\nb: 3\n", ("line 2", "while parsing a flow sequence, begun at line 1, column 4")),
        ("seed: 3\n\tdata: 1\n", ("line 2, column 1", r"'\t'")),
        ("a: 1\nb: \x00x\n", ("line 2, column 4", "0x00")),
        ("seed: 3\nsteps: 1\nseed: 4\n", ("line 3, column 1", "'seed' twice", "line 1, column 1")),
        (b"\xff\xfeseed", ("byte 0 is 0xff",)),
        ("when: 2020-99-99\n", ("month",)),
        ("[" * 3000, ("nested too deep",)),
    ],
    ids=[
        "cut in a list",
        "cut in a name",
        "no bracket",
        "tab",
        "control character",
        "twice",
        "bytes",
        "no date",
        "brackets",
    ],
)
def test_yaml(write, content, words):
    with pytest.raises(DataError) as error:
        read_yaml(write(content), DataError)
    for word in words:
        assert word in error.value.cause


def test_every_cut_of_a_run_yaml_is_read_or_named(write):
    """No cut ends in anything but a configuration or a message with its place."""
    text = RunConfig().to_yaml()
    named = 0
    for end in range(0, len(text), 7):
        path = write(text[:end])
        try:
            RunConfig.from_yaml(path)
        except UserError as error:
            assert str(path) in error.cause
            named += 1
    assert named > 20


def test_sound_yaml_is_what_the_library_reads(write):
    text = "base: &b {x: 1, y: [1, 2]}\nother:\n  <<: *b\n  x: 2\nlist:\n- {x: 1}\n- {x: 1}\n"
    assert read_yaml(write(text)) == yaml.safe_load(text)
    assert read_yaml(write("\ufeffseed: 3\n")) == {"seed": 3}  # a byte-order mark


def test_yaml_executes_nothing(write):
    with pytest.raises(UserError, match="line 1, column 1"):
        read_yaml(write("!!python/object/apply:os.system [exit]\n"))


def _tensors(header, data=b"\0" * 8):
    content = json.dumps(header).encode()
    return len(content).to_bytes(8, "little") + content + data


SOUND = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"abc", "it has 3 bytes, too few for a header"),
        (_tensors(SOUND)[:20], "bytes but 12 follow: it is truncated, or not safetensors"),
        (_tensors(SOUND)[:-3], "its header describes 8 bytes of numbers, but the file holds 5"),
        (_tensors(SOUND) + b"more", "its header describes 8 bytes of numbers, but the file holds 12"),
        (b"\x02" + b"\0" * 7 + b"{]", "its header is not JSON: line 1, column 2"),
        (_tensors({"w": 3}), "its header does not describe tensors"),
        (_tensors({"w": SOUND["w"] | {"data_offsets": ["0", "8"]}}), "its header does not describe tensors"),
        (_tensors({"w": SOUND["w"] | {"data_offsets": [0, 8.5]}}), "its header does not describe tensors"),
    ],
    ids=[
        "three bytes",
        "cut in the header",
        "cut in the numbers",
        "too long",
        "not JSON",
        "no tensors",
        "text",
        "fraction",
    ],
)
def test_safetensors(write, content, said):
    assert said in tensors_problem(write(content))


def test_a_sound_safetensors_file_has_no_problem(write):
    assert tensors_problem(write(_tensors({"__metadata__": {"a": "b"}, **SOUND}))) is None


@pytest.mark.parametrize(
    ("keep", "said"), [(0, "empty"), (2, "it has 2 bytes"), (60, "after 60 bytes it ends without the list")]
)
def test_npz(write, tmp_path, keep, said):
    np.savez(tmp_path / "whole.npz", x=np.arange(40.0))
    path = write((tmp_path / "whole.npz").read_bytes()[:keep])
    with pytest.raises(Exception) as error:  # noqa: PT011 - whatever numpy raises is the input
        np.load(path)["x"]
    assert said in archive_problem(path, error.value)


def test_no_npz_at_all(write):
    path = write(b"a,b\n1,2\n")
    assert archive_problem(path, ValueError("x")) == "it begins with b'a,b\\n', and an NPZ file begins with b'PK'"


def test_an_archive_of_too_many_entries_is_refused_before_they_are_listed(tmp_path, monkeypatch):
    from regkd_edge.data import load_table
    from regkd_edge.io.arrays import inflated_problem, opened_archive
    from regkd_edge.models.weights import read_weights

    with zipfile.ZipFile(tmp_path / "many.npz", "w") as archive:
        for i in range(20_001):
            archive.writestr(f"a{i}", b"")
    for name in ("many.zip", "many.pt"):
        (tmp_path / name).write_bytes((tmp_path / "many.npz").read_bytes())

    def listed(*_, **__):
        raise AssertionError("the entries were listed")

    monkeypatch.setattr(zipfile, "ZipFile", listed)
    for name in ("many.npz", "many.zip"):
        with pytest.raises(UserError, match="lists 20,001 entries, expected at most 20,000"):
            load_table(tmp_path / name, ["y"])
    with pytest.raises(UserError, match="lists 20,001 entries"):
        read_weights(tmp_path / "many.pt")
    assert "20,001" in inflated_problem(tmp_path / "many.pt")
    with pytest.raises(ValueError, match="20,001"):
        opened_archive(tmp_path / "many.pt")


@pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="needs Linux")
def test_a_file_that_only_looks_ordinary_is_a_problem_before_anybody_reads_it():
    assert file_problem("/proc/self/mem") == "Input/output error"
    with pytest.raises(UserError, match=r"'/proc/self/mem' cannot be read: Input/output error"):
        read_yaml("/proc/self/mem")
    with pytest.raises(DataError, match=r"'/proc/self/mem' cannot be read: Input/output error"):
        load_table("/proc/self/mem", ["y"])


@pytest.mark.parametrize(("value", "read"), [("190:20:30", "base 60"), ("1:30.5", "base 60"), ("010", "base 8")])
def test_a_number_that_yaml_reads_in_another_base_is_refused(tmp_path, value, read):
    path = tmp_path / "run.yaml"
    path.write_text(f"seed: {value}\n")
    with pytest.raises(UserError, match=f"holds a value that cannot be read: {value}, which is a number in {read}"):
        read_yaml(path)
    for clear, number in (("'010'", "010"), ("0", 0), ("10", 10), ("-0.5", -0.5), ("0x1F", 31)):
        path.write_text(f"seed: {clear}\n")
        assert read_yaml(path) == {"seed": number}
