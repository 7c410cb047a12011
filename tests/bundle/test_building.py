"""The native engine of a bundle is run by the native back end, whatever its manifest says."""

from __future__ import annotations

import json

import pytest

from regkd_edge.bundle.building import build_here
from regkd_edge.errors import RunFolderError
from regkd_edge.run import RunFolder

PORT = {"name": "x", "shape": ["batch", 2], "dtype": "float32"}


def with_manifest(folder, backend):
    run = RunFolder(folder)
    path = run.file("engines", "native.fp32", "manifest.json")
    path.parent.mkdir(parents=True)
    manifest = {
        "format": 1, "backend": backend, "precision": "fp32", "engine": "engine.rkdn", "engine_sha256": "0" * 64,
        "size_bytes": 1, "source": "g.onnx", "source_sha256": "0" * 64, "batch": None, "max_batch": None,
        "inputs": [PORT], "outputs": [PORT], "executed": None, "options": {"version_compatible": True},
    }  # fmt: skip
    path.write_text(json.dumps(manifest))
    return run


CONTENT = {"files": {"engines/native.fp32/manifest.json": {}}, "graphs": {"fp32": {}}}


@pytest.mark.parametrize("backend", ["onnxruntime", "tensorrt", "tensorrt-rtx", "../native", ""])
def test_a_native_engine_that_names_another_back_end_is_refused(tmp_path, backend):
    with pytest.raises(RunFolderError, match="names the back end .* expected 'native'"):
        build_here(with_manifest(tmp_path, backend), CONTENT, "native", "fp32", 1)


def test_a_native_engine_is_taken_as_it_is(tmp_path):
    assert build_here(with_manifest(tmp_path, "native"), CONTENT, "native", "fp32", 1) is None
