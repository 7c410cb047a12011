"""Convolutions and recurrent units in the native back end and in the C header: what their graph says, in FP32 and INT8,
on every instruction set.
"""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest
from graphs import write_student
from native_reference import check_answers

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("regkd_edge._runtime", reason="the extension is not built")

from test_native_engine import LEVELS, output_step
from test_native_header import compiled

from regkd_edge.engines.native import BACKEND, write_c_header
from regkd_edge.engines.native.file import from_bytes, to_bytes
from regkd_edge.errors import GraphError
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.quantization import quantize_layers

# Odd sizes, strides, one and many channels, both layouts, widths around those of registers, pooled and not.
NETWORKS = [
    ("conv1d:5x3:relu", (1, 11)),
    ("conv1d:16x5/2,32x3/2,gap,16:tanh", (3, 64)),
    ("conv1d:24d7/3,flat:silu", (20, 33)),
    ("conv1d:4x3,flat,9:gelu:channels-last", (17, 5)),
    ("conv2d:8x3/2,16d3,gap:relu", (1, 8, 8)),
    ("conv2d:6x5/3,70d3/2,flat,40:tanh", (3, 13, 10)),
    ("conv2d:7x1,flat:elu:channels-last", (4, 5, 2)),
    ("gru:7", (12, 3)),
    ("gru:16,33", (20, 5)),
    ("gru:20:channels-first", (4, 9)),
]


def program_in(folder):
    return from_bytes((folder / "engine.rkdn").read_bytes())


@pytest.mark.parametrize(("text", "shape"), NETWORKS)
@pytest.mark.parametrize("tied", [True, False], ids=["channels", "columns"])
def test_fp32_engine_equals_the_graph_on_every_level(tmp_path, text, shape, tied):
    x = write_student(text, shape, tmp_path / "s.onnx", tied=tied)
    manifest = BACKEND.build(tmp_path / "s.onnx", tmp_path / "engine")
    assert (manifest.precision, manifest.executed) == ("fp32", {"fp32": 1.0})
    want = reference_outputs(tmp_path / "s.onnx", x)
    program = program_in(tmp_path / "engine")
    check_answers(program, x[:8], want[:8], tolerance=2e-6)  # the program is the graph
    assert program.widest >= program.inputs and to_bytes(program) == (tmp_path / "engine" / "engine.rkdn").read_bytes()
    for level in LEVELS:
        got = BACKEND.load(tmp_path / "engine", level=level).infer(x)
        assert np.abs(got - want).max() <= 2e-6 * np.abs(want).max(), level
        one = np.concatenate([BACKEND.load(tmp_path / "engine", level=level).infer(x[i : i + 1]) for i in range(5)])
        assert np.array_equal(one, got[:5]), level


@pytest.mark.parametrize(("text", "shape"), NETWORKS)
@pytest.mark.parametrize("precision", ["int8", "int8-split"])
def test_int8_engine_equals_the_oracle(tmp_path, text, shape, precision):
    """As for dense layers: a value within float32 error of a tie may be rounded the other way."""
    x = write_student(text, shape, tmp_path / "s.onnx", tied=True)
    quantize_layers(tmp_path / "s.onnx", tmp_path / "q.onnx", x, precision, method="minmax", corrections=())
    manifest = BACKEND.build(tmp_path / "q.onnx", tmp_path / "engine")
    if not text.startswith("gru"):
        assert (manifest.precision, manifest.executed) == ("int8", {"int8": 1.0})
    oracle = reference_outputs(tmp_path / "q.onnx", x)
    program = program_in(tmp_path / "engine")
    for level in LEVELS:
        answers = BACKEND.load(tmp_path / "engine", level=level).infer(x)
        assert (np.abs(answers - oracle) <= output_step(oracle)).all(), level
        near = np.abs(answers - oracle).max(1) <= 1e-4 * np.abs(oracle).max()
        assert near.mean() > 0.5, level
        check_answers(program, x[near][:4], answers[near][:4], tolerance=2e-4, share=1.0)


def test_int8_engines_agree_to_float32_rounding_on_every_level(tmp_path):
    x = write_student("conv2d:8x3/2,16d3,flat,8:relu", (2, 9, 7), tmp_path / "s.onnx", tied=True)
    quantize_layers(tmp_path / "s.onnx", tmp_path / "q.onnx", x, "int8", method="minmax", corrections=())
    BACKEND.build(tmp_path / "q.onnx", tmp_path / "engine")
    answers = [BACKEND.load(tmp_path / "engine", level=level).infer(x) for level in LEVELS]
    # The depthwise sums are exact, and so are those of the layers; scale and bias follow in one or two roundings.
    for a, b in itertools.combinations(answers, 2):
        assert (np.abs(a - b) <= output_step(a)).all() and (np.abs(a - b).max(1) < 1e-5 * np.abs(a).max()).mean() > 0.8


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.parametrize(("text", "shape"), NETWORKS)
@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-split"])
def test_header_gives_the_answers_of_the_engine(tmp_path, text, shape, precision):
    x, source = write_student(text, shape, tmp_path / "s.onnx", tied=True)[:20], tmp_path / "s.onnx"
    if precision != "fp32":
        source = tmp_path / "q.onnx"
        quantize_layers(tmp_path / "s.onnx", source, x, precision, method="minmax", corrections=())
    BACKEND.build(source, tmp_path / "engine")
    header = write_c_header(tmp_path / "engine", tmp_path / "model.h").read_text()
    y, codes = compiled(tmp_path, header)(x, 2)
    assert set(codes) == {0}
    want = BACKEND.load(tmp_path / "engine").infer(x)
    near = np.abs(y - want).max(1) <= 2e-4 * np.abs(want).max()
    assert near.mean() > 0.5 and (precision != "fp32" or near.all())
    assert (np.abs(y - want) <= (output_step(want) if precision != "fp32" else np.inf)).all()


def test_an_engine_takes_rows_in_their_shape(tmp_path):
    import regkd_edge as rk

    x = write_student("conv2d:6x3,gap:relu", (2, 5, 4), tmp_path / "s.onnx")
    engine = rk.build(tmp_path / "s.onnx", backend="native")
    assert engine.input_shape == (2, 5, 4)
    assert np.array_equal(engine.predict(x.reshape(-1, 2, 5, 4)), engine.predict(x))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dilations": [2]}, "dilations"),
        ({"auto_pad": "SAME_UPPER"}, "pads that are not numbers"),
        ({"group": 3}, "3 groups of 6 channels"),
    ],
)
def test_other_convolutions_are_refused_by_name(tmp_path, change, words):
    import onnx

    write_student("conv1d:6x3,6x3:relu", (1, 12), tmp_path / "s.onnx", tied=True)
    model = onnx.load(tmp_path / "s.onnx")
    node = [n for n in model.graph.node if n.op_type == "Conv"][1]
    kept = [a for a in node.attribute if a.name not in change and not ("auto_pad" in change and a.name == "pads")]
    del node.attribute[:]
    node.attribute.extend([*kept, *(onnx.helper.make_attribute(k, v) for k, v in change.items())])
    onnx.save(model, tmp_path / "odd.onnx")
    why = BACKEND.refuses(tmp_path / "odd.onnx")
    assert words in why and "block1/conv" in why


@pytest.mark.parametrize("text", ["conv2d:4d3,gap:relu", "gru:5"])
def test_damaged_files_are_refused_with_a_place(tmp_path, text):
    """Every byte of the operations set to other values: an engine that loads answers, and nothing else happens."""
    from test_native_engine import with_checksum

    from regkd_edge import _runtime as runtime

    write_student(text, (2, 6, 6) if text.startswith("conv2d") else (6, 2), tmp_path / "s.onnx", tied=True)
    BACKEND.build(tmp_path / "s.onnx", tmp_path / "engine")
    content = (tmp_path / "engine" / "engine.rkdn").read_bytes()
    rng, refused = np.random.default_rng(0), 0
    for at in rng.choice(np.arange(40, len(content)), 400, replace=False):
        body = bytearray(content)
        body[at] = rng.integers(0, 256)
        try:
            engine = runtime.Engine(with_checksum(body), None)
            engine.infer(np.zeros((1, engine.inputs), np.float32))
        except ValueError as error:
            refused += 1
            assert str(error).endswith(".") and len(str(error)) < 200
        try:
            from_bytes(with_checksum(body))
        except GraphError as error:
            assert "damaged" in str(error) or "version" in str(error)
    assert 0 < refused < 400
