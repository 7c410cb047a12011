"""One C99 header instead of an engine: it compiles without a warning where the compiler is strict, and gives the same
answers.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess

import numpy as np
import pytest
from graphs import rows, write_mlp
from native_reference import check_answers

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")

from regkd_edge.engines.native import BACKEND, write_c_header
from regkd_edge.engines.native.file import ACTIVATIONS, Operation, Program, from_bytes, to_bytes
from regkd_edge.engines.native.header import header_of
from regkd_edge.errors import GraphError, UserError
from regkd_edge.quantization import quantize_layers

STRICT = [
    "-std=c99",
    "-pedantic",
    "-Wall",
    "-Wextra",
    "-Wconversion",
    "-Wdouble-promotion",
    "-Wshadow",
    "-Werror",
    "-ffreestanding",
    "-O2",
]


def compiled(folder, text, prefix="regkd"):
    """The header's infer as a function of rows."""
    (folder / "engine.h").write_text(text)
    (folder / "engine.c").write_text(f'#define {prefix.upper()}_IMPLEMENTATION\n#include "engine.h"\n')
    (folder / "user.c").write_text(
        '#include "engine.h"\n#include "engine.h"\nextern int used; int used = REGKD_INPUTS;\n'
        if prefix == "regkd"
        else ""
    )
    sources = [folder / "engine.c", folder / "user.c"]
    objects = []
    for source in sources:
        done = subprocess.run(
            [
                "gcc",
                *STRICT,
                *(["-Wno-pedantic"] if not source.read_text() else []),
                "-fPIC",
                "-c",
                source,
                "-o",
                source.with_suffix(".o"),
            ],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        objects.append(source.with_suffix(".o"))
    subprocess.run(["gcc", "-shared", *objects, "-o", folder / "engine.so", "-lm"], check=True)
    infer = getattr(ctypes.CDLL(str(folder / "engine.so")), f"{prefix}_infer")
    pointer = ctypes.POINTER(ctypes.c_float)
    infer.argtypes = [pointer, pointer]

    def answers(x, outputs):
        x, y = np.ascontiguousarray(x, np.float32), np.full((len(x), outputs), -7, np.float32)
        codes = [infer(x[i].ctypes.data_as(pointer), y[i].ctypes.data_as(pointer)) for i in range(len(x))]
        return y, codes

    return answers


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_gives_the_answers_of_the_engine(tmp_path, activation):
    rng = np.random.default_rng(0)
    normal = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    alpha = {"leaky_relu": 0.01, "elu": 1.0}.get(activation, 0.0)
    program = Program(4, 2, [
        Operation("subtract", 4, values=normal(4)), Operation("divide", 4, values=np.full(4, 0.7, np.float32)),
        Operation("clip", 4, values=np.array([-2, 3], np.float32)),
        Operation("dense", 20, values=normal(20, 4), bias=normal(20)), Operation("activation", 20, activation, alpha),
        Operation("quantize", 20, number=0.05),
        Operation("dense_int8", 2, number=0.0437, codes=rng.integers(-128, 128, (2, 20)).astype(np.int8),
        scale=np.array([0.01, 0.02], np.float32), bias=normal(2)),
        Operation("activation", 2, activation, alpha), Operation("multiply", 2, values=normal(2)),
        Operation("add", 2, values=normal(2)),
    ])  # fmt: skip
    program = from_bytes(to_bytes(program))
    x = rows(d=4)
    y, codes = compiled(tmp_path, header_of(program, "regkd", "a test"))(x, 2)
    assert set(codes) == {0}
    # plain sums of at most 20 products and the functions of libm: float32 error, a little more than the library's
    check_answers(program, x, y, tolerance=2e-6)


@pytest.mark.parametrize("precision", ["fp32", "int8", "int8-split"])
def test_header_of_a_built_engine(tmp_path, precision):
    source, x = write_mlp(tmp_path / "s.onnx", (13, 64, 64, 1), "Tanh"), rows(d=13)
    if precision != "fp32":
        source = tmp_path / "q.onnx"
        quantize_layers(tmp_path / "s.onnx", source, x, precision, method="minmax", corrections=())
    BACKEND.build(source, tmp_path / "engine")
    text = write_c_header(tmp_path / "engine", tmp_path / "model.h", prefix="pump").read_text()
    assert "malloc" not in text and "#define PUMP_INPUTS 13" in text and source.name in text
    # A low code at a tie may be one step off, which is a 254th of a step of INT8.
    tolerance = 2e-4 if precision == "int8-split" else 2e-6
    y, codes = compiled(tmp_path, text, "pump")(x, 1)
    assert set(codes) == {0}
    check_answers(from_bytes((tmp_path / "engine" / "engine.rkdn").read_bytes()), x, y, tolerance)


def test_inputs_that_are_not_finite_are_reported_and_leave_the_outputs(tmp_path):
    program = Program(3, 1, [Operation("dense", 1, values=np.ones((1, 3), np.float32))])
    answers = compiled(tmp_path, header_of(program, "regkd", "a test"))
    y, codes = answers(np.array([[1, 2, 3], [np.nan, 0, 0], [0, 0, np.inf]]), 1)
    assert codes == [0, 1, 3]
    assert y.tolist() == [[6], [-7], [-7]]


def test_names_cannot_leave_their_comment(tmp_path):
    program = Program(1, 1, [Operation("dense", 1, values=np.ones((1, 1), np.float32))], ["a */ int evil; /*", "b\n*/"])
    text = header_of(program, "regkd", "x */ y.onnx")
    assert compiled(tmp_path, text)(np.ones((1, 1)), 1)[0].tolist() == [[1]]
    assert text.count("*/") == text.count("/*")


def test_what_cannot_be_written_is_refused(tmp_path):
    BACKEND.build(write_mlp(tmp_path / "s.onnx"), tmp_path / "engine")
    with pytest.raises(UserError, match="not a C identifier"):
        write_c_header(tmp_path / "engine", tmp_path / "m.h", prefix="2nd")
    with pytest.raises(GraphError, match="no engine"):
        write_c_header(tmp_path / "absent", tmp_path / "m.h")
    assert not (tmp_path / "m.h").exists()
