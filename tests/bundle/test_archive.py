"""The archive: the same content is the same bytes, and nothing of an archive that is not what it lists is believed."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile

import pytest

from regkd_edge.bundle import read_archive, unpack, write_archive
from regkd_edge.errors import RunFolderError

GRAPH = "onnx/student.fp32.onnx"
FILES = {GRAPH: b"graph", "data.npz": b"\0" * 5000, "README.txt": b""}


ERRORS = {"rmse": 1.0, "mae": 1.0, "max_error": 1.0, "r2": None}


def header(files=FILES):
    """What bundle.json says besides its files."""
    return {
        "name": "made",
        "target": {"name": "desktop", "what": "a desktop", "tensorrt": {}, "checked_for": "10.3", "python": "3.10"},
        "rows": {"kind": "held-out", "count": 1},
        "graphs": {
            "fp32": {
                "file": GRAPH,
                "sha256": hashlib.sha256(files.get(GRAPH, b"graph")).hexdigest(),
                "precision": "fp32",
                "accuracy": {"n": 1, "targets": [{"name": "y", "unit": None, **ERRORS}], "unit": "y", **ERRORS},
                "allowed": [0.1],
            }
        },
        "left_out": [],
        "tensorrt_options": {},
        "versions": {},
    }


@pytest.fixture
def archive(tmp_path):
    path = tmp_path / "made.tar.gz"
    write_archive(path, header(), FILES)
    return path


def repacked(path, members, *, kinds=None):
    """A gzipped tar of (name, bytes) pairs, made by hand."""
    with gzip.open(path, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.type = (kinds or {}).get(name, tarfile.REGTYPE)
            info.linkname = "/etc/passwd" if info.type != tarfile.REGTYPE else ""
            info.size = len(data) if info.type == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(data))
    return path


def listing(files, **changes):
    entries = {name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in files.items()}
    return json.dumps({"format": 1, **header(files), "files": {**entries, **changes}}).encode()


def refused(path, tmp_path, *words):
    """It is refused with these words, by reading and by unpacking, and leaves nothing behind."""
    for act in (read_archive, lambda p: unpack(p, tmp_path / "out")):
        with pytest.raises(RunFolderError) as error:
            act(path)
        assert all(word in str(error.value) for word in words), str(error.value)
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_same_content_is_the_same_bytes(archive, tmp_path):
    again = tmp_path / "elsewhere" / "other-name.tar.gz"
    write_archive(again, header(), dict(reversed(FILES.items())))
    assert again.read_bytes() == archive.read_bytes()


def test_what_went_in_comes_out(archive, tmp_path):
    content, files = read_archive(archive)
    assert files == FILES and content["name"] == "made" and set(content["files"]) == set(FILES)
    unpack(archive, tmp_path / "out")
    assert {
        p.relative_to(tmp_path / "out").as_posix(): p.read_bytes()
        for p in (tmp_path / "out").rglob("*")
        if p.is_file() and p.name != "bundle.json"
    } == FILES


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_is_refused_by_its_name(archive, tmp_path, name):
    content, files = read_archive(archive)
    changed = {**files, name: (files[name] or b" ")[:-1] + b"!"}
    members = [("bundle.json", json.dumps(content).encode()), *changed.items()]
    refused(repacked(tmp_path / "bad.tar.gz", members), tmp_path, name, "not the file that was bundled")


def test_a_missing_file_is_refused_by_its_name(archive, tmp_path):
    content, files = read_archive(archive)
    members = [("bundle.json", json.dumps(content).encode()), *((n, d) for n, d in files.items() if n != "data.npz")]
    refused(repacked(tmp_path / "bad.tar.gz", members), tmp_path, "'data.npz' is missing")


def test_a_file_of_another_bundle_is_refused_by_its_name(archive, tmp_path):
    content, files = read_archive(archive)
    members = [("bundle.json", json.dumps(content).encode()), *files.items(), ("onnx/student.int8.onnx", b"graph")]
    refused(repacked(tmp_path / "bad.tar.gz", members), tmp_path, "'onnx/student.int8.onnx'", "is not listed")


def test_a_file_that_comes_twice_is_refused(archive, tmp_path):
    content, files = read_archive(archive)
    members = [("bundle.json", json.dumps(content).encode()), *files.items(), ("data.npz", files["data.npz"])]
    refused(repacked(tmp_path / "bad.tar.gz", members), tmp_path, "'data.npz'", "twice")


@pytest.mark.parametrize(
    "name", ["../outside", "/absolute", "a/../../b", "a//b", "./a", "c:\\windows", "a\\b", "nul", "a/con.txt"]
)
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path, name):
    files = {**FILES, name: b"x"}
    refused(
        repacked(tmp_path / "bad.tar.gz", [("bundle.json", listing(files)), *files.items()]),
        tmp_path,
        "leads out of its folder",
    )
    # neither does it help to leave it off the list
    refused(
        repacked(tmp_path / "bad.tar.gz", [("bundle.json", listing(FILES)), *files.items()]),
        tmp_path,
        "leads out of its folder",
    )
    with pytest.raises(RunFolderError, match="leads out"):
        write_archive(tmp_path / "never.tar.gz", header(), files)
    assert not (tmp_path / "never.tar.gz").exists()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("accuracy", {"rmse": 1.0}),
        ("accuracy.targets", "x"),
        ("accuracy.targets", []),
        ("accuracy.targets.0.rmse", "x"),
        ("accuracy.targets.0.mae", -1.0),
        ("accuracy.unit", None),
        ("allowed", [0.1, 0.1]),
        ("tensorrt_options", {"evil": 1}),
        ("tensorrt_options", {"workspace_mib": "all"}),
        ("tensorrt_options", {"max_batch": 10**9}),
        ("tensorrt_options", {"timing_cache": "../../x"}),
    ],
)
def test_a_field_of_the_list_that_no_bundle_has_is_refused_before_it_is_used(tmp_path, place, value):
    made = header()
    *way, last = place.split(".")
    inner = made if place == "tensorrt_options" else made["graphs"]["fp32"]
    for key in way:
        inner = inner[int(key) if key.isdigit() else key]
    inner[last] = value
    with pytest.raises(RunFolderError, match=r"bundle\.json of bundle '.*': (graphs|the list|tensorrt)"):
        write_archive(tmp_path / "never.tar.gz", made, FILES)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    bad = repacked(
        tmp_path / "bad.tar.gz", [("bundle.json", listing(FILES)), ("README.txt", b"")], kinds={"README.txt": kind}
    )
    refused(bad, tmp_path, "'README.txt'", "not a plain file")


def test_a_truncated_archive_is_refused(archive, tmp_path):
    bad = tmp_path / "bad.tar.gz"
    bad.write_bytes(archive.read_bytes()[:-40])
    refused(bad, tmp_path, "damaged")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"not a gzip file", "damaged"),
        (b"", "archive"),
        (gzip.compress(b"not a tar file" * 100, mtime=0), "damaged"),
    ],
)
def test_what_is_no_archive_is_refused(tmp_path, content, word):
    bad = tmp_path / "bad.tar.gz"
    bad.write_bytes(content)
    refused(bad, tmp_path, word if content else "bad.tar.gz")


@pytest.mark.parametrize(
    ("first", "word"),
    [
        (("data.npz", b""), "not a bundle"),
        (("bundle.json", b"{"), "corrupt"),
        (("bundle.json", b"[]"), "format"),
        (("bundle.json", b'{"format": 2, "files": {}}'), "format 2, expected 1"),
        (("bundle.json", b'{"format": 1}'), "lists no files"),
        (("bundle.json", listing(FILES, **{"run.yaml": {"sha256": 1, "bytes": 1}})), "valid string"),
        (("bundle.json", listing(FILES, **{"run.yaml": {"sha256": "0" * 64, "bytes": 10**12}})), "less than or equal"),
        (
            (
                "bundle.json",
                listing(FILES, **{n: {"sha256": "0" * 64, "bytes": 10**8} for n in ("run.yaml", "data.json")}),
            ),
            "at most 128 MiB",
        ),
        (("bundle.json", listing(FILES, **{"state.json": {"sha256": "0" * 64, "bytes": 1}})), "no bundle has"),
        (("bundle.json", b'{"format": 1, "format": 1, "files": {}}'), "twice"),
        (("bundle.json", b" " * 2_000_000), "not a bundle"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, first, word):
    refused(repacked(tmp_path / "bad.tar.gz", [first]), tmp_path, word)


def test_a_member_larger_than_its_entry_is_not_read(tmp_path):
    files = {**FILES, "run.yaml": b"\0" * 100}
    small = listing(files, **{"run.yaml": {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0}})
    refused(
        repacked(tmp_path / "bad.tar.gz", [("bundle.json", small), *files.items()]),
        tmp_path,
        "'run.yaml'",
        "met 100 bytes, expected 0 bytes",
    )


def test_a_missing_archive_is_named(tmp_path):
    refused(tmp_path / "absent.tar.gz", tmp_path, "absent.tar.gz")


def test_the_same_bundle_is_unpacked_again_only_after_its_files_were_checked(archive, tmp_path):
    out = tmp_path / "out"
    unpack(archive, out)
    (out / "engines").mkdir()  # what a device adds is left alone
    unpack(archive, out)
    assert (out / "engines").is_dir()
    (out / GRAPH).write_bytes(b"other")
    with pytest.raises(RunFolderError, match=r"'onnx/student.fp32.onnx'.*not the file that was bundled"):
        unpack(archive, out)


def test_a_folder_with_something_else_is_left_alone(archive, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="does not hold this bundle"):
        unpack(archive, out)
    assert [p.name for p in out.iterdir()] == ["mine.txt"]
