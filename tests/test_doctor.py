"""doctor on machines of many kinds: what is missing or does not fit, and a command only where it can work."""

from __future__ import annotations

import shlex
import subprocess
import sys
from types import SimpleNamespace

import pytest

from regkd_edge import doctor

GPU = {"gpu": "RTX", "compute_capability": "8.6", "driver_cuda": "12.8"}
RANGES = {
    "torch": "torch>=2.4",
    "onnx": "onnx>=1.16",
    "tensorrt": "tensorrt<12,>=10.3",
    "cuda-python": "cuda-python>=12",
}
PIP = f"{shlex.quote(sys.executable)} -m pip install "


@pytest.fixture
def machine(monkeypatch):
    """``machine(gpu=..., versions=..., jetson=..., ...)`` -> {what: line}."""

    def examined(*, gpu=None, versions=None, cuda="12.6", jetson=False, arch="x86_64", core=None, nvcc=False, pip=True):
        versions = {"torch": "2.6.0", "onnx": "1.17.0", **(versions or {})}
        core = core or {"has_cuda": True, "cuda_architectures": "80;90"}
        core = SimpleNamespace(simd_level=lambda: "v3", simd_levels_available=lambda: ["v2", "v3"], **core)
        load = lambda name: core if name == "regkd_edge._core" else (_ for _ in ()).throw(ImportError(name))
        which = lambda name: "/usr/bin/x" if name in ("apt-get", "c++") else None
        monkeypatch.setattr(doctor, "_gpu", lambda: (gpu, None if gpu else "there is no NVIDIA driver."))
        monkeypatch.setattr(doctor, "_version", lambda name: versions.get(name))
        monkeypatch.setattr(doctor, "_ranges", lambda: RANGES)
        monkeypatch.setattr(doctor, "_cuda_of_torch", lambda: cuda)
        monkeypatch.setattr(doctor, "_is_jetson", lambda: jetson)
        monkeypatch.setattr(doctor.importlib, "import_module", load)
        monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
        monkeypatch.setattr(doctor, "_on_path", lambda name: name == "pip" and pip)
        monkeypatch.setattr(doctor.shutil, "which", which)
        monkeypatch.setattr(doctor.platform, "machine", lambda: arch)
        monkeypatch.setattr(doctor, "_backends", list)
        monkeypatch.setattr(doctor, "_nvcc", lambda: "/opt/cuda/bin/nvcc" if nvcc else None)
        monkeypatch.setattr(doctor, "_source", lambda: "/src/regkd edge")
        return {line["what"]: line for line in doctor.findings()}

    return examined


def test_without_a_gpu_nothing_is_recommended_that_needs_one(machine):
    found = machine(cuda=None)
    assert found["NVIDIA GPU"]["state"] == "none" and found["tensorrt"]["state"] == "not needed"
    assert found["torch"] == {"what": "torch", "state": "2.6.0", "meaning": "train and distil", "fix": None}
    assert not any("cuda" in (line["fix"] or "") for line in found.values())


def test_a_package_is_asked_for_by_its_range_with_the_pip_of_this_python(machine):
    found = machine(versions={"onnx": None, "torch": "2.1.0"})
    assert found["onnx"]["state"] == "absent" and found["onnx"]["fix"].startswith(PIP)
    assert shlex.split(found["onnx"]["fix"])[-1] == "onnx>=1.16"
    assert found["torch"]["state"] == "mismatched" and "expected torch>=2.4" in found["torch"]["meaning"]
    assert machine(versions={"onnx": None}, pip=False)["onnx"]["fix"] is None, "no pip, no uv: no command can work"


@pytest.mark.parametrize(
    ("cuda", "driver", "index", "word"),
    [
        (None, "12.8", "cu128", "built without CUDA"),
        (None, "13.1", "cu130", "built without CUDA"),
        (None, "13.0", "cu130", "built without CUDA"),
        (None, "12.0", "cu126", "built without CUDA"),
        ("13.0", "12.4", "cu126", "runs CUDA up to 12.4"),
        ("13.0", "11.8", "cu118", "runs CUDA up to 11.8"),
        ("12.6", "10.2", None, "A newer driver is needed"),
        ("12.9", "12.4", "", ""),  # minor versions are compatible
    ],
)
def test_pytorch_must_fit_the_driver(machine, cuda, driver, index, word):
    found = machine(gpu={**GPU, "driver_cuda": driver}, cuda=cuda)["torch"]
    if index == "":
        assert found["state"] == "2.6.0" and "for CUDA 12.9" in found["meaning"] and found["fix"] is None
        return
    assert found["state"] == "mismatched" and word in found["meaning"]
    assert found["fix"] is None if index is None else found["fix"].endswith(f"/whl/{index}")


def test_the_cuda_half_must_know_the_gpu(machine):
    old = {**GPU, "compute_capability": "7.5"}
    assert machine(gpu=GPU)["extension, CUDA half"]["state"] == "ready", "code for 8.0 runs on 8.6"
    found = machine(gpu=old, nvcc=True)["extension, CUDA half"]
    assert found["state"] == "mismatched" and "CUDA_ARCHS=75" in found["fix"] and "'/src/regkd edge'" in found["fix"]
    without = {"has_cuda": False, "cuda_architectures": ""}
    assert machine(gpu=GPU, core=without, nvcc=True)["extension, CUDA half"]["fix"].startswith(
        f"CUDACXX=/opt/cuda/bin/nvcc {PIP}"
    )
    lacking = machine(gpu=GPU, core=without)["extension, CUDA half"]
    assert lacking["state"] == "absent" and lacking["fix"] is None and "nvcc" in lacking["meaning"]
    assert machine(core=without)["extension, CUDA half"]["state"] == "not needed"


def test_a_jetson_gets_its_libraries_from_its_system(machine, monkeypatch):
    monkeypatch.setattr(doctor.sys, "prefix", "/home/me/my env")
    found = machine(gpu=GPU, jetson=True, arch="aarch64", cuda=None)
    assert found["tensorrt"]["fix"] == "python3 -m venv --system-site-packages '/home/me/my env'"
    assert found["torch"]["fix"] is None and "JetPack" in found["torch"]["meaning"]
    assert found["tensorrt-rtx"]["state"] == "not needed"
    monkeypatch.setattr(doctor.sys, "prefix", doctor.sys.base_prefix)
    assert machine(gpu=GPU, jetson=True)["tensorrt"]["fix"] == "sudo apt-get install python3-libnvinfer"
    elsewhere = machine(gpu=GPU)["tensorrt"]["fix"]
    assert shlex.split(elsewhere)[-2:] == ["tensorrt<12,>=10.3", "cuda-python>=12"]


def test_two_builds_of_onnx_runtime_are_told(machine):
    found = machine(versions={"onnxruntime": "1.20.0", "onnxruntime-gpu": "1.20.0"})["onnxruntime"]
    assert found["state"] == "mismatched" and "--force-reinstall" in found["fix"]


@pytest.mark.parametrize(
    ("version", "wanted", "fits"),
    [
        ("2.13.0+cpu", "torch>=2.4", True),
        ("2.4", "torch>=2.4.0", True),
        ("2.10", "x<2.9", False),
        ("12.0.1", "tensorrt<12,>=10.3", False),
        ("10.3.0.26", "tensorrt<12,>=10.3", True),
        ("1.0", "x", True),
        ("1.5rc1", "x==1.5", True),
    ],
)
def test_a_version_is_compared_by_its_numbers(version, wanted, fits):
    assert doctor._within(version, wanted) is fits


def test_the_ranges_are_those_of_the_package():
    found = doctor._ranges()
    if not found:
        pytest.skip("the package is not installed: it has no metadata")
    assert found["torch"].startswith("torch>=") and found["numpy"].startswith("numpy>=")
    assert set(doctor._LIBRARIES) <= set(found)


def test_the_cuda_of_torch_is_read_without_importing_it(tmp_path, monkeypatch):
    for written, cuda in (("cuda: Optional[str] = '12.6'\n", "12.6"), ("cuda = None\nhip = '6.0'\n", None)):
        (tmp_path / "version.py").write_text(f"__version__ = '2'\n{written}")
        origin = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
        monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: origin)
        assert doctor._cuda_of_torch() == cuda


def test_a_python_of_the_system_is_told_that_it_may_be_changed(tmp_path, monkeypatch):
    (tmp_path / "EXTERNALLY-MANAGED").write_text("")
    monkeypatch.setattr(doctor.sysconfig, "get_path", lambda name: str(tmp_path))
    assert "--break-system-packages" not in (doctor._pip("x") or ""), "an environment of its own"
    monkeypatch.setattr(doctor.sys, "prefix", doctor.sys.base_prefix)
    assert "--break-system-packages x" in (doctor._pip("x") or "")


def test_the_examination_leaves_the_process_as_it_was():
    words = (
        "from regkd_edge import doctor; import sys; doctor.findings();"
        "import setuptools, distutils.core; print('_distutils' in distutils.core.__file__)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", words], capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr[-800:]
