"""An engine answers as its graph: compared on held-out rows, repaired where possible, refused where not."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from documented import keys
from graphs import rows, write_mlp

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from regkd_edge.engines import get_backend, load_runner, read_manifest
from regkd_edge.engines.batches import predict
from regkd_edge.engines.verify import Oracle, allowed_difference, compare_answers, verify_engine
from regkd_edge.errors import GraphError
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.quantization import quantize_int8, quantize_layers


@pytest.fixture
def student(tmp_path):
    return write_mlp(tmp_path / "student.fp32.onnx", widths=(5, 16, 16, 1), activation="Relu", y_scale=[8.0])


def rms(a, b) -> float:
    return float(np.sqrt(np.mean((a - b) ** 2)))


def test_fp8_keeps_its_relus_in_onnx_runtime(student, tmp_path):
    """ReluQuantRewrite would take the ReLUs away in front of FP8 quantizers; the answers must be those of the graph."""
    import onnx

    graph = tmp_path / "student.fp8.onnx"
    quantize_layers(student, graph, rows(), "fp8")
    get_backend("onnxruntime").build(graph, tmp_path / "engine")
    held = rows(seed=9)
    with load_runner(tmp_path / "engine") as runner:
        got = predict(runner, held)
    want = reference_outputs(graph, held)
    assert rms(got, want) < 1e-3 * want.std()
    operators = [node.op_type for node in onnx.load(tmp_path / "engine" / "engine.onnx").graph.node]
    assert operators.count("Relu") == 2


@pytest.mark.parametrize("backend", ["onnxruntime", "native"])
@pytest.mark.parametrize("precision", ["fp32", "int8", "fp16", "fp8", "int8-weights"])
def test_every_precision_answers_as_its_graph(student, tmp_path, backend, precision):
    if backend == "native":
        pytest.importorskip("regkd_edge._runtime", reason="the extension is not built")
    graph = tmp_path / f"student.{precision}.onnx"
    if precision != "fp32":
        quantize_layers(student, graph, rows(), precision)
    engine = get_backend(backend)
    if hasattr(engine, "refuses") and engine.refuses(graph) is not None:
        pytest.skip(f"{backend} does not take {precision}")
    engine.build(graph, tmp_path / "engine")
    manifest = verify_engine(tmp_path / "engine", graph, Oracle(rows(seed=9), student))
    assert manifest.verified["passed"] and manifest.verified["rows"] == 256
    assert manifest.verified["difference"] <= manifest.verified["allowed"]
    assert read_manifest(tmp_path / "engine") == manifest


def test_an_engine_that_lost_its_relus_is_refused(student, tmp_path):
    """What ReluQuantRewrite did, done by hand: the engine of a graph whose first ReLU is gone."""
    import onnx

    graph = tmp_path / "student.int8.onnx"
    quantize_int8(student, graph, rows())
    model = onnx.load(graph)
    relu = next(node for node in model.graph.node if node.op_type == "Relu")
    relu.op_type = "Identity"
    onnx.save(model, tmp_path / "broken.onnx")
    get_backend("onnxruntime").build(tmp_path / "broken.onnx", tmp_path / "engine")
    with pytest.raises(GraphError, match="engine: it does not answer as its graph: an RMS difference of .* allowed"):
        verify_engine(tmp_path / "engine", graph, Oracle(rows(seed=9), student))
    assert read_manifest(tmp_path / "engine").verified is None


def test_answers_that_are_not_finite_are_refused():
    exact = np.arange(6.0).reshape(3, 2)
    found = compare_answers(np.where(exact == 3, np.nan, exact), exact, [1.0, 1.0])
    assert not found.passed and found.difference is None and found.target == 1
    assert "not finite" in found.reason()


def test_each_target_has_a_limit_of_its_own():
    """Watts and strains: an error that is nothing in watts is a wrong answer in strains."""
    rng = np.random.default_rng(0)
    exact = rng.standard_normal((500, 2)) * [1e6, 1e-6]
    wrong = exact + [[0.0, 1e-7]]
    found = compare_answers(wrong, exact, allowed_difference(exact, exact, "fp32"))
    assert not found.passed and found.target == 1 and found.difference == pytest.approx(1e-7)


def test_limits_follow_the_precision():
    exact = np.random.default_rng(0).standard_normal((500, 1))
    answers = exact + 0.01 * np.sign(np.random.default_rng(1).standard_normal(exact.shape))
    fp32, int8, mixed, unknown = (
        allowed_difference(exact, answers, name)[0] / exact.std() for name in ("fp32", "int8", "int8+fp16", "unknown")
    )
    assert fp32 == pytest.approx(1e-4)
    assert fp32 < int8 < mixed == unknown


def test_the_library_compares_every_engine_that_it_builds(student, tmp_path, monkeypatch):
    """Without held-out rows: on Gaussian inputs, scaled as the graph's own scaler has it."""
    from regkd_edge.engines import onnxruntime
    from regkd_edge.engines.engine import build_engine

    graph = tmp_path / "student.fp8.onnx"
    quantize_layers(student, graph, rows(), "fp8")
    for source in (student, graph):
        assert build_engine(source, "onnxruntime", tmp_path / "engine")[0].verified["passed"]
    monkeypatch.setattr(onnxruntime, "_BREAKS_QUANTIZED", ["MatMulAddFusion"])
    manifest, note = build_engine(graph, "onnxruntime", tmp_path / "engine")
    assert note and manifest.verified["passed"] and manifest.options["optimization"] != "extended"
    monkeypatch.setattr(type(get_backend("onnxruntime")), "plainer", lambda self, options=None: iter(()))
    with pytest.raises(GraphError, match="does not answer as its graph"):
        build_engine(graph, "onnxruntime", tmp_path / "engine")


def test_without_the_onnx_package_the_graph_is_run_as_it_is(student, monkeypatch):
    graph = student.with_name("student.int8.onnx")
    quantize_int8(student, graph, rows())
    want = reference_outputs(graph, rows(seed=9))
    monkeypatch.setitem(sys.modules, "onnx", None)
    np.testing.assert_array_equal(reference_outputs(graph, rows(seed=9)), want)


# -- in a run -----------------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path):
    """A run with a small ReLU student, quantized to fp8, bf16 and int8."""
    pytest.importorskip("torch")
    from regkd_edge.config import RunConfig
    from regkd_edge.run import RunFolder
    from regkd_edge.stages import perform

    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 3))
    table = tmp_path / "table.csv"
    np.savetxt(table, np.column_stack([x, np.abs(x).sum(1)]), delimiter=",", header="a,b,c,u", comments="")
    config = RunConfig.from_dict(
        {
            "data": {"data": str(table), "target": ["u"]},
            "teacher": {"teacher": "mlp:16:relu", "epochs": 3},
            "distill": {
                "accept_teacher": True,
                "student": "mlp:16,16:relu",
                "steps": 60,
                "evaluate_every": 30,
                "baseline": False,
            },
            "quantize": {"precision": ["fp8", "bf16", "int8"]},
            "build": {"backend": ["onnxruntime"]},
            "bench": {"samples": 20, "warmup": 2, "batches": [1]},
        }
    )
    folder = RunFolder.create(tmp_path / "run", config)
    for stage in ("data", "teacher", "distill", "export", "quantize"):
        perform(folder, config, stage, lambda *figures: None)
    return folder, config


def test_a_precision_that_a_back_end_lacks_is_left_out_and_the_others_are_built(run):
    from regkd_edge.stages import perform

    folder, config = run
    done = perform(folder, config, "build", lambda *figures: None)
    assert [engine["engine"] for engine in done.summary["engines"]] == [
        f"onnxruntime.{name}" for name in ("fp32", "fp8", "int8")
    ]
    assert all(engine["answers_as_graph"] == "yes" for engine in done.summary["engines"])
    assert {tuple(engine) for engine in done.summary["engines"]} == {tuple(keys("build"))}
    assert done.summary["left_out"] == ["onnxruntime.bf16: ONNX Runtime has no bf16 kernels on CPUs."]


def test_an_engine_that_an_optimizer_broke_is_built_again_without_it(run, monkeypatch):
    """ReluQuantRewrite let loose again: the build notices, falls back to fewer optimizations, and says so."""
    from regkd_edge.engines import onnxruntime
    from regkd_edge.stages import perform

    folder, config = run
    monkeypatch.setattr(onnxruntime, "_BREAKS_QUANTIZED", ["MatMulAddFusion", "CommonSubexpressionElimination"])
    done = perform(folder, config, "build", lambda *figures: None)
    [note] = done.summary["repaired"]
    assert note.startswith("onnxruntime.fp8: built with optimization '") and "does not answer as its graph" in note
    manifest = read_manifest(folder.file("engines", "onnxruntime.fp8"))
    assert manifest.verified["passed"] and manifest.options["optimization"] != "extended"


def test_an_engine_that_cannot_be_repaired_is_neither_kept_nor_measured(run, monkeypatch):
    from regkd_edge.engines.native import backend
    from regkd_edge.stages import perform

    pytest.importorskip("regkd_edge._runtime", reason="the extension is not built")
    folder, config = run
    config = config.updated({"build.backend": ["onnxruntime", "native"]})
    original = backend._program

    def without_activations(source):
        program = original(source)
        if program.share().get("int8"):
            program.operations = [op for op in program.operations if op.kind != "activation"]
        return program

    monkeypatch.setattr(backend, "_program", without_activations)
    done = perform(folder, config, "build", lambda *figures: None)
    assert any("native.int8: it does not answer as its graph" in line for line in done.summary["left_out"])
    assert not folder.file("engines", "native.int8").exists()
    perform(folder, config, "bench", lambda *figures: None)
    assert not folder.file("bench", "native.int8.json").exists()
    assert folder.file("bench", "native.fp32.json").exists()


def test_bench_compares_what_build_could_not(run, monkeypatch):
    """An engine that came from elsewhere unverified, and does not answer as its graph, gets no figure."""
    from regkd_edge.engines import verify
    from regkd_edge.stages import perform

    folder, config = run
    with monkeypatch.context() as patch:
        for backend in ("onnxruntime",):
            patch.setattr(type(get_backend(backend)), "cannot_run", lambda self: "there is no device", raising=False)
        done = perform(folder, config, "build", lambda *figures: None)
    assert all(engine["answers_as_graph"] == "not run here" for engine in done.summary["engines"])
    assert any("not compared with its graph: there is no device" in note
               for note in read_manifest(folder.file("engines", "onnxruntime.fp8")).notes)  # fmt: skip
    real = verify.compare_answers
    monkeypatch.setattr(
        verify, "compare_answers", lambda got, want, limit: real(got + (want.std() if got.std() else 0), want, limit)
    )
    from regkd_edge.errors import NotAvailable

    with pytest.raises(NotAvailable, match="does not answer as its graph"):
        perform(folder, config, "bench", lambda *figures: None)
    assert not list(folder.file("bench").glob("*.json"))
