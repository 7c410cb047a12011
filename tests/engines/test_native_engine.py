"""The native back end: the same numbers as the graph means, on every instruction set, and nothing runs unchecked."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np
import pytest
from graphs import ACTIVATIONS, rows, write_mlp
from native_reference import check_answers

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
runtime = pytest.importorskip("regkd_edge._runtime", reason="the extension is not built")

from regkd_edge.engines import get_backend, load_runner, read_manifest
from regkd_edge.engines.native import BACKEND
from regkd_edge.engines.native.file import from_bytes, to_bytes
from regkd_edge.errors import DataError, GraphError, RunFolderError, UserError
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.quantization import quantize_fp16, quantize_int8

PLAIN = {"method": "minmax", "corrections": ()}  # quick: how well ranges are chosen is no concern of this back end
WIDTHS = [(5, 16, 8, 1), (13, 64, 64, 1), (7, 33, 20, 3), (3, 1, 130, 5), (1, 4, 4, 4), (100, 17, 2)]


def available_levels() -> list[str]:
    """The instruction sets that this build and this processor have."""
    tiny = to_bytes(from_bytes(TINY))
    found = []
    for level in ("sse2", "avx2", "avx512", "avx512-vnni", "neon", "neon-dotprod"):
        try:
            found.append(runtime.Engine(tiny, level).level)
        except ValueError:
            continue
    return found


def with_checksum(body: bytes) -> bytes:
    """A file whose size and checksum are right whatever else it holds."""
    body = bytearray(body)
    body[16:20] = struct.pack("<I", len(body))
    body[12:16] = struct.pack("<I", zlib.crc32(bytes(body[16:])))
    return bytes(body)


# One input, one output: y = x + 1.
TINY = with_checksum(
    b"\x89RKDN\r\n\x1a" + struct.pack("<IIIIIIII", 1, 0, 0, 1, 1, 1, 0, 0) + struct.pack("<IIIff", 1, 1, 0, 0.0, 1.0)
)
LEVELS = available_levels()


def scaled_mlp(path, widths, activation):
    """A student whose raw units are far from standard ones."""
    d, o = widths[0], widths[-1]
    mean, scale = np.linspace(-3, 50, d), np.linspace(0.1, 9, d)
    write_mlp(path, widths, activation, mean=mean, scale=scale, y_mean=np.full(o, 3.0), y_scale=np.full(o, 2.0))
    return path, rows(d=d, mean=mean, scale=scale)


def test_this_machine_has_a_level():
    assert LEVELS


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fp32_engine_equals_the_graph_on_every_level(tmp_path, activation, widths):
    source, x = scaled_mlp(tmp_path / "s.onnx", widths, activation)
    manifest = BACKEND.build(source, tmp_path / "engine")
    assert (manifest.precision, manifest.executed) == ("fp32", {"fp32": 1.0})
    want = reference_outputs(source, x)
    for level in LEVELS:
        got = BACKEND.load(tmp_path / "engine", level=level).infer(x)
        assert got.dtype == np.float32 and got.shape == want.shape
        assert np.abs(got - want).max() <= 1e-6 * np.abs(want).max(), level


@pytest.mark.parametrize("widths", WIDTHS, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_int8_engine_equals_the_oracle(tmp_path, activation, widths):
    """To float32 error in nearly all rows; in the others a value within float32 error of a rounding tie explains the
    step.
    """
    source, x = scaled_mlp(tmp_path / "s.onnx", widths, activation)
    quantize_int8(source, tmp_path / "q.onnx", x, **PLAIN)
    manifest = BACKEND.build(tmp_path / "q.onnx", tmp_path / "engine")
    assert (manifest.precision, manifest.executed) == ("int8", {"int8": 1.0})
    program = from_bytes((tmp_path / "engine" / "engine.rkdn").read_bytes())
    oracle = reference_outputs(tmp_path / "q.onnx", x)
    check_answers(program, x, oracle)  # the conversion: the program is the graph
    for level in LEVELS:
        answers = BACKEND.load(tmp_path / "engine", level=level).infer(x)
        check_answers(program, x, answers)  # the execution, with exact sums
        assert (np.abs(answers - oracle) <= output_step(oracle)).all()


def output_step(answers):  # [n, o] -> [o]
    """One step of an output in 8 bits: 254 of them span its range."""
    return (answers.max(axis=0) - answers.min(axis=0)) / 254


@pytest.mark.parametrize("activation", ["Relu", "Tanh", "Softplus"])
def test_of_many_int8_rows_each_is_within_one_output_step_of_the_oracle(tmp_path, activation):
    """ONNX Runtime sums dequantized floats, the engine codes exactly: a value that lies within float32 error of a tie
    may be rounded the other way, and what follows with it. That is seldom, and moves no output by more than a step."""
    source, _ = scaled_mlp(tmp_path / "s.onnx", (13, 64, 64, 2), activation)
    x = rows(n=20000, d=13, mean=np.linspace(-3, 50, 13), scale=np.linspace(0.1, 9, 13))
    quantize_int8(source, tmp_path / "q.onnx", x[:1000], **PLAIN)
    BACKEND.build(tmp_path / "q.onnx", tmp_path / "engine")
    oracle = reference_outputs(tmp_path / "q.onnx", x)
    difference = np.abs(BACKEND.load(tmp_path / "engine").infer(x) - oracle)
    other = (difference > 1e-6 * np.abs(oracle).max()).any(axis=1)
    assert 0 < other.sum() < 0.01 * len(x)
    assert (difference <= output_step(oracle)).all()


def test_int8_is_bit_equal_on_every_level_without_transcendental_functions(tmp_path):
    source, x = scaled_mlp(tmp_path / "s.onnx", (13, 64, 30, 2), "Relu")
    quantize_int8(source, tmp_path / "q.onnx", x, **PLAIN)
    BACKEND.build(tmp_path / "q.onnx", tmp_path / "engine")
    answers = [BACKEND.load(tmp_path / "engine", level=level).infer(x) for level in LEVELS]
    for answer in answers:
        np.testing.assert_array_equal(answer, answers[0])


def test_an_answer_does_not_depend_on_the_batch_or_on_earlier_rows(tmp_path):
    source, x = scaled_mlp(tmp_path / "s.onnx", (5, 33, 7, 2), "Tanh")
    BACKEND.build(source, tmp_path / "engine")
    runner = load_runner(tmp_path / "engine")
    whole = runner.infer(x)
    runner.infer(np.full((1, 5), 3e38, np.float32))  # overflows inside; nothing of it may stay behind
    single = np.concatenate([runner.infer(x[i : i + 1]) for i in range(len(x))])
    np.testing.assert_array_equal(single, whole)
    assert runner.infer(x[:0]).shape == (0, 2)


def test_rounding_is_to_even_and_saturates(tmp_path):
    """y = Q/DQ(x) with scale 2: ties go to the even step, and the ends are -128 and 127 steps."""
    content = with_checksum(
        b"\x89RKDN\r\n\x1a" + struct.pack("<IIIIIIII", 1, 0, 0, 1, 1, 1, 0, 0) + struct.pack("<IIIf", 8, 1, 0, 2.0)
    )
    x = np.array([[-300], [-256], [-5], [-3], [-1], [0], [1], [3], [5], [7], [254], [255], [1e30]], np.float32)
    want = np.array([[-256], [-256], [-4], [-4], [0], [0], [0], [4], [4], [8], [254], [254], [254]], np.float32)
    for level in LEVELS:
        np.testing.assert_array_equal(runtime.Engine(content, level).infer(x), want)


def test_manifest_and_file_describe_the_engine(tmp_path):
    source = write_mlp(tmp_path / "s.onnx", (5, 16, 8, 1))
    BACKEND.build(source, tmp_path / "engine")
    manifest = read_manifest(tmp_path / "engine")
    assert (manifest.backend, manifest.engine, manifest.batch) == ("native", "engine.rkdn", None)
    assert manifest.size_bytes < 4 * (5 * 16 + 16 + 16 * 8 + 8 + 8 + 1) + 400  # the parameters and little else
    program = from_bytes((tmp_path / "engine" / "engine.rkdn").read_bytes())
    assert [op.kind for op in program.operations] == [
        "subtract",
        "dense",
        "activation",
        "dense",
        "activation",
        "dense",
    ]
    assert to_bytes(program) == (tmp_path / "engine" / "engine.rkdn").read_bytes()


def test_the_same_graph_gives_the_same_bytes(tmp_path):
    source = write_mlp(tmp_path / "s.onnx")
    hashes = {BACKEND.build(source, tmp_path / name).engine_sha256 for name in "ab"}
    assert len(hashes) == 1


def test_changed_engine_is_refused_by_name(tmp_path):
    BACKEND.build(write_mlp(tmp_path / "s.onnx"), tmp_path / "engine")
    path = tmp_path / "engine" / "engine.rkdn"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RunFolderError, match=r"engine\.rkdn' is not the file that was built"):
        load_runner(tmp_path / "engine")
    manifest = json.loads((tmp_path / "engine" / "manifest.json").read_text())
    import hashlib

    (tmp_path / "engine" / "manifest.json").write_text(
        json.dumps({**manifest, "engine_sha256": hashlib.sha256(content).hexdigest()})
    )
    with pytest.raises(GraphError, match="checksum"):
        load_runner(tmp_path / "engine")


def test_wrong_rows_and_closed_engine(tmp_path):
    BACKEND.build(write_mlp(tmp_path / "s.onnx"), tmp_path / "engine")
    runner = load_runner(tmp_path / "engine")
    x = rows()
    wrong = [
        (rows(d=4), r"got float32 \[256, 4\]"),
        (x.astype(np.float64), "got float64"),
        (x[0], r"got float32 \[5\]"),
        (x[:, ::-1], "C-contiguous"),
    ]
    for bad, message in [*wrong, ([[1.0] * 5], "got list"), (None, "got NoneType")]:
        with pytest.raises(DataError, match=message):
            runner.infer(bad)
    for value in (np.nan, np.inf):
        bad = x.copy()
        bad[7, 2] = value
        with pytest.raises(DataError, match=f"input 2 of row 7 is {value:g}"):
            runner.infer(bad)
    runner.close()
    with pytest.raises(UserError, match="closed"):
        runner.infer(x)


def test_a_level_that_is_not_there_is_refused(tmp_path):
    BACKEND.build(write_mlp(tmp_path / "s.onnx"), tmp_path / "engine")
    with pytest.raises(GraphError, match="no level 'mmx'"):
        BACKEND.load(tmp_path / "engine", level="mmx")


def test_fp16_graphs_and_options_are_refused_with_the_reason(tmp_path):
    source = write_mlp(tmp_path / "s.onnx")
    quantize_fp16(source, tmp_path / "h.onnx")
    assert BACKEND.refuses(source) is None
    assert "'h.onnx' is fp16" in BACKEND.refuses(tmp_path / "h.onnx")
    with pytest.raises(GraphError, match="Cast"):
        BACKEND.build(tmp_path / "h.onnx", tmp_path / "engine")
    with pytest.raises(RunFolderError, match="holds no engine"):
        load_runner(tmp_path / "engine")
    with pytest.raises(UserError, match="no option 'threads'"):
        get_backend("native").build(source, tmp_path / "engine", {"threads": 2})


# -- damaged files ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def int8_file(tmp_path_factory):
    folder = tmp_path_factory.mktemp("file")
    source, x = scaled_mlp(folder / "s.onnx", (5, 9, 6, 2), "Elu")
    quantize_int8(source, folder / "q.onnx", x, **PLAIN)
    BACKEND.build(folder / "q.onnx", folder / "engine")
    return (folder / "engine" / "engine.rkdn").read_bytes()


def test_truncated_files_are_errors(int8_file):
    for size in range(len(int8_file)):
        for content in (int8_file[:size], with_checksum(int8_file[:size]) if size >= 20 else b""):
            with pytest.raises(ValueError):
                runtime.Engine(content)
    with pytest.raises(ValueError, match="4 bytes follow the last operation"):
        runtime.Engine(with_checksum(int8_file + bytes(4)))


def test_mutated_files_are_errors_or_run(int8_file):
    """With a right checksum a mutation may be another valid network; then it must load and answer, and never crash."""
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(4000):
        content = bytearray(int8_file)
        for position in rng.integers(20, len(content), rng.integers(1, 4)):
            content[position] = rng.choice([0, 1, 2, 127, 128, 255, rng.integers(256)])
        with pytest.raises(ValueError, match="checksum") if bytes(content) != int8_file else pytest.raises(SystemExit):
            runtime.Engine(bytes(content))
            raise SystemExit
        try:
            engine = runtime.Engine(with_checksum(bytes(content)))
        except ValueError:
            refused += 1
            continue
        if engine.inputs <= 4096:
            engine.infer(np.ones((2, engine.inputs), np.float32))
    assert 100 < refused < 4000


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"RKDN", "do not start"), (8, struct.pack("<I", 3), "format version 3"),
        (20, struct.pack("<I", 0), "0 inputs"),
        (20, struct.pack("<I", 2**31), "inputs, expected 1 to 4194304"),
        (24, struct.pack("<I", 3), "expected 3 outputs"),
        (28, struct.pack("<I", 2**32 - 1), "operations, expected"), (36, struct.pack("<I", 7), "reserved"),
        (40, struct.pack("<I", 99), "unknown kind 99"),
        (56, struct.pack("<f", np.nan), "not finite"),
    ],
)  # fmt: skip
def test_each_field_of_the_header_is_checked(int8_file, at, value, message):
    content = with_checksum(int8_file[:at] + value + int8_file[at + len(value) :])
    with pytest.raises(ValueError, match=message):
        runtime.Engine(content)


def test_python_reader_refuses_the_same_damage(int8_file):
    assert to_bytes(from_bytes(int8_file)) == int8_file
    unknown = with_checksum(int8_file[:40] + struct.pack("<I", 0) + int8_file[44:])
    for bad in (b"", b"garbage" * 10, int8_file[:-1], with_checksum(int8_file[:-8]), unknown):
        with pytest.raises(GraphError):
            from_bytes(bad)
