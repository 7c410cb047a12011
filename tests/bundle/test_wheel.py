"""The wheel that a bundle carries: checked for the device, listed, hashed, signed, and named where it is needed."""

from __future__ import annotations

import zipfile

import pytest

from regkd_edge.bundle.archive import read_archive
from regkd_edge.bundle.readme import readme
from regkd_edge.bundle.schema import check_name
from regkd_edge.bundle.wheel import checked_wheel
from regkd_edge.config.platforms import PLATFORMS
from regkd_edge.errors import RunFolderError, UserError

ORIN, DESKTOP = PLATFORMS["jetson-orin"], PLATFORMS["desktop"]
NAME = "regkd_edge-9.8.7-cp310-cp310-manylinux_2_28_aarch64.whl"


def wheel(folder, name=NAME, machine=183, modules=("_core", "_runtime"), package=True):
    path = folder / name
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x03\x00" + machine.to_bytes(2, "little")
    with zipfile.ZipFile(path, "w") as made:
        if package:
            made.writestr("regkd_edge/__init__.py", "")
        for module in modules:
            made.writestr(f"regkd_edge/{module}.cpython-310-aarch64-linux-gnu.so", head)
    return path


def test_a_wheel_for_the_device_is_taken(tmp_path):
    path = wheel(tmp_path)
    assert checked_wheel(path, ORIN) == path.read_bytes()
    assert ORIN.python_tags == ["cp310", "cp312"] and DESKTOP.python_tags == [f"cp3{m}" for m in range(10, 15)]
    assert (ORIN.machine, DESKTOP.machine) == ("aarch64", "x86_64")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("numpy-2.0-cp310-cp310-linux_aarch64.whl", {}, "not the name of a wheel of regkd-edge"),
        (
            "regkd_edge-1-cp310-cp310-manylinux_2_28_x86_64.whl",
            {},
            "is for manylinux_2_28_x86_64, and jetson-orin is aarch64",
        ),
        ("regkd_edge-1-cp310-cp310-macosx_11_0_aarch64.whl", {}, "is for macosx"),
        ("regkd_edge-1-cp313-cp313-linux_aarch64.whl", {}, "is for cp313, and jetson-orin has Python 3.10"),
        (NAME, {"machine": 62}, "is for x86_64, expected aarch64"),
        (NAME, {"modules": ()}, "lacks regkd_edge or its compiled modules"),
        (NAME, {"package": False}, "lacks regkd_edge or its compiled modules"),
    ],
)
def test_another_wheel_is_refused_with_the_reason(tmp_path, name, options, words):
    with pytest.raises(UserError, match=words) as error:
        checked_wheel(wheel(tmp_path, name, **options), ORIN)
    assert "pip wheel" in error.value.remedy


def test_what_is_no_archive_is_refused(tmp_path):
    (tmp_path / NAME).write_bytes(b"PK, but no zip")
    with pytest.raises(UserError, match="cannot be read"):
        checked_wheel(tmp_path / NAME, ORIN)
    with pytest.raises(UserError, match="cannot be read"):
        checked_wheel(tmp_path / "absent" / NAME, ORIN)


def test_its_name_is_one_that_a_bundle_may_have():
    check_name(f"wheel/{NAME}", "'b'")
    for name in ("wheel/../x.whl", "wheel/numpy-2.0-cp310-cp310-linux_aarch64.whl", f"other/{NAME}", f"wheel/a/{NAME}"):
        with pytest.raises(RunFolderError):
            check_name(name, "'b'")


def test_the_readme_prints_the_command():
    target = {"name": "jetson-orin", "what": "Jetson", "tensorrt": {}, "python": "3.10"}
    header = {"name": "demo", "target": target, "versions": {"regkd-edge": "9"}, "graphs": {"fp32": 0},
              "rows": {"count": 1, "kind": "held-out"}, "left_out": []}  # fmt: skip
    text = readme(header, f"wheel/{NAME}")
    assert f"tar -xzf demo.jetson-orin.tar.gz wheel/{NAME}" in text and f"pip install wheel/{NAME}" in text


def test_the_bundle_lists_hashes_and_unpacks_it_and_deploy_names_it(run, tmp_path):
    from regkd_edge.bundle import deploy, make_bundle

    path, content = make_bundle(run, "jetson-orin", tmp_path / "b.tar.gz", wheel=wheel(tmp_path))
    listed = content["files"][f"wheel/{NAME}"]
    assert read_archive(path)[1][f"wheel/{NAME}"] == (tmp_path / NAME).read_bytes() and len(listed["sha256"]) == 64
    done = deploy(path, tmp_path / "there", backends=["native"], samples=10, warmup=1)
    (note,) = (note for note in done.notes if "carries regkd-edge 9.8.7" in note)
    assert f"pip install {tmp_path / 'there' / 'wheel' / NAME}" in note
