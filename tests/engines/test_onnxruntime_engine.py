"""The default back end: the file in the folder is what runs, and nothing runs that was not checked."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from graphs import ACTIVATIONS, rows, write_mlp

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from regkd_edge.engines import available, get_backend, load_runner, read_manifest
from regkd_edge.errors import DataError, GraphError, RunFolderError, UserError
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.io.files import file_hash
from regkd_edge.quantization import quantize_fp16, quantize_int8


@pytest.fixture
def built(tmp_path):
    source = write_mlp(tmp_path / "student.fp32.onnx")
    get_backend("onnxruntime").build(source, tmp_path / "engine")
    return tmp_path / "engine"


def corrupt(folder, **changes):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_fp32_engine_equals_the_graph(tmp_path, activation):
    source = write_mlp(tmp_path / "s.onnx", activation=activation, widths=(5, 33, 7, 2))
    get_backend("onnxruntime").build(source, tmp_path / "engine")
    with load_runner(tmp_path / "engine") as runner:
        y = runner.infer(rows())
    assert y.dtype == np.float32 and y.shape == (256, 2)
    # the same float32 sums in another order: 33 terms of size about 1
    np.testing.assert_allclose(y, reference_outputs(source, rows()), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_int8_engine_computes_in_int8_what_the_graph_means(tmp_path, activation):
    source = write_mlp(tmp_path / "s.onnx", activation=activation, widths=(5, 32, 16, 1))
    quantize_int8(source, tmp_path / "q.onnx", rows())
    manifest = get_backend("onnxruntime").build(tmp_path / "q.onnx", tmp_path / "engine")
    assert manifest.precision == "int8"
    assert manifest.executed == {
        "int8": 1.0
    }  # read from the engine file: integer kernels, not floats behind DequantizeLinear
    import onnx

    stored = onnx.load(tmp_path / "engine" / manifest.engine).graph.initializer
    assert not [
        t.name for t in stored if len(t.dims) == 2 and t.data_type == onnx.TensorProto.FLOAT
    ]  # no float copy of the weights
    with load_runner(tmp_path / "engine") as runner:
        got = runner.infer(rows())
    want = reference_outputs(tmp_path / "q.onnx", rows())
    # A value at a rounding tie may fall to the next step (other order of float sums); one step of 1/127 of a range that
    # is a few units wide, in a few of 256 rows at most, and float32 error elsewhere.
    assert np.abs(got - want).max() < 0.1
    assert np.mean(np.abs(got - want) > 1e-4) < 0.05


def test_fp16_engine_says_in_which_precision_the_cpu_computes(tmp_path):
    source = write_mlp(tmp_path / "s.onnx")
    quantize_fp16(source, tmp_path / "h.onnx")
    manifest = get_backend("onnxruntime").build(tmp_path / "h.onnx", tmp_path / "engine")
    assert manifest.precision == "fp16"
    assert manifest.executed in ({"fp32": 1.0}, {"fp16": 1.0})  # x86 has no FP16 kernels, some ARM builds do
    said = any("fp16" in note and "fp32" in note for note in manifest.notes)
    assert said == (manifest.executed == {"fp32": 1.0})
    with load_runner(tmp_path / "engine") as runner:
        np.testing.assert_allclose(
            runner.infer(rows()), reference_outputs(tmp_path / "h.onnx", rows()), atol=1e-2
        )  # 2^-11 a rounding


def test_manifest_describes_the_file(built, tmp_path):
    manifest = read_manifest(built)
    assert manifest.engine_sha256 == file_hash(built / "engine.onnx")
    assert manifest.source_sha256 == file_hash(tmp_path / "student.fp32.onnx")
    assert manifest.size_bytes == (built / "engine.onnx").stat().st_size
    assert manifest.inputs == [{"name": "x", "shape": ["batch", 5], "dtype": "float"}]
    assert (manifest.backend, manifest.precision, manifest.batch) == ("onnxruntime", "fp32", None)
    assert manifest.versions["onnxruntime"] and manifest.machine["cpu"]
    assert str(tmp_path) not in (built / "manifest.json").read_text()


def test_fixed_batch_is_stated_and_kept(tmp_path):
    source = write_mlp(tmp_path / "s.onnx", batch=4)
    assert get_backend("onnxruntime").build(source, tmp_path / "e").batch == 4
    with load_runner(tmp_path / "e") as runner:
        assert runner.infer(rows(n=4)).shape == (4, 1)
        with pytest.raises(DataError, match=r"float32 \[4, 5\], got float32 \[3, 5\]"):
            runner.infer(rows(n=3))


def test_changed_engine_is_refused_by_name(built):
    content = bytearray((built / "engine.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (built / "engine.onnx").write_bytes(content)
    with pytest.raises(RunFolderError, match=r"engine\.onnx' is not the file that was built"):
        load_runner(built)


def test_missing_files_are_refused_by_name(built, tmp_path):
    with pytest.raises(RunFolderError, match="holds no engine"):
        load_runner(tmp_path / "nowhere")
    (built / "engine.onnx").unlink()
    with pytest.raises(RunFolderError, match=r"engine\.onnx' cannot be read"):
        load_runner(built)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": "../../secret.onnx"}, "a file of its own folder"),
        ({"engine": 7}, "engine: Input should be a valid string"),
        ({"inputs": []}, "inputs: List should have at least 1 item"),
        ({"format": 99}, "format 99"),
        ({"backend": "magic"}, "unknown back end 'magic'"),
    ],
)
def test_foreign_manifest_is_refused(built, changes, message):
    corrupt(built, **changes)
    with pytest.raises(UserError, match=message):
        load_runner(built)


def test_half_written_manifest_is_refused(built):
    text = (built / "manifest.json").read_text()
    (built / "manifest.json").write_text(text[: len(text) // 2])
    with pytest.raises(RunFolderError, match="corrupt"):
        load_runner(built)


def test_engine_of_another_graph_under_this_manifest_is_refused(built, tmp_path):
    other = write_mlp(tmp_path / "other.onnx", seed=9)
    get_backend("onnxruntime").build(other, tmp_path / "other")
    shutil.copy(tmp_path / "other" / "engine.onnx", built / "engine.onnx")
    with pytest.raises(RunFolderError, match="not the file that was built"):
        load_runner(built)


def test_failed_build_leaves_no_engine_that_counts(built, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"garbage")
    with pytest.raises(GraphError):
        get_backend("onnxruntime").build(tmp_path / "bad.onnx", tmp_path / "fresh")
    with pytest.raises(RunFolderError):
        load_runner(tmp_path / "fresh")
    with pytest.raises(GraphError, match="no ONNX file"):
        get_backend("onnxruntime").build(tmp_path / "absent.onnx", tmp_path / "fresh")


def test_wrong_rows_and_closed_engine(built):
    runner = load_runner(built)
    for bad, message in (
        (rows(d=4), r"got float32 \[256, 4\]"),
        (rows().astype(np.float64), "got float64"),
        (rows()[0], r"got float32 \[5\]"),
    ):
        with pytest.raises(DataError, match=message):
            runner.infer(bad)
    runner.close()
    with pytest.raises(UserError, match="closed"):
        runner.infer(rows())


def test_unknown_options_and_back_ends(tmp_path):
    source = write_mlp(tmp_path / "s.onnx")
    with pytest.raises(UserError, match="no option 'turbo'.*threads"):
        get_backend("onnxruntime").build(source, tmp_path / "e", {"turbo": True})
    with pytest.raises(UserError, match="threads is 0"):
        get_backend("onnxruntime").build(source, tmp_path / "e", {"threads": 0})
    with pytest.raises(UserError, match="unknown back end 'cuda'"):
        get_backend("cuda")


def test_available_names_every_back_end():
    found = available()
    assert found["onnxruntime"] is None
    assert set(found) == {"onnxruntime", "tensorrt", "native", "tensorrt-rtx"}
    assert found["tensorrt"] is None or isinstance(found["tensorrt"], str)
