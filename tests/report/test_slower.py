"""INT8 engines that are slower or larger than FP32: said where it was measured, with the cause and a remedy."""

from __future__ import annotations

import json

import pytest

from regkd_edge.report.slower import slower_than_fp32, two_parts_of

TWO = {"layer0/gemm": ["data", "weights"], "layer1/gemm": ["data"]}


def engine(name, p50, size, precision=None, **more):
    return {
        "name": name, "kind": "engine", "precision": precision or name.split(".")[1], "failed": None,
        "p50_us_b1": p50, "p50_us_b64": p50, "size_bytes": size, **more,
    }  # fmt: skip


def said(*rows, two=None, precision="int8", batches=(1, 64)):
    benches = {row["name"]: {"backend": row["name"].split(".")[0]} for row in rows}
    return slower_than_fp32(rows, benches, {precision: two} if two else {}, batches)


def test_a_slower_and_larger_graph_of_two_parts_is_explained_with_its_layers_and_options():
    [note] = said(engine("onnxruntime.fp32", 8.0, 4000), engine("onnxruntime.int8", 12.5, 5400), two=TWO)
    assert note.startswith(
        "onnxruntime.int8 is slower (median 12.5 µs, 8.00 µs at batch 1) and larger (5.40 kB, 4.00 kB) than "
        "onnxruntime.fp32: one INT8 number is too coarse in layer0/gemm (data and weights), layer1/gemm (data), so "
        "there are two"
    )
    assert "--max-increase" in note and "--corrections without split" in note and "hardware with INT8 units" in note


def test_plain_int8_is_not_said_to_be_in_two_parts():
    [note] = said(engine("onnxruntime.fp32", 8.0, 4000), engine("onnxruntime.int8", 9.0, 3000))
    assert (
        "slower (median 9.00 µs, 8.00 µs at batch 1) than" in note and "larger (" not in note and "coarse" not in note
    )


def test_engines_with_one_cause_share_a_remark():
    rows = [engine(f"{b}.{p}", 8.0 + 4 * (p == "int8"), 9) for b in ("a", "b") for p in ("fp32", "int8")]
    [note] = said(*rows, two=TWO)
    assert "a.int8 is slower" in note and "; b.int8 is slower" in note and note.count("too coarse") == 1


def test_the_larger_batch_alone_can_be_slower():
    rows = engine("o.fp32", 8.0, 9), {**engine("o.int8", 8.0, 8), "p50_us_b64": 20.0}
    assert "20.0 µs, 8.00 µs at batch 64" in said(*rows)[0]
    assert said(*rows, batches=[1]) == []


@pytest.mark.parametrize(
    "rows",
    [
        (engine("o.fp32", 8.0, 4000), engine("o.int8", 8.3, 3000)),  # within what varies from run to run
        (engine("o.fp32", 8.0, 4000), engine("o.int8", None, None)),  # nothing was measured
        (engine("o.fp32", 8.0, 4000), engine("o.fp16", 12.0, 5000)),  # not INT8
        (engine("native.fp32", 1.0, 400), engine("o.int8", 12.0, 5000)),  # of another back end
        (engine("o.fp32", 8.0, 4000, failed="wrong"), engine("o.int8", 12.0, 5000)),
        (engine("o.fp32", 8.0, 4000), engine("o.int8", 12.0, 5000, failed="wrong")),
    ],
)
def test_nothing_is_said_where_it_did_not_happen(rows):
    assert said(*rows, two=TWO) == []


def test_the_record_of_a_run_says_it_by_the_name_of_each_graph():
    graphs = [
        {"precision": "int8", "target": "onnx/student.int8.onnx", "two_parts": TWO},
        {"precision": "int8+fp32", "target": "onnx/student.mixed.onnx", "two_parts": {"layer0/gemm": ["data"]}},
        {"precision": "fp16", "target": "onnx/student.fp16.onnx"},
    ]
    assert two_parts_of({"quantize": {"summary": {"graphs": graphs}}}) == {
        "int8": TWO,
        "mixed": {"layer0/gemm": ["data"]},
    }


@pytest.mark.parametrize("summary", [None, 3, {"graphs": 3}, {"graphs": [3, {"precision": "int8", "two_parts": [1]}]}])
def test_a_record_that_was_edited_says_nothing_of_two_parts(summary):
    assert two_parts_of({"quantize": {"summary": summary}}) == two_parts_of({}) == {}


def test_a_run_says_so_in_its_table_and_on_its_page(run_copy):
    """The real engines, with times that are put in their records."""
    from regkd_edge.cli.tables import measured
    from regkd_edge.io.files import write_json
    from regkd_edge.report import collect
    from regkd_edge.report.page import page

    for name, p50 in (("onnxruntime.fp32", 8_000.0), ("onnxruntime.int8", 12_000.0)):
        path = run_copy.file("bench", f"{name}.json")
        record = json.loads(path.read_text())
        for timing in record["latency"]:
            timing["p50_ns"] = p50
        write_json(path, record)
    report = collect(run_copy)
    [note] = report.slower
    assert note.startswith("onnxruntime.int8 is slower (median 12.0 µs, 8.00 µs at batch 1)")
    assert note in measured(run_copy)["footnotes"] and note[:60] in page(report)
