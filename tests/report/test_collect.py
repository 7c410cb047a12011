"""collect: the rows are what the files say, half a run is half a table, and a damaged file is named."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from regkd_edge.data import load_dataset
from regkd_edge.errors import RunFolderError
from regkd_edge.measure import accuracy, compare
from regkd_edge.report import collect
from regkd_edge.report.recommend import recommend


def by_name(report):
    return {row["name"]: row for row in report.rows}


def test_rows_are_models_then_engines_with_the_same_columns(measured_run):
    report = collect(measured_run)
    assert list(by_name(report)) == ["teacher", "baseline", "student", "onnxruntime.fp32", "onnxruntime.int8"]
    assert len({tuple(row) for row in report.rows}) == 1
    assert report.unit == "power" and report.batches == [1, 16]


def test_figures_are_those_of_the_held_out_rows(measured_run):
    row = by_name(collect(measured_run))["baseline"]
    dataset = load_dataset(measured_run)
    test, y = dataset.split.test, dataset.rows("test")[1]
    baseline, student = (
        np.load(measured_run.file(name, "predictions.npz"))["y"][test] for name in ("baseline", "student")
    )
    assert row["rmse"] == accuracy(y, baseline)["rmse"]
    assert row["delta"] == compare(y, baseline, student)["relative"]
    assert row["parameters"] == 113 and row["size_bytes"] == 452
    assert row["p50_us_b1"] is None  # a model that was not run as an engine has no latency


def test_engines_have_the_measured_latency_and_size(measured_run):
    rows = by_name(collect(measured_run))
    record = json.loads(measured_run.file("bench", "onnxruntime.int8.json").read_text())
    row = rows["onnxruntime.int8"]
    assert row["p99_us_b16"] == record["latency"][1]["p99_ns"] / 1000
    assert row["size_bytes"] == measured_run.file("engines", "onnxruntime.int8", "engine.onnx").stat().st_size
    assert row["what"] == "int8 graph, int8 kernels"
    assert rows["student"]["delta"] is None and abs(rows["onnxruntime.fp32"]["delta"]) < 1e-5


def test_a_run_with_a_teacher_only_has_one_line(run_copy):
    for name in ("baseline", "student", "bench", "engines", "onnx"):
        shutil.rmtree(run_copy.file(name))
    report = collect(run_copy)
    assert list(by_name(report)) == ["teacher"] and report.recommended is None and report.batches == []


def test_a_run_without_data_says_what_to_type(run_copy):
    run_copy.file("data.npz").unlink()
    with pytest.raises(RunFolderError, match=r"data\.npz.*regkd-edge train-teacher"):
        collect(run_copy)


def test_figures_of_an_engine_that_was_built_again_are_left_out(run_copy):
    path = run_copy.file("engines", "onnxruntime.int8", "manifest.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "engine_sha256": "0" * 64}))
    report = collect(run_copy)
    assert "onnxruntime.int8" not in by_name(report)
    assert any("was rebuilt" in note and "onnxruntime.int8" in note for note in report.notes)


@pytest.mark.parametrize(
    "name",
    ["bench/onnxruntime.int8.json", "bench/onnxruntime.int8.npz", "student/model.json", "student/predictions.npz"],
)
def test_a_damaged_file_is_named(run_copy, name):
    path = run_copy.file(name)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RunFolderError, match=path.stem.replace(".", r"\.")):
        collect(run_copy)


def test_too_few_requests_for_p99_are_said(run_copy):
    path = run_copy.file("bench", "onnxruntime.int8.json")
    record = json.loads(path.read_text())
    record["latency"][0] |= {"p99_ns": None, "samples": 999}
    path.write_text(json.dumps(record))
    report = collect(run_copy)
    assert by_name(report)["onnxruntime.int8"]["p99_us_b1"] is None
    (said,) = report.dashes
    assert said in report.notes
    assert said == (
        "p99 of onnxruntime.int8 is not given at batch 1: 999 requests are too few, 1,000 are needed "
        "(bench --samples 1000)."
    )


def test_enough_requests_leave_no_dash_to_explain(measured_run):
    assert collect(measured_run).dashes == []


def test_all_engines_timed_with_too_few_requests_are_one_line(run_copy):
    for path in run_copy.file("bench").glob("*.json"):
        record = json.loads(path.read_text())
        for timing in record["latency"]:
            timing |= {"p99_ns": None, "samples": 100}
        path.write_text(json.dumps(record))
    (said,) = collect(run_copy).dashes
    assert said.startswith("p99 is not given at batches 1, 16: 100 requests are too few")


def test_a_student_is_described_by_its_own_recipe_not_by_the_configuration_of_today(run_copy):
    weight = {"start": 0.5, "end": 0.5}
    off = {"start": 0.0, "end": 0.0}
    for name, recipe in (
        (
            "student",
            {"base": "tbr", "w_base": weight, "w_pm": weight, "w_abm": {"start": 1.0, "end": 0.0}, "w_gm": off},
        ),
        ("baseline", {"base": "tbr", "w_base": weight, "w_pm": off, "w_abm": off, "w_gm": off}),
    ):
        path = run_copy.file(name, "model.json")
        path.write_text(json.dumps({**json.loads(path.read_text()), "extra": {"recipe": recipe}}))
    edited = run_copy.config().updated({"distill.base": "blend", "distill.terms": ["gm"]})
    run_copy.write_config(edited)
    rows = by_name(collect(run_copy))
    assert rows["student"]["what"] == "mlp:16:tanh, tbr + PM + ABM"
    assert rows["baseline"]["what"] == "mlp:16:tanh, tbr alone"


def test_a_model_that_keeps_no_recipe_is_not_given_one(measured_run):
    assert by_name(collect(measured_run))["student"]["what"] == "mlp:16:tanh"


@pytest.mark.parametrize(("load", "said"), [(0.2, False), (6.5, True)])
def test_a_busy_machine_is_said(run_copy, load, said):
    for path in run_copy.file("bench").glob("*.json"):
        record = json.loads(path.read_text())
        record["machine"] |= {"load": [load, 0, 0], "cores": 2}
        path.write_text(json.dumps(record))
    notes = [note for note in collect(run_copy).notes if "busy" in note]
    assert notes == (
        [
            "The machine was busy while the engines were timed (load 6.5 on 2 cores): latencies, especially p99, are "
            "higher than on an idle machine."
        ]
        if said
        else []
    )


# -- the recommendation -------------------------------------------------------------------------------------------


def engine(name, p50, delta, size=1000):
    return {
        "name": name,
        "kind": "engine",
        "p50_us_b1": p50,
        "delta": delta,
        "delta_low": delta,
        "delta_high": delta,
        "size_bytes": size,
    }


def test_the_fastest_of_the_accurate_ones_is_recommended():
    rows = [
        engine("a.fp32", 10.0, 0.0),
        engine("a.int8", 5.0, 0.004),
        engine("a.int4", 1.0, 0.3),
        {**engine("student", 0.1, 0.0), "kind": "model"},
    ]
    found = recommend(rows, [1])
    assert found["name"] == "a.int8"
    assert "p50 5.00 µs" in found["why"] and "+0.40%" in found["why"] and "a.int4 loses 30.0%" in found["why"]


def test_an_engine_that_loses_nothing_is_not_explained_by_zeros():
    found = recommend([engine("a.fp32", 5.0, 0.0), engine("a.int8", 50.0, 0.004)], [1])
    assert found["why"] == "it is the fastest at batch 1: p50 5.00 µs; its RMSE is that of the FP32 student"
    wide = {**engine("a.fp32", 5.0, 0.0), "delta_low": -0.01, "delta_high": 0.01}
    assert "RMSE 0.00% against the FP32 student, 95 % interval -1.00% to +1.00%" in recommend([wide], [1])["why"]


def test_engines_that_are_as_fast_are_told_apart_by_size():
    found = recommend([engine("a.fp32", 10.0, 0.0, 4000), engine("a.int8", 10.3, 0.0, 1000)], [1])
    assert found["name"] == "a.int8" and "as fast as a.fp32" in found["why"] and "smallest" in found["why"]


def test_of_files_of_one_size_the_more_accurate_one_is_taken_and_none_is_called_smaller():
    found = recommend([engine("a.int8", 10.0, 0.002, 1000), engine("a.fp32", 10.1, 0.0, 1000)], [1])
    assert found["name"] == "a.fp32" and "smallest" not in found["why"]
    assert "of the files as small as that of a.int8 the most accurate" in found["why"]


def test_when_none_is_accurate_the_most_accurate_one_is_named_as_such():
    found = recommend([engine("a.int8", 1.0, 0.2), engine("a.fp16", 9.0, 0.02)], [1])
    assert found["name"] == "a.fp16" and "no engine is within 1%" in found["why"]


def test_nothing_measured_nothing_recommended():
    assert recommend([], []) is None
    assert recommend([{**engine("a", 1.0, 0.0), "p50_us_b1": None}], [1]) is None
    assert recommend([{**engine("a", 1.0, 0.0), "delta": None}], [1]) is None


def test_products_of_int8_numbers_in_two_parts_are_not_counted_for_fp32(run_copy, monkeypatch):
    from regkd_edge.errors import NotAvailable
    from regkd_edge.report import evidence

    exact = collect(run_copy).evidence.costs["onnxruntime.fp32"].multiply_adds
    int8 = {"precision": "int8", "two_parts": {"layer0/gemm": ["data", "weights"]}}
    graphs = [{**int8, "layers": [{"multiply_adds": 3 * exact}]}]
    written = {"format": 1, "stages": {"quantize": {"outputs": {}, "summary": {"graphs": graphs}}}}
    run_copy.file("state.json").write_text(json.dumps(written))
    costs = collect(run_copy).evidence.costs
    assert exact > 0 and costs["onnxruntime.fp32"].multiply_adds == exact
    assert costs["onnxruntime.int8"].multiply_adds == 3 * exact

    def absent(path):
        raise NotAvailable("onnx is not installed.", "")

    monkeypatch.setattr(evidence, "graph_precision", absent)
    assert collect(run_copy).evidence.costs["onnxruntime.fp32"].multiply_adds is None, "nothing else is known"
