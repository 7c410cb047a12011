"""The TensorRT back end against NVIDIA's real bindings of the versions that Jetsons and servers have, without a GPU.

What is proved: every name and every call exists in that version, types are asked for as it wants them, and the runner
moves the right bytes. What is not: that a plan is built or fast; that needs a device.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from graphs import rows, write_mlp

from regkd_edge.engines import get_backend, gpu
from regkd_edge.errors import NotAvailable

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
VERSIONS = ("10.3", "10.13", "10.16", "11.4")


@pytest.fixture
def graph(tmp_path):
    pytest.importorskip("onnx")
    return write_mlp(tmp_path / "student.fp32.onnx", widths=(3, 8, 1))


@pytest.fixture
def contract(tensorrt_bindings, libcuda, graph, tmp_path):
    def run(version, plant=""):
        variables = tensorrt_bindings(version)
        path = os.pathsep.join([variables["PYTHONPATH"], str(ROOT)])
        environment = {**os.environ, **variables, "PYTHONPATH": path}
        command = [sys.executable, HERE / "tensorrt_contract.py", graph, tmp_path, libcuda, plant]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.mark.parametrize("version", VERSIONS)
def test_every_name_and_call_exists(contract, version):
    found = contract(version)
    assert found["failure"] is None
    assert found["version"].startswith(version)
    assert found["missing_names"] == [] and found["wrong_calls"] == []
    assert found["missing"] is None  # bindings and (stub) driver are there

    # types: asked for by the graph; below 10.12 allowed by flags, from 10.12 on by the network alone
    if version == "10.3":
        assert found["network_flags"] == 0 and found["flags_set"][:2] == ["FP16", "INT8"]
        assert "hints (FP16, INT8 allowed)" in found["notes"][0]
        assert "hints (BF16 allowed)" in found["bf16"][0] and found["bf16_flag"]
        assert "hints (BF16, FP16, FP8 allowed)" in found["fp8"][0]
    else:
        assert found["network_flags"] == 1 << found["strongly_typed"]
        assert not {"FP16", "INT8"} & set(found["flags_set"])
    assert found["strongly_typed"] == (0 if version.startswith("11") else 1)  # why numbers are never written

    assert found["batches"] == [1, 8, 8] and found["profile"] == [[[1, 3], [8, 3], [8, 3]]]
    assert found["answers"] == [[3, 12, 21, 30], [3], [6, 15, 24, 33]]
    assert [text.split(":")[0] for text in found["refused"]] == ["DataError"] * 3
    assert "[1..8, 3], got float32 [9, 3]" in found["refused"][0]
    assert found["live"] == 0  # every buffer, stream and hold of the context was given back
    assert found["untrusted"].startswith("RunFolderError") and "executes code" in found["untrusted"]
    assert found["host_code"] is True
    assert found["precision"] == "int8" and found["executed"] == {"int8": 1.0}  # by the network and by the inspector
    assert (
        found["other_precision"].startswith("GraphError")
        and "'layers.0' is int8 in the graph and runs in fp16" in found["other_precision"]
    )
    assert found["other_written"] is False

    # CUDA graph: captured once a batch size after one plain call each, then launched; the answers are those without.
    # Each has a context of its own: one for the runner without graphs, one for each of the two batch sizes.
    assert found["contexts"] == 1 + 2
    assert found["by_graph"] == [[3, 12, 21, 30], [6, 15, 24, 33], [3], [3, 12, 21, 30]]
    assert found["launches"] == 5 and found["enqueued"] == 3 + 1 + 2 * 2
    assert (
        found["gpu_nanoseconds"] == found["gpu_nanoseconds_by_graph"] == 2e6
    )  # two copies of the stub, a millisecond each

    assert found["cleared"] == ["TF32"]  # FP32 means FP32
    assert {"REFIT", "STRIP_PLAN", "REFIT_IDENTICAL", "VERSION_COMPATIBLE", "GPU_FALLBACK"} <= set(found["all_flags"])
    assert found["refitted"] == ["student.fp32.onnx"] and found["no_weights"].startswith("RunFolderError")
    assert found["dla"] == ["DLA", 1]
    assert "has 2 DLA cores, core 2" in found["dla_refused"][0] and "one batch size only" in found["dla_refused"][1]
    assert (
        found["parser_error"].startswith("GraphError")
        and "node 'layers.1' (Gemm): no such thing" in found["parser_error"]
    )


def test_planted_use_of_a_removed_flag_fails_where_it_was_removed(contract):
    assert contract("10.16", "flag")["failure"] is None
    assert "FP16" in contract("11.4", "flag")["failure"]


def test_planted_use_of_a_removed_property_fails_where_it_was_removed(contract):
    assert contract("10.3", "property")["failure"] is None
    assert "int8_calibrator" in contract("11.4", "property")["failure"]


def test_planted_name_in_code_that_never_runs_is_found_too(contract):
    assert contract("10.13", "source")["missing_names"] == []
    assert contract("11.4", "source")["missing_names"] == ["trt.BuilderFlag.INT8"]


def test_planted_call_with_another_signature_is_found(contract):
    wrong = contract("11.4", "call")["wrong_calls"]
    assert wrong and all("IBuilderConfig.set_memory_pool_limit with 3 arguments" in line for line in wrong)


# -- without TensorRT or a GPU ------------------------------------------------------------------------------------


@pytest.fixture
def stub_driver(libcuda, monkeypatch):
    import ctypes

    monkeypatch.setattr(gpu, "_LIBRARY", str(libcuda))
    library = ctypes.CDLL(str(libcuda))
    settings = {name: ctypes.c_int.in_dll(library, name) for name in ("devices", "fail_init", "live")}
    yield settings
    settings["devices"].value, settings["fail_init"].value = 1, 0


def test_missing_tensorrt_is_named(monkeypatch, graph, tmp_path):
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # what an absent package does
    assert "TensorRT is not installed" in get_backend("tensorrt").missing()
    with pytest.raises(NotAvailable, match=r"TensorRT is not installed.*Jetson"):
        get_backend("tensorrt").build(graph, tmp_path / "engine")
    with pytest.raises(NotAvailable, match="cannot be used here: TensorRT is not installed"):
        get_backend("tensorrt").require()


@pytest.mark.parametrize("version", ["8.6.1", "10.2.0", "12.0.1"])
def test_unknown_versions_are_refused_with_both_numbers(monkeypatch, version):
    import types

    module = types.ModuleType("tensorrt")
    module.__version__ = version
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    assert get_backend("tensorrt").missing() == f"TensorRT {version} is installed, expected 10.3 to 11.x."


def test_missing_driver_is_named(monkeypatch):
    monkeypatch.setattr(gpu, "_LIBRARY", "libcuda-that-is-not-there.so.1")
    assert gpu.missing_gpu() == "there is no NVIDIA driver: libcuda-that-is-not-there.so.1 cannot be loaded."


def test_driver_without_a_device_is_named(stub_driver):
    stub_driver["devices"].value = 0
    assert gpu.missing_gpu() == "an NVIDIA driver is installed but there is no GPU: it counts 0 devices."


def test_sick_driver_is_named_with_its_error(stub_driver):
    stub_driver["fail_init"].value = 999
    assert gpu.missing_gpu() == "the NVIDIA driver returned error 999 (unknown failure) from cuInit."


def test_device_is_described(stub_driver):
    assert gpu.missing_gpu() is None
    assert gpu.Driver().device(0) == {"gpu": "Stub GPU", "compute_capability": "8.7", "driver_cuda": "13.2"}


def test_buffer_copies_there_and_back(stub_driver):
    driver = gpu.Driver()
    stream = driver.stream()
    buffer = gpu.Buffer(driver, (3, 2))
    buffer.host[...] = rows(3, 2)
    buffer.upload(stream)
    kept = buffer.host.copy()
    buffer.host[...] = 0
    buffer.download(stream)
    np.testing.assert_array_equal(buffer.host, kept)
    before = stub_driver["live"].value
    buffer.free()
    assert stub_driver["live"].value == before - 2
