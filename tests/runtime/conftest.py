"""Engines and builds that the tests of the C++ library share."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from graphs import rows, write_mlp, write_student

sys.path.insert(0, str(Path(__file__).parent))

from runtime_build import SIGNALS, SOURCE, checked, cmake_build, tool


@pytest.fixture(scope="session")
def engines(tmp_path_factory):
    """Folder with engines ``fp32`` and ``int8`` of two students [5 -> 2] with named columns, and their rows."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    import onnx

    from regkd_edge.engines.native import BACKEND
    from regkd_edge.quantization import quantize_int8

    folder = tmp_path_factory.mktemp("engines")
    x = rows(n=64)
    write_mlp(folder / "s.onnx", (5, 33, 20, 2), "Tanh", mean=np.arange(5), scale=np.arange(1, 6))
    model = onnx.load(folder / "s.onnx")
    names = {
        "regkd.feature_names": '["temp, in", "p1", "p2", "flow \\"A\\"", "rpm"]',
        "regkd.target_names": '["life", "wear, mm"]',
    }
    onnx.helper.set_model_props(model, names)
    onnx.save(model, folder / "s.onnx")
    quantize_int8(folder / "s.onnx", folder / "q.onnx", x, method="minmax", corrections=())
    BACKEND.build(folder / "s.onnx", folder / "fp32")
    BACKEND.build(folder / "q.onnx", folder / "int8")
    header = '"temp, in",p1,p2,"flow ""A""",rpm'
    (folder / "rows.csv").write_text("\n".join([header, *(",".join(map(repr, map(float, row))) for row in x)]) + "\n")
    np.save(folder / "rows.npy", x)
    return folder


@pytest.fixture(scope="session")
def signal_engines(tmp_path_factory):
    """Engines in INT8 of a convolution and of recurrent units, each with rows.csv and rows.npy beside its file."""
    pytest.importorskip("torch")
    from regkd_edge.engines.native import BACKEND
    from regkd_edge.quantization import quantize_int8

    folder = tmp_path_factory.mktemp("signals")
    for name, (text, shape) in SIGNALS.items():
        x = write_student(text, shape, folder / "s.onnx")[:20]
        quantize_int8(folder / "s.onnx", folder / "q.onnx", x)
        BACKEND.build(folder / "q.onnx", folder / name)
        header = ",".join(f"x{i}" for i in range(x.shape[1]))
        rows = [",".join(map(repr, map(float, row))) for row in x]
        (folder / name / "rows.csv").write_text("\n".join([header, *rows]) + "\n")
        np.save(folder / name / "rows.npy", x)
    return folder


@pytest.fixture(scope="session")
def installed(tmp_path_factory):
    """Prefix into which the library was built and installed."""
    folder = tmp_path_factory.mktemp("runtime")
    build = cmake_build(
        SOURCE,
        folder / "build",
        f"-DCMAKE_INSTALL_PREFIX={folder / 'prefix'}",
        "-DREGKD_RUNTIME_TENSORRT=OFF",
        "-DCMAKE_CXX_FLAGS=-Werror",
    )
    checked(tool("cmake"), "--install", build)
    return folder / "prefix"
