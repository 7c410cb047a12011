"""A bundle from the run to the report on the device."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from regkd_edge.bundle import deploy, make_bundle, read_archive, unpack, write_archive
from regkd_edge.data import load_dataset, load_predictions
from regkd_edge.errors import GraphError, NotAvailable, RunFolderError, UserError
from regkd_edge.run import RunFolder

ROOT = Path(__file__).parents[2]


# -- making one ---------------------------------------------------------------------------------------------------


def test_it_is_the_same_bytes_each_time(run, bundle, tmp_path):
    again, _ = make_bundle(run, "jetson-orin", tmp_path / "again.tar.gz")
    assert again.read_bytes() == bundle.read_bytes()


def test_it_holds_what_a_device_needs_and_nothing_of_the_training(run, bundle):
    content, files = read_archive(bundle)
    assert set(content["graphs"]) == {"fp32", "fp16", "int8"} and content["left_out"] == []
    for name in (
        "run.yaml",
        "data.npz",
        "data.json",
        "expected.npz",
        "README.txt",
        "teacher/predictions.npz",
        "student/model.json",
        "onnx/student.int8.onnx",
        "engines/native.fp32/engine.rkdn",
    ):
        assert name in files, name
    assert not any(name.endswith(".safetensors") for name in files)
    assert content["target"]["checked_for"] == "10.3" and content["rows"] == {
        "kind": "held-out",
        "count": len(load_dataset(run).split.test),
    }


def test_it_names_no_folder_of_this_machine(run, bundle):
    _, files = read_archive(bundle)
    here = str(run.path.parent).encode()
    assert [name for name, data in files.items() if here in data] == []


def test_no_field_of_its_configuration_names_a_folder():
    from regkd_edge.bundle.make import _without_paths
    from regkd_edge.config import PATHS, RunConfig

    needed = {
        "teacher.weights": {"teacher.factory": "my_nets:teacher"},
        "data.test_labels": {"data.test_data": "more.npy"},
    }
    for field in PATHS:
        changes = {"distill.no_data": True, "distill.w_base": 1.0, field: "/home/me/file"} | needed.get(field, {})
        config = RunConfig().updated(changes)
        assert "/home/me/file" in config.to_yaml()
        kept = _without_paths(config).to_yaml()
        assert "/home/me" not in kept and ": file\n" in kept, field
    assert (
        _without_paths(RunConfig().updated(changes | {"distill.describe": "standard"})).distill.describe == "standard"
    )


@pytest.mark.parametrize(
    "setup",
    [
        {"heads": 2, "export_head": "mean"},
        {"base": "mimic", "no_data": True, "sampler": "described"},
        {"sampler": "direct"},
    ],
    ids=["two heads", "no data", "direct"],
)
def test_the_device_names_the_objective_that_the_run_names(run, setup):
    from regkd_edge.bundle.make import _recipe_of
    from regkd_edge.report.notes import trained_by

    card = json.loads(run.file("student", "model.json").read_text(encoding="utf-8"))
    card["extra"]["setup"] |= setup | {"describe": "/home/me/inputs.yaml", "like": "/home/me/few.csv"}
    travels = _recipe_of(card)
    assert trained_by(travels) == trained_by(card) != trained_by({"extra": {"recipe": card["extra"]["recipe"]}})
    assert "/home/me" not in json.dumps(travels)


def test_the_labels_alone_are_named_as_such():
    """The race stores them as a blend with all weight on the label."""
    from regkd_edge.report.notes import trained_by

    weights = {"w_base": {"start": 1.0, "end": 1.0}}
    recipe = lambda alpha: {"base": "blend", "alpha": alpha, **weights}
    said = [trained_by({"extra": {"recipe": recipe(a), "setup": {"base": "blend"}}}) for a in (1.0, 0.5)]
    assert said == ["labels alone", "blend alone"]


def test_the_card_in_it_keeps_what_the_student_was_trained_on(run, bundle):
    from regkd_edge.report.notes import trained_by

    card = json.loads(run.file("student", "model.json").read_text(encoding="utf-8"))
    carried = json.loads(read_archive(bundle)[1]["student/model.json"])
    assert trained_by(carried) == trained_by(card)
    assert carried["extra"]["setup"]["base"] == card["extra"]["setup"]["base"]


def test_its_answers_are_those_of_the_graphs(run, bundle):
    """Rows and answers line up: the FP32 graph answers what the torch student of the run answers."""
    import io

    _, files = read_archive(bundle)
    stored = np.load(io.BytesIO(files["expected.npz"]))
    student = load_predictions(run.file("student", "predictions.npz"))[load_dataset(run).split.test]
    spread = student.std(axis=0)
    assert (np.abs(stored["fp32"] - student) < 1e-4 * spread).all()  # inputs rounded to float32, sums in another order
    typical = np.median(np.abs(stored["int8"] - student) / spread)  # a row beyond the calibrated range may be far off
    assert 0 < typical < 0.1


def test_a_64_64_student_stays_below_a_megabyte(run, tmp_path):
    """With 1000 rows of 32 features, more than most tables have; the graphs are of the size that is asked for."""
    from graphs import rows, write_mlp

    from regkd_edge.bundle.make import _npz
    from regkd_edge.quantization import quantize_fp16, quantize_int8

    source = write_mlp(tmp_path / "student.fp32.onnx", widths=(32, 64, 64, 1))
    quantize_fp16(source, tmp_path / "student.fp16.onnx")
    quantize_int8(source, tmp_path / "student.int8.onnx", rows(d=32))
    content, files = read_archive(make_bundle(run, "desktop", tmp_path / "small.tar.gz")[0])
    for name in ("fp32", "fp16", "int8"):
        graph = (tmp_path / f"student.{name}.onnx").read_bytes()
        files[f"onnx/student.{name}.onnx"] = graph
        files[f"engines/native.{name}/engine.rkdn"] = graph  # as large as the graph, at most
    x = rows(1000, 32).astype(np.float64)
    files["data.npz"] = _npz(x=x, y=x[:, :1])
    files["expected.npz"] = _npz(**{name: x[:, :1].astype(np.float32) for name in ("fp32", "fp16", "int8")})
    for name, graph in content["graphs"].items():
        graph["sha256"] = hashlib.sha256(files[f"onnx/student.{name}.onnx"]).hexdigest()
    header = {key: value for key, value in content.items() if key not in ("format", "files")}
    write_archive(tmp_path / "large.tar.gz", header, files)
    assert (tmp_path / "large.tar.gz").stat().st_size < 1_000_000


def test_synthetic_rows_carry_no_row_of_the_data(run, tmp_path):
    path, content = make_bundle(run, "jetson-thor", tmp_path / "b.tar.gz", evaluate_on="synthetic", max_rows=50)
    done = deploy(path, tmp_path / "out", backends=["native"])
    dataset = load_dataset(done.run)
    assert content["rows"] == {"kind": "synthetic", "count": 50} and len(dataset.x) == 50
    assert not set(map(tuple, dataset.x.astype(np.float32).tolist())) & set(
        map(tuple, load_dataset(run).x.astype(np.float32).tolist())
    )
    np.testing.assert_array_equal(
        dataset.y, load_predictions(done.run.file("teacher", "predictions.npz"))
    )  # labelled by the teacher
    assert "baseline" not in {row["name"] for row in json.loads(done.run.file("report.json").read_text())["rows"]}
    assert "synthetic" in done.run.file("report.html").read_text()


def test_held_out_rows_bring_the_kinds_of_the_columns_and_synthetic_rows_do_not(run, tmp_path):
    """Kinds and ranges are those of the training rows: a device does not see them, and they are data."""
    held_out, _ = make_bundle(run, "jetson-thor", tmp_path / "a.tar.gz", max_rows=3)
    synthetic, _ = make_bundle(run, "jetson-thor", tmp_path / "b.tar.gz", evaluate_on="synthetic", max_rows=3)
    unpack(held_out, tmp_path / "a")
    unpack(synthetic, tmp_path / "b")
    assert load_dataset(RunFolder(tmp_path / "a")).columns.to_dict() == load_dataset(run).columns.to_dict()
    assert "columns" not in json.loads((tmp_path / "b" / "data.json").read_text())


def test_many_rows_are_sampled(run, tmp_path):
    _, content = make_bundle(run, "desktop", tmp_path / "b.tar.gz", max_rows=7)
    assert content["rows"]["count"] == 7


def test_graphs_that_the_target_lacks_are_left_out_by_name(run, tmp_path, monkeypatch):
    from regkd_edge.bundle import make
    from regkd_edge.engines.lint import Finding

    monkeypatch.setattr(
        make,
        "lint",
        lambda path, target, tensorrt: [Finding("error", "", "no such type", "")] if "int8" in path.name else [],
    )
    _, content = make_bundle(run, "jetson-orin", tmp_path / "b.tar.gz")
    assert set(content["graphs"]) == {"fp32", "fp16"} and content["left_out"] == ["int8: no such type"]
    monkeypatch.setattr(make, "lint", lambda path, target, tensorrt: [Finding("error", "", "nothing fits", "")])
    with pytest.raises(GraphError, match="does not fit jetson-orin: fp32: nothing fits"):
        make_bundle(run, "jetson-orin", tmp_path / "c.tar.gz")


def test_a_stale_or_unfinished_run_is_refused(run, tmp_path):

    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    (copy / "onnx" / "student.fp32.onnx").write_bytes(b"other")
    with pytest.raises(RunFolderError, match="'export'.*was changed.*Run: regkd-edge distill"):
        make_bundle(RunFolder.open(copy), "desktop", tmp_path / "b.tar.gz")


def test_unknown_targets_and_versions_are_refused(run, tmp_path):
    for target, version, word in (
        ("jetson-nano", None, "unknown platform"),
        ("desktop", "8.6", "not supported"),
        ("desktop", "new", "not a TensorRT version"),
    ):
        with pytest.raises(UserError, match=word):
            make_bundle(run, target, tmp_path / "b.tar.gz", tensorrt=version)


# -- on the device ------------------------------------------------------------------------------------------------

LIGHT = """
import sys
ABSENT = {"torch", "onnx", "onnxscript", "safetensors", "sklearn", "tensorrt", "tensorrt_rtx", "pandas"}

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ABSENT:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
from regkd_edge.cli import main
try:
    main()
finally:
    assert not ABSENT & {name.split(".")[0] for name in sys.modules}
"""


def on_device(folder, *arguments):
    """The command line where only the light half is installed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-c", LIGHT, *map(str, arguments)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_one_command_builds_verifies_times_and_reports_without_torch_and_onnx(bundle, tmp_path):
    pytest.importorskip("onnxruntime")
    shutil.copy(bundle, tmp_path)
    done = on_device(tmp_path, "deploy", bundle.name, "--json")
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    folder = tmp_path / "demo.jetson-orin"
    record = json.loads((folder / "deploy.json").read_text())
    names = ["onnxruntime.fp32", "onnxruntime.fp16", "onnxruntime.int8", "native.fp32", "native.int8"]
    assert [one["name"] for one in record["verified"]] == names and all(one["passed"] for one in record["verified"])
    for one in record["verified"]:
        assert one["difference"] <= one["allowed"] and one["rmse"] == pytest.approx(one["expected_rmse"], rel=0.05)
    assert any(reason.startswith("tensorrt: TensorRT is not installed") for reason in record["left_out"])
    assert any(reason.startswith("native.fp16: the bundle has no native engine") for reason in record["left_out"])
    rows = {row["name"]: row for row in out["table"]}
    assert {"teacher", "baseline", "student", *names} == set(rows)
    assert (
        rows["onnxruntime.int8"]["precision"].startswith("int8")
        and rows["native.int8"]["p50_us_b1"] > 0
        and rows["native.int8"]["p50_us_b4"] > 0
    )
    assert any(note.startswith("recommended: ") for note in out["notes"])
    page = (folder / "report.html").read_text()
    assert "native.int8" in page and "its outputs match its graph" in page


def test_it_can_be_done_again(bundle, tmp_path):
    for _ in range(2):
        done = deploy(bundle, tmp_path / "out", backends=["native"], batches=[1], samples=20, warmup=0)
        assert done.passed and sorted(path.name for path in (tmp_path / "out" / "bench").iterdir()) == [
            "native.fp32.json",
            "native.fp32.npz",
            "native.int8.json",
            "native.int8.npz",
        ]


def test_a_device_explains_a_slow_int8_engine_as_the_run_does(run, tmp_path):
    """Which layers have their numbers in two INT8 parts is known where the graph was made, and travels with it."""
    from regkd_edge.bundle import make_bundle
    from regkd_edge.graph.int8_cost import int8_cost
    from regkd_edge.report import collect
    from regkd_edge.run import RunFolder

    shutil.copytree(run.path, tmp_path / "demo")
    state, two = json.loads((tmp_path / "demo" / "state.json").read_text()), {"layer0/gemm": ["data", "weights"]}
    [graph] = [one for one in state["stages"]["quantize"]["summary"]["graphs"] if one["precision"] == "int8"]
    graph["two_parts"] = two
    (tmp_path / "demo" / "state.json").write_text(json.dumps(state))
    path, header = make_bundle(RunFolder.open(tmp_path / "demo"), "desktop", tmp_path / "demo.desktop.tar.gz")
    assert {name: "two_parts" in graph for name, graph in header["graphs"].items()} == {
        "fp32": False, "fp16": False, "int8": True,
    }  # fmt: skip
    done = deploy(path, tmp_path / "out", batches=[1], samples=20, warmup=0, backends=["native"])
    measured = done.run.file("bench", "native.int8.json")
    record = json.loads(measured.read_text())
    record["latency"][0]["p50_ns"] = 1e6  # whatever this machine gave
    measured.write_text(json.dumps(record))
    [remark] = collect(done.run).slower
    assert remark.startswith("native.int8 is slower (") and remark.endswith(f": {int8_cost(two)}.")


def test_an_engine_that_answers_something_else_fails_and_is_not_timed(bundle, tmp_path):
    """As if its kernel were wrong: the expected answers of one graph are moved by 0.3 standard deviations."""
    import io

    content, files = read_archive(bundle)
    expected = dict(np.load(io.BytesIO(files["expected.npz"])))
    expected["int8"] = expected["int8"] + 0.3 * expected["fp32"].std(axis=0)
    stream = io.BytesIO()
    np.savez(stream, **expected)
    header = {key: value for key, value in content.items() if key not in ("format", "files")}
    write_archive(tmp_path / "wrong.tar.gz", header, {**files, "expected.npz": stream.getvalue()})
    done = deploy(tmp_path / "wrong.tar.gz", tmp_path / "out", backends=["native"])
    assert not done.passed and {one["name"]: one["passed"] for one in done.verified} == {
        "native.fp32": True,
        "native.int8": False,
    }
    assert any("the outputs of native.int8 differ from its graph's, so it was not timed" in note for note in done.notes)
    assert (
        not done.run.file("bench", "native.int8.json").exists() and done.run.file("bench", "native.fp32.json").exists()
    )
    assert "the outputs of native.int8 differ" in done.run.file("report.html").read_text()
    again = on_device(tmp_path, "deploy", "wrong.tar.gz", "out", "--backend", "native")
    assert again.returncode == 1 and "FAILED" in again.stdout, again.stderr


def test_a_tampered_bundle_is_refused_by_the_name_of_the_file(bundle, tmp_path):
    out = tmp_path / "out"
    deploy(bundle, out, backends=["native"], batches=[1], samples=20, warmup=0)
    graph = out / "onnx" / "student.int8.onnx"
    graph.write_bytes(graph.read_bytes().replace(b"\x01", b"\x02"))
    done = on_device(tmp_path, "deploy", bundle, "out")
    assert done.returncode == 2 and "'onnx/student.int8.onnx'" in done.stderr and "Traceback" not in done.stderr


def test_back_ends_that_are_absent_are_named(bundle, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(NotAvailable, match="TensorRT is not installed"):
        deploy(bundle, tmp_path / "out", backends=["tensorrt"])
    with pytest.raises(UserError, match="cannot be used with back end 'tensorrt-rtx'"):
        deploy(bundle, tmp_path / "out", backends=["tensorrt-rtx"])
    assert not (tmp_path / "out").exists()


def test_the_limit_grows_with_the_error_of_the_precision_and_ends_at_a_quarter():
    from regkd_edge.engines.verify import allowed_difference

    exact = np.random.default_rng(0).standard_normal((500, 2)) * [1.0, 50.0]
    spread = exact.std(axis=0)
    np.testing.assert_allclose(allowed_difference(exact, exact), 1e-4 * spread)  # FP32: last bits only
    np.testing.assert_allclose(allowed_difference(exact, exact + 0.01 * spread), 0.0201 * spread)  # twice its own error
    np.testing.assert_allclose(allowed_difference(exact, exact * 5), 0.25 * spread)
    clipped = exact.copy()
    clipped[:20] *= 9  # a few rows beyond the calibrated range do not loosen the limit
    np.testing.assert_allclose(allowed_difference(exact, clipped), 1e-4 * spread)
    assert (allowed_difference(exact[:1], exact[:1]) > 0).all()  # one row has no spread


def test_an_archive_that_deploy_could_not_name_a_folder_after_is_refused(tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("a,y\n1,2\n")
    with pytest.raises(UserError, match=r"\.tar\.gz"):
        make_bundle(RunFolder(tmp_path), "jetson-orin", table)
    assert table.read_text() == "a,y\n1,2\n"
