"""Specs that nobody chose: the native engine and the C header answer as ONNX Runtime's oracle does."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from graphs import write_student
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("regkd_edge._runtime", reason="the extension is not built")

from test_native_engine import LEVELS, output_step
from test_native_header import compiled

from regkd_edge.engines.native import BACKEND, write_c_header
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.models.mlp import ACTIVATIONS
from regkd_edge.quantization import quantize_layers

WIDTHS = st.lists(st.integers(1, 20), max_size=2)
NAMES = st.sampled_from(sorted(ACTIVATIONS))


@st.composite
def students(draw):
    """``(spec, shape, outputs)``: strides above kernels, sizes of 1, multipliers of channels, every activation."""
    family = draw(st.sampled_from(["conv1d", "conv2d", "gru", "mlp"]))
    o, activation = draw(st.integers(1, 3)), draw(NAMES)
    if family == "mlp":
        widths = draw(st.lists(st.integers(1, 40), min_size=1, max_size=3))
        return f"mlp:{','.join(map(str, widths))}:{activation}", (draw(st.integers(1, 20)),), o
    if family == "gru":
        units = draw(st.lists(st.integers(1, 18), min_size=1, max_size=2))
        layout = draw(st.sampled_from(["", ":channels-first"]))
        times, features = draw(st.integers(2, 9)), draw(st.integers(1, 9))
        return f"gru:{','.join(map(str, units))}{layout}", (features, times) if layout else (times, features), o
    block = st.builds(
        "{}{}{}/{}".format, st.integers(1, 20), st.sampled_from("xd"), st.sampled_from([1, 3, 5, 7]), st.integers(1, 5)
    )
    elements = [*draw(st.lists(block, min_size=1, max_size=3)), draw(st.sampled_from(["gap", "flat"]))]
    layout = draw(st.sampled_from(["", ":channels-last"]))
    sizes = [draw(st.integers(1, 5)), *(draw(st.integers(1, 9)) for _ in range(1 if family == "conv1d" else 2))]
    shape = (*sizes[1:], sizes[0]) if layout else tuple(sizes)
    return f"{family}:{','.join([*elements, *map(str, draw(WIDTHS))])}:{activation}{layout}", shape, o


def any_spec(count):
    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=slow)


def close(got, want, tolerance):
    # Of what an output adds up: where its terms cancel, their rounding stays.
    return np.abs(got - want).max() <= tolerance * max(np.abs(want).max(), 1e-3)


@any_spec(40)
@given(students(), st.integers(0, 99))
def test_fp32_is_the_graph(student, seed):
    text, shape, o = student
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        x = write_student(text, shape, folder / "s.onnx", o=o, seed=seed)[:20]
        want = reference_outputs(folder / "s.onnx", x)
        BACKEND.build(folder / "s.onnx", folder / "engine")
        for level in LEVELS:
            assert close(BACKEND.load(folder / "engine", level=level).infer(x), want, 1e-5), level


@any_spec(40)
@given(students(), st.integers(0, 99), st.sampled_from(["int8", "int8-split"]))
def test_int8_is_the_graph(student, seed, precision):
    """A value within float32 error of a rounding tie may take the other code, and moves an output by a step or two."""
    text, shape, o = student
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        x = write_student(text, shape, folder / "s.onnx", o=o, seed=seed)
        quantize_layers(folder / "s.onnx", folder / "q.onnx", x, precision, method="minmax", corrections=())
        oracle = reference_outputs(folder / "q.onnx", x)
        BACKEND.build(folder / "q.onnx", folder / "engine")
        for level in LEVELS:
            got = BACKEND.load(folder / "engine", level=level).infer(x)
            away = np.abs(got - oracle)
            assert (away <= 2 * output_step(oracle) + 1e-6).all() and (
                away.max(1) <= 1e-4 * np.abs(oracle).max()
            ).mean() > 0.5


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@any_spec(6)
@given(students(), st.integers(0, 99), st.sampled_from(["fp32", "int8"]))
def test_the_header_answers_as_the_engine(student, seed, precision):
    text, shape, o = student
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        x, source = write_student(text, shape, folder / "s.onnx", o=o, seed=seed)[:20], folder / "s.onnx"
        if precision != "fp32":
            source = folder / "q.onnx"
            quantize_layers(folder / "s.onnx", source, x, precision, method="minmax", corrections=())
        BACKEND.build(source, folder / "engine")
        header = write_c_header(folder / "engine", folder / "model.h").read_text()
        y, codes = compiled(folder, header)(x, o)
        want = BACKEND.load(folder / "engine").infer(x)
        assert set(codes) == {0}
        if precision == "fp32":
            assert close(y, want, 1e-4)
        else:
            assert (np.abs(y - want) <= 2 * output_step(want) + 1e-5).all()
