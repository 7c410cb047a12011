"""An engine that does not answer as its graph is shown as failed everywhere, and never recommended."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from regkd_edge.cli.tables import measured
from regkd_edge.engines.verify import compare_answers
from regkd_edge.report import collect, console_table
from regkd_edge.report.failed import failed_engines
from regkd_edge.report.page import page
from regkd_edge.report.recommend import recommend
from regkd_edge.report.verdict import _of_teacher
from regkd_edge.report.write import write_report


def deployed(name, passed, difference=3.0):
    target = {"name": "power", "difference": difference, "allowed": 0.5}
    return {"name": name, "passed": passed, "difference": difference, "allowed": 0.5, "targets": [target]}


def with_deployment(run, *verified):
    run.file("deploy.json").write_text(json.dumps({"verified": verified, "notes": [], "left_out": []}))
    return collect(run)


@pytest.mark.parametrize("failing", ["onnxruntime.fp32", "onnxruntime.int8"])
def test_the_other_engine_is_recommended_whichever_failed(run_copy, failing):
    other = {"onnxruntime.fp32": "onnxruntime.int8", "onnxruntime.int8": "onnxruntime.fp32"}[failing]
    report = with_deployment(run_copy, deployed(failing, False), deployed(other, True))
    assert report.recommended["name"] == other and failing not in report.recommended["why"]
    why = "it does not answer as its graph: an RMS difference of 3.00 in power, at most 0.500 is allowed"
    assert report.failed == {failing: why}
    assert {row["name"]: row["failed"] for row in report.rows if row["failed"]} == report.failed
    html = page(report)
    assert f"FAILED.</b> {failing}: {why}. Do not use it." in html
    assert re.search(rf'<tr class="failed engine"><th[^>]*>{re.escape(failing)}', html)
    assert f"<li>{failing} (FAILED)</li>" in html
    shown = console_table(report.rows, other)
    at = [column.heading for column in shown.columns].index("as its graph")
    assert {row[0]: row[at] for row in shown.rows if row[at]} == {failing: "FAILED"}
    assert measured(run_copy)["footnotes"][0] == f"FAILED: {failing}: {why}."
    write_report(run_copy, report)
    written = json.loads(run_copy.file("report.json").read_text())
    assert written["failed"] == report.failed and written["recommended"]["name"] == other


def test_where_all_failed_none_is_recommended(run_copy):
    report = with_deployment(
        run_copy, deployed("onnxruntime.fp32", False), deployed("onnxruntime.int8", False, difference=None)
    )
    assert report.recommended is None and report.failed["onnxruntime.int8"].endswith("answers that are not finite")
    html = page(report)
    assert "No engine is recommended" in html and "No engine that answers as its graph" in html
    assert html.count("<b>FAILED.</b>") == 2 and "Recommended engine" not in html


def test_without_a_failure_there_is_no_column_for_it(measured_run):
    report = collect(measured_run)
    assert report.failed == {} and "FAILED" not in page(report)
    assert "as its graph" not in [column.heading for column in console_table(report.rows).columns]


def test_what_the_stages_left_out_and_what_a_manifest_says_count_too():
    found = compare_answers(np.array([[1.0], [9.0]]), np.array([[1.0], [2.0]]), [0.5])
    assert not found.passed
    left = f"native.int8: {found.reason()}"  # as the stage build writes it
    stages = {
        "build": {"summary": {"left_out": [left, "native.bf16: a native engine takes fp32 and int8"]}},
        "bench": {"summary": {"left_out": ["x.fp16: it does not answer as its graph: answers that are not finite"]}},
        "teacher": {"summary": None},
    }
    verified = {"a": None, "b": {"passed": True}, "c": {"passed": False}}
    found = failed_engines(stages, None, verified)
    assert set(found) == {"native.int8", "x.fp16", "c"} and found["native.int8"] == left.partition(": ")[2]
    assert failed_engines({}, None, {}) == {} and failed_engines({"build": {"summary": {}}}, None, {}) == {}


def test_the_fastest_and_most_accurate_engine_is_passed_over():
    def row(name, us, delta, failed=None):
        target = {"name": "y", "delta": delta, "delta_low": None, "delta_high": None}
        return {"name": name, "kind": "engine", "p50_us_b1": us, "size_bytes": 1, "targets": [target], "failed": failed}

    rows = [row("best", 1.0, -0.1, "it does not answer as its graph"), row("slow", 9.0, 0.005), row("far", 8.0, 0.5)]
    assert recommend(rows, [1])["name"] == "slow" and "best" not in recommend(rows, [1])["why"]
    assert recommend(rows[:1], [1]) is None


@pytest.mark.parametrize(
    "ours,theirs,tile",
    [
        (434, 68354, ("157×", "fewer parameters than the teacher")),
        (1000, 2500, ("2.5×", "fewer parameters than the teacher")),
        (2500, 1000, ("2.5×", "more parameters than the teacher")),
        (1000, 1000, ("1,000", "parameters, about as many as the teacher (1,000)")),
        (1000, 1040, ("1,000", "parameters, about as many as the teacher (1,040)")),
        (1, 4_000_000, ("4,000,000×", "fewer parameters than the teacher")),
    ],
)
def test_the_tile_of_the_parameters_says_a_factor_only_where_there_is_one(ours, theirs, tile):
    assert _of_teacher(ours, theirs) == tile
