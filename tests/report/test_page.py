"""The page: complete, without a fetch, with everything hostile escaped; the plots show the numbers they are given."""

from __future__ import annotations

import dataclasses
import html
import json
import re
import shutil
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from hostile import crowded_report

from regkd_edge.report import collect, console_table, write_report
from regkd_edge.report.page import page
from regkd_edge.report.sections import training_section
from regkd_edge.report.table import figure
from regkd_edge.report.verdict import verdict
from regkd_edge.report.whole_table import table_section


class Document(HTMLParser):
    """Start tags with their attributes, and whether every tag that needs an end has one."""

    VOID = {"meta", "br", "line", "circle", "rect", "path"}

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.text = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def report(measured_run):
    return collect(measured_run)


def test_page_is_well_formed_and_fetches_nothing(report):
    document = Document(page(report))
    assert document.open == []
    assert not {tag for tag, _ in document.tags} & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
    }
    for _, attributes in document.tags:
        assert not {"src", "action", "data"} & attributes.keys()
        assert attributes.get("href", "./").startswith("./") and "//" not in attributes.get("href", "")
        assert not any(name.startswith("on") for name in attributes)
    assert not re.search(r"url\(|@import|https?://", page(report))
    policy = [a["content"] for tag, a in document.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_hostile_names_are_text_and_nothing_else(measured_run, tmp_path):
    hostile = "<script>alert(\"1\")</script> & 'x' <img src=x onerror=alert(1)>"
    run = type(measured_run)(shutil.copytree(measured_run.path, tmp_path / "<b>run"))
    names = json.loads(run.file("data.json").read_text())
    names["target_names"], names["source"] = [hostile], f"/tmp/{hostile}.csv"
    run.file("data.json").write_text(json.dumps(names))
    document = Document(page(collect(run)))
    assert not {tag for tag, _ in document.tags} & {"script", "img", "b>run"}
    assert hostile in "".join(document.text)  # shown as it is, so nothing was lost either


def test_the_race_of_several_targets_shows_the_first_and_its_table_and_folds_the_rest(measured_run):
    found = crowded_report(measured_run)
    shown, folded = training_section(found).split("<details>")
    first, second = found.target_names
    captions = [re.findall("<figcaption>([^<]*)", part) for part in (shown, folded)]
    races = [[html.unescape(c) for c in part if "race" in c] for part in captions]
    assert [len(part) for part in races] == [1, 2] and races[0][0].endswith(first)
    assert races[1][0].endswith(second) and races[1][1].endswith("pooled over the targets")
    assert not any("pooled" in c for c in captions[0]) and sum("validation rows" in c for c in captions[0]) == 2
    assert sum("validation rows" in c for c in captions[1]) == 4
    assert "candidate of the race" in shown, "every figure is in the table"


def test_one_target_has_nothing_to_fold(report):
    assert "<details>" not in training_section(report)


def test_json_holds_the_rows_of_the_page(measured_run, report, tmp_path):
    run = type(measured_run)(shutil.copytree(measured_run.path, tmp_path / "pump"))
    paths = write_report(run)
    assert [path.name for path in paths] == ["report.json", "report.html"]
    written = json.loads(paths[0].read_text())
    assert written["rows"] == report.rows and written["recommended"] == report.recommended
    assert written["held_out_rows"] == len(report.truth) and set(written["benches"]) == {
        "onnxruntime.fp32",
        "onnxruntime.int8",
    }
    text = paths[1].read_text()
    for row in report.rows:
        assert row["name"] in text and all(figure(target["rmse"]) in text for target in row["targets"])
    assert str(tmp_path) not in text


def test_half_a_run_still_makes_a_page(measured_run, tmp_path):
    run = type(measured_run)(shutil.copytree(measured_run.path, tmp_path / "pump"))
    for name in ("baseline", "student", "bench", "engines"):
        shutil.rmtree(run.file(name))
    document = Document(page(collect(run)))
    assert "No engine is recommended" in "".join(document.text) and document.open == []


def test_console_table_has_a_line_per_row_and_target(report):
    lines, _ = console_table(report.rows, "onnxruntime.int8").lines(None)
    assert all(row["name"] in "\n".join(line for line, _ in lines) for row in report.rows)
    below = lines[next(i for i, (line, _) in enumerate(lines) if "─" in line) + 1 :]
    assert [line.split()[0] for line, bold in below if bold] == ["onnxruntime.int8"]
    assert len(below) == len(report.rows)
    assert any("(power)" in line for line, _ in lines)


def test_a_latency_that_no_row_has_takes_no_column(report):
    rows = [{**row, "p99_us_b1": None} for row in report.rows]
    heads = [column.heading for column in console_table(rows).columns]
    assert "p50 µs, batch 1" in heads and "p99 µs, batch 16" in heads and "p99 µs, batch 1" not in heads


def test_linked_files_exist_in_the_run(measured_run, tmp_path):
    run = type(measured_run)(shutil.copytree(measured_run.path, tmp_path / "pump"))
    paths = write_report(run)
    links = [a["href"] for tag, a in Document(paths[1].read_text()).tags if tag == "a"]
    assert "./onnx/student.int8.onnx" in links and "./data.npz" in links
    assert all((run.path / unquote(link)).is_file() for link in links)


def changed(report, **values):
    return dataclasses.replace(report, **values)


def test_a_busy_machine_is_told_before_all_figures(report):
    benches = json.loads(json.dumps(report.facts["benches"]))
    for bench in benches.values():
        bench["machine"] |= {"load": [9.0, 1.0, 1.0], "cores": 2}
    text = page(changed(report, facts={**report.facts, "benches": benches}))
    assert "busy while the engines were timed (load 9.0 on 2 cores)" in text[: text.index("Can it ship?")]


def test_a_warning_about_the_training_is_told_before_all_figures(report):
    stages = {**report.facts["stages"], "distill": {"summary": {"student": {"notes": ["WARNING: it learns errors"]}}}}
    text = page(changed(report, facts={**report.facts, "stages": stages}))
    assert "student: it learns errors." in text[: text.index("Can it ship?")]


def test_a_student_of_no_use_is_told_before_it_is_recommended(measured_run):
    report = collect(measured_run)
    for row in report.rows:
        row["targets"][0]["r2"] = 0.004
    text = html.unescape(page(report))
    assert "hardly better than answering with the mean" in text[: text.index("Can it ship?")]


def test_errors_have_a_line_per_target_and_costs_a_line_per_engine(measured_run):
    found = crowded_report(measured_run)
    errors, costs = re.findall(r"<tbody>(.*?)</tbody>", table_section(found))
    assert errors.count("<tr") == 2 * len(found.rows) and costs.count("<tr") == len(found.rows)
    empty = set(re.findall('data-label="([^"]*)"></td>', errors + costs))
    assert empty == {"as its graph"}, "only what failed has a word there"
    assert 'data-label="size"' in costs and 'data-label="size"' not in errors


def test_students_without_data_are_not_said_to_be_judged_by_rows(measured_run):
    found = crowded_report(measured_run)
    found.facts["config"]["distill"]["no_data"] = True
    captions = re.findall("<figcaption>([^<]*)", training_section(found))
    assert any(c.startswith("Distance of baseline and student from the teacher on synthetic inputs") for c in captions)
    assert {c.split(" on the validation rows")[0] for c in captions if "validation rows" in c} == {"Error of teacher"}


def test_the_budget_is_judged_per_target_and_answered_first(run_copy):
    run = run_copy
    for allowed, answer, word in ((1e6, "Yes: ", "pass"), (1e-6, "No: ", "FAIL")):
        run.write_config(run.config().updated({"bench.allow": [f"power={allowed}"]}))
        report = collect(run)
        text = "".join(Document(page(report)).text)
        assert text.index(answer) < text.index("All models and engines")
        assert all(row["passed"] is (word == "pass") for row in report.rows)
        lines, _ = console_table(report.rows).lines(None)
        assert sum(word in line for line, _ in lines) == len(report.rows)


def test_without_a_budget_the_page_says_how_to_give_one(report):
    for names, typed in ((["power"], "power=RMSE"), (["flux [W/m^2]"], "RMSE"), (["a [W]", "b"], "TARGET=RMSE")):
        text = verdict(changed(report, target_names=names))
        assert f"report RUN --allow {typed}</code>" in text


def test_a_better_int8_is_explained(report):
    text = "".join(Document(page(report)).text)
    assert "a negative one is a lower error, which is better" in text and "by luck" in text


def test_calls_from_python_and_from_cpp_are_told_apart(report):
    text = "".join(Document(page(report)).text)
    assert "call from Python" in text and "C++" in text and "regkd-run" in text


def test_a_run_without_layer_errors_says_how_to_get_them_if_they_can_be_got(report):
    assert "quantize RUN --rank-layers" in "".join(Document(page(report)).text)
    other = changed(report, evidence=dataclasses.replace(report.evidence, rankable=False))
    assert "--rank-layers" not in "".join(Document(page(other)).text), "it refuses convolutions and GRUs"


def test_a_student_larger_than_its_teacher_is_not_called_smaller(measured_run):
    report = collect(measured_run)
    best = next(row for row in report.rows if row["name"] == report.recommended["name"])
    teacher = next(row for row in report.rows if row["name"] == "teacher")
    for times, said in (
        (4, "4×</b><span>fewer parameters than the teacher"),
        (0.5, "2×</b><span>more parameters than the teacher"),
    ):
        teacher["parameters"] = int(times * best["parameters"])
        assert said in verdict(report)


def test_a_unit_of_one_is_not_written_behind_its_number(measured_run):
    report = collect(measured_run)
    best = next(row for row in report.rows if row["name"] == report.recommended["name"])
    for unit, said in (("mAh", "12.50 mAh</b>"), ("1", "12.50</b>"), (None, "12.50</b>")):
        best["targets"][0].update(rmse=12.5, unit=unit)
        assert f"<b>{said}" in verdict(report)
