"""measure_engines: the figures are those of the engine file, and the record says what was measured."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from graphs import rows, write_mlp

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from regkd_edge.config import RunConfig
from regkd_edge.engines import get_backend, read_manifest
from regkd_edge.errors import DataError, RunFolderError
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.measure import accuracy, measure_engines
from regkd_edge.measure.latency import latencies, latency
from regkd_edge.measure.result import BenchResult
from regkd_edge.quantization import quantize_int8
from regkd_edge.run import RunFolder


def bench_engines(folders, *rows, **options):
    """The records; the files are beside the engines, in ``bench``."""
    measured = measure_engines(folders, *rows, **options)
    result = BenchResult(
        [one.record for one in measured], [{"predictions": one.predictions, **one.raw} for one in measured]
    )
    return [{**record, "outputs": files} for record, files in zip(result, result.save(folders[0].parents[1] / "bench"))]


def bench_engine(folder, *rows, **options):
    [record] = bench_engines([folder], *rows, **options)
    return record


@pytest.fixture
def run(tmp_path):
    run = RunFolder.create(tmp_path / "run", RunConfig())
    source = write_mlp(tmp_path / "student.fp32.onnx", widths=(5, 16, 2))
    quantize_int8(source, tmp_path / "student.int8.onnx", rows())
    engine = get_backend("onnxruntime")
    engine.build(source, run.file("engines", "onnxruntime.fp32"))
    engine.build(tmp_path / "student.int8.onnx", run.file("engines", "onnxruntime.int8"))
    return run


@pytest.fixture
def held_out(tmp_path, run):
    x = rows(n=300, seed=5)  # more than one chunk of predictions
    fp32 = reference_outputs(tmp_path / "student.fp32.onnx", x)
    return x, fp32 + np.random.default_rng(6).normal(0, 0.1, fp32.shape), fp32


def test_record_and_arrays_are_of_the_engine_file(run, held_out):
    x, y, fp32 = held_out
    folder = run.file("engines", "onnxruntime.int8")
    record = bench_engine(
        folder, x, y, teacher=fp32, reference=fp32, target_names=["a", "b"], batches=[1, 8], samples=120, warmup=2
    )
    arrays = np.load(run.file("bench", "onnxruntime.int8.npz"))
    assert record["accuracy"] == accuracy(y, arrays["predictions"], ["a", "b"])
    assert record["against_teacher"]["rmse"] > 0
    assert (
        record["against_fp32"]["judged_by"] == "labels"
        and record["against_fp32"]["low"] <= record["against_fp32"]["high"]
    )
    assert [t["batch"] for t in record["latency"]] == [1, 8]
    assert arrays["latency_ns_batch_1"].shape == (120,)
    assert record["latency"][0]["p50_ns"] == pytest.approx(np.median(arrays["latency_ns_batch_1"]))
    assert record["engine"]["sha256"] == read_manifest(folder).engine_sha256
    written = json.loads(run.file("bench", "onnxruntime.int8.json").read_text())
    assert written == json.loads(json.dumps({k: v for k, v in record.items() if k != "outputs"}))
    assert record["outputs"] == [run.file("bench", "onnxruntime.int8.json"), run.file("bench", "onnxruntime.int8.npz")]


def test_fp32_engine_is_the_fp32_student(run, held_out):
    x, y, fp32 = held_out
    record = bench_engine(
        run.file("engines", "onnxruntime.fp32"), x, y, reference=fp32, batches=[1], samples=20, warmup=0
    )
    assert abs(record["against_fp32"]["relative"]) < 1e-5  # the same float32 sums in another order
    assert record["latency"][0]["p99_ns"] is None  # 20 samples have no 99th percentile


def test_without_labels_it_is_judged_by_the_teacher(run, held_out):
    x, _, fp32 = held_out
    record = bench_engine(
        run.file("engines", "onnxruntime.int8"),
        x,
        None,
        teacher=fp32,
        reference=fp32 + 0.01,
        batches=[1],
        samples=20,
        warmup=0,
    )
    assert record["accuracy"] is None and record["against_fp32"]["judged_by"] == "teacher"
    with pytest.raises(DataError, match="neither labels nor teacher"):
        bench_engine(run.file("engines", "onnxruntime.int8"), x, None, batches=[1], samples=20)


def test_batch_that_the_engine_was_not_built_for_is_left_out_by_name(run, tmp_path, held_out):
    x, y, _ = held_out
    get_backend("onnxruntime").build(
        write_mlp(tmp_path / "fixed.onnx", widths=(5, 16, 2), batch=4), run.file("engines", "fixed")
    )
    record = bench_engine(run.file("engines", "fixed"), x[:10], y[:10], batches=[1, 4], samples=20, warmup=0)
    assert [t["batch"] for t in record["latency"]] == [4]
    assert record["skipped"] == [{"batch": 1, "reason": "the engine takes batch 4 only"}]
    assert record["accuracy"]["n"] == 10  # ten rows through batches of four


def test_engine_that_changes_while_it_is_timed_gives_no_record(run, held_out):
    x, y, _ = held_out
    path = run.file("engines", "onnxruntime.fp32", "engine.onnx")

    def tamper(text):
        if "requests to" in text:
            path.write_bytes(path.read_bytes() + b"\0")

    with pytest.raises(RunFolderError, match="not the file that was built"):
        bench_engine(path.parent, x, y, batches=[1], samples=20, warmup=0, progress=tamper)
    assert not run.file("bench").exists()


def test_engines_that_are_compared_are_timed_in_turns(run, held_out, monkeypatch):
    from regkd_edge.engines.onnxruntime import OnnxRuntimeRunner

    order = []
    infer = OnnxRuntimeRunner.infer

    def recorded(self, x):
        order.append((self.manifest.precision, len(x)))
        return infer(self, x)

    monkeypatch.setattr(OnnxRuntimeRunner, "infer", recorded)
    x, y, fp32 = held_out
    folders = [run.file("engines", f"onnxruntime.{p}") for p in ("fp32", "int8")]
    first, second = bench_engines(folders, x, y, reference=fp32, batches=[1], samples=200, warmup=0)
    assert first["timed_with"] == ["onnxruntime.int8"] and first["latency"][0]["rounds"] == 10
    timed = [precision for precision, batch in order if batch == 1]
    assert timed == (["fp32"] * 20 + ["int8"] * 20) * 10
    for record in (first, second):
        assert np.load(record["outputs"][1])["latency_ns_batch_1"].shape == (200,)


# -- other settings of the same engine ----------------------------------------------------------------------------


def test_latency_in_cpp_is_told_apart_from_that_of_a_python_call(tmp_path):
    from regkd_edge.report.table import columns

    folder = tmp_path / "engines" / "native.fp32"
    get_backend("native").build(write_mlp(tmp_path / "student.fp32.onnx", widths=(5, 16, 2)), folder)
    x = rows(n=50, seed=5)
    record = bench_engine(folder, x, np.zeros((50, 2)), batches=[1, 4], samples=100, warmup=1)
    arrays = np.load(record["outputs"][1])
    for timing in record["latency"]:
        raw = arrays[f"cpp_ns_batch_{timing['batch']}"]
        assert raw.dtype == np.int64 and raw.shape == (100,) and (raw > 0).all()
        assert timing["cpp"]["p50_ns"] == pytest.approx(np.median(raw))
    assert "p50 µs in C++, batch 4" in BenchResult([record]).table()[0]
    row = {"targets": [], "passed": None, "p50_us_b1": 2.0, "cpp_p50_us_b1": 0.3}
    headings = [heading for _, heading, *_ in columns([row])]
    assert "p50 µs from Python, batch 1" in headings and "p50 µs in C++, batch 1" in headings
    headings = [heading for _, heading, *_ in columns([{**row, "cpp_p50_us_b1": None}])]
    assert "p50 µs, batch 1" in headings and not any("C++" in heading for heading in headings)
    with get_backend("native").load(folder) as runner, pytest.raises(ValueError, match="shape"):
        runner.cpp_nanoseconds(x[:, :3], 1, 10, 0)


class FakeGPU:
    """A back end whose runner counts, with a GPU clock and one other setting."""

    name = "fake"
    loads: list = []

    def variants(self, manifest):
        return {"CUDA graph": {"cuda_graph": True}, "1 thread": {"threads": 1}}

    def load(self, folder, threads=None, **settings):
        from regkd_edge.engines import read_manifest

        FakeGPU.loads.append({"threads": threads, **settings})
        return FakeRunner(read_manifest(folder), 5000.0 if settings.get("cuda_graph") else 9000.0)


class FakeRunner:
    def __init__(self, manifest, gpu):
        self.manifest, self._gpu = manifest, gpu

    def infer(self, x):
        return x[:, :2]

    def gpu_nanoseconds(self, x):
        return self._gpu + len(x)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.closed = True


def test_other_settings_and_gpu_time_are_kept_apart(run, held_out, monkeypatch):
    from regkd_edge.measure import bench

    x, y, fp32 = held_out
    folder = run.file("engines", "onnxruntime.fp32")
    monkeypatch.setattr(bench, "get_backend", lambda backend: FakeGPU())
    monkeypatch.setattr(
        bench, "load_runner", lambda folder, threads=None, **settings: FakeGPU().load(folder, threads, **settings)
    )
    FakeGPU.loads.clear()
    record = bench_engine(folder, x, y, reference=fp32, batches=[1, 8], samples=40, warmup=1, threads=1, sweep=True)
    assert FakeGPU.loads == [
        {"threads": 1},
        {"threads": 1, "cuda_graph": True},
    ]  # "1 thread" is how it was timed already
    arrays = np.load(run.file("bench", "onnxruntime.fp32.npz"))
    assert [t["gpu"]["p50_ns"] for t in record["latency"]] == [9001.0, 9008.0]
    assert [t["gpu"]["p50_ns"] for t in record["settings"]["CUDA graph"]] == [5001.0, 5008.0]
    assert [t["batch"] for t in record["settings"]["CUDA graph"]] == [1, 8]
    for key in ("latency_ns_batch_1", "gpu_ns_batch_1", "latency_ns_batch_8_cuda_graph", "gpu_ns_batch_8_cuda_graph"):
        assert arrays[key].shape == (40,), key
    assert set(record["settings"]) == {"CUDA graph"}


def test_threads_and_spinning_of_onnx_runtime_are_swept(run, held_out, monkeypatch):
    x, y, fp32 = held_out
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1}, raising=False)
    folder = run.file("engines", "onnxruntime.int8")
    record = bench_engine(folder, x, y, reference=fp32, batches=[1], samples=40, warmup=1, sweep=True)
    assert set(record["settings"]) == {"2 threads", "2 threads that sleep between requests"}
    assert all(timings[0]["p50_ns"] > 0 for timings in record["settings"].values())
    assert bench_engine(folder, x, y, reference=fp32, batches=[1], samples=40, warmup=1)["settings"] == {}


def test_batches_without_a_loop_in_cpp_have_no_column_for_it():
    times = {"p50_ns": 1000.0, "p99_ns": 2000.0}
    latency = [{"batch": 1, **times, "cpp": {"p50_ns": 250.0}}, {"batch": 64, **times}]
    target = {"name": "y", "rmse": 0.5, "mae": 0.25, "max_error": 1.0, "r2": 0.75}
    record = {"name": "native.fp32", "accuracy": {"targets": [target]}, "against_teacher": None, "latency": latency}
    headings, (row,) = BenchResult([record]).table()
    assert dict(zip(headings, row)) == {
        "engine": "native.fp32", "target": "y", "RMSE": "0.5", "MAE": "0.25", "largest error": "1", "R2": "0.75",
        "p50 µs, batch 1": "1", "p99 µs, batch 1": "2", "p50 µs, batch 64": "1", "p99 µs, batch 64": "2",
        "p50 µs in C++, batch 1": "0.25",
    }  # fmt: skip


def test_the_library_and_the_command_time_the_same_by_default():
    import inspect

    from regkd_edge.config import BenchConfig

    default = {name: p.default for name, p in inspect.signature(measure_engines).parameters.items()}
    config = BenchConfig()
    assert list(default["batches"]) == config.batches == [1, 64]
    for function in (measure_engines, latency, latencies):
        default = {name: p.default for name, p in inspect.signature(function).parameters.items()}
        assert (default["samples"], default["warmup"]) == (config.samples, config.warmup)
        assert default.get("batch", 1) == config.batches[0]


def test_batches_beside_a_configuration_are_refused(tmp_path):
    import regkd_edge as rk
    from regkd_edge.config import BenchConfig
    from regkd_edge.errors import UserError

    folder = tmp_path / "native.fp32"
    get_backend("native").build(write_mlp(tmp_path / "student.fp32.onnx", widths=(5, 8, 1)), folder)
    x, y, quick = rows(n=20, seed=0), np.zeros(20), {"samples": 10, "warmup": 0}
    config = BenchConfig(batches=[2, 3], **quick)
    with pytest.raises(UserError, match="config is given, and batches beside it"):
        rk.bench(folder, x, y, batches=[1], config=config)
    timed = lambda result: [entry["batch"] for entry in result[0]["latency"]]
    assert timed(rk.bench(folder, x, y, config=config)) == [2, 3]
    assert timed(rk.bench(folder, x, y, batches=[4], **quick)) == [4] and timed(rk.bench(folder, x, y, **quick)) == [1]


def test_other_settings_are_said_as_they_are_timed(tmp_path):
    folder = tmp_path / "onnxruntime.fp32"
    get_backend("onnxruntime").build(write_mlp(tmp_path / "student.fp32.onnx", widths=(5, 8, 1)), folder)
    said = []
    x = rows(n=20, seed=0)
    measure_engines([folder], x, np.zeros((20, 1)), batches=[1], samples=20, warmup=0, sweep=True, progress=said.append)
    settings = get_backend("onnxruntime").variants(read_manifest(folder))
    found = [re.fullmatch(r"setting (\d+) of (\d+): onnxruntime.fp32 with (.*)", line) for line in said]
    counts, timed = [(int(m[1]), int(m[2])) for m in found if m], [m[3] for m in found if m]
    assert counts == [(k + 1, len(timed)) for k in range(len(timed))], "which of how many"
    assert timed and set(timed) <= set(settings) and len(timed) >= len(settings) - 1


@pytest.mark.parametrize("allowed", [True, False])
def test_code_of_a_plan_is_run_only_where_that_is_allowed_and_where_a_plan_has_any(run, held_out, monkeypatch, allowed):
    from dataclasses import replace

    from regkd_edge.measure import bench

    x, y, _ = held_out
    folders, asked = [run.file("engines", f"onnxruntime.{p}") for p in ("fp32", "int8")], {}
    read, load = bench.read_manifest, bench.load_runner
    with_code = lambda folder: replace(read(folder), options={"version_compatible": folder.name.endswith("int8")})
    monkeypatch.setattr(bench, "read_manifest", with_code)
    monkeypatch.setattr(
        bench,
        "load_runner",
        lambda folder, threads, **trust: asked.update({folder.name: trust}) or load(folder, threads),
    )
    measure_engines(folders, x, y, batches=[1], samples=20, warmup=0, run_code_of_plan=allowed)
    trusted = {"run_code_of_plan": True} if allowed else {}
    assert asked == {"onnxruntime.fp32": {}, "onnxruntime.int8": trusted}
