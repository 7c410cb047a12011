"""The page: complete, without a fetch, with everything hostile escaped; the plots show the numbers they are given."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import numpy as np
import pytest

from regkd_edge.report import collect, console_table, write_report
from regkd_edge.report.axes import Frame, log_ticks, nice_ticks
from regkd_edge.report.page import page
from regkd_edge.report.plots import (
    MOST_POINTS,
    error_by_range,
    latency_distribution,
    predicted_against_true,
    range_edges,
)
from regkd_edge.report.table import figure, percent, size


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
        "a",
    }
    for _, attributes in document.tags:
        assert not {"src", "href", "action", "data"} & attributes.keys()
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
        assert row["name"] in text and figure(row["rmse"]) in text
    assert str(tmp_path) not in text


def test_half_a_run_still_makes_a_page(measured_run, tmp_path):
    run = type(measured_run)(shutil.copytree(measured_run.path, tmp_path / "pump"))
    for name in ("baseline", "student", "bench", "engines"):
        shutil.rmtree(run.file(name))
    document = Document(page(collect(run)))
    assert "No engine is recommended" in "".join(document.text) and document.open == []


def test_console_table_has_a_line_a_row(report):
    from rich.console import Console

    console = Console(width=200, record=True, file=open("/dev/null", "w"))
    console.print(console_table(report.rows, report.unit, "onnxruntime.int8"))
    text = console.export_text()
    assert all(row["name"] in text for row in report.rows) and "RMSE in: power" in text


# -- plots --------------------------------------------------------------------------------------------------------


def picture(svg):
    return ElementTree.fromstring(svg.replace("<svg ", "<svg xmlns:x='x' ", 1))


def test_scatter_puts_points_where_they_belong():
    truth, predicted = np.array([0.0, 1.0, 2.0]), np.array([0.0, 2.0, 2.0])
    root = picture(predicted_against_true(truth, {"m": ("s1", predicted)}, "y"))
    dots = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter("circle")]
    line = next(e for e in root.iter("line") if e.get("class") == "diagonal")
    x1, y1, x2, y2 = (float(line.get(k)) for k in ("x1", "y1", "x2", "y2"))
    distance = [
        (y1 + (x - x1) * (y2 - y1) / (x2 - x1)) - y for x, y in dots
    ]  # above the diagonal is positive: y grows downwards
    assert distance[0] == pytest.approx(0, abs=0.2) and distance[2] == pytest.approx(0, abs=0.2)  # drawn to 0.1 pixel
    assert distance[1] > 50
    assert dots[0][0] < dots[1][0] < dots[2][0]


def test_scatter_of_many_rows_is_a_sample_of_the_same_rows():
    truth = np.arange(5000.0)
    root = picture(predicted_against_true(truth, {"a": ("s3", truth), "b": ("s1", truth + 1)}, "y"))
    groups = [[c.get("cx") for c in g.iter("circle")] for g in root.iter("g")]
    assert len(groups[0]) == MOST_POINTS and groups[0] == groups[1]


def test_ranges_hold_about_as_many_rows_each():
    truth = np.random.default_rng(0).lognormal(size=1000)
    edges = range_edges(truth)
    counts = np.histogram(truth, edges)[0]
    assert len(edges) == 11 and counts.sum() == 1000 and counts.min() >= 99


def test_few_distinct_values_get_a_range_each():
    edges = range_edges(np.array([0.0, 1.0, 1.0, 3.0]))
    assert edges.tolist() == [-0.5, 0.5, 2.0, 3.5]
    assert np.all(np.diff(range_edges(np.full(9, 4.0))) > 0)


def test_error_by_range_is_the_rmse_of_the_rows_in_it():
    truth = np.array([0.0, 0.0, 1.0, 1.0])
    predicted = np.array([3.0, -3.0, 1.0, 2.0])
    root = picture(error_by_range(truth, {"m": ("s1", predicted)}, "y"))
    tips = [t.text for t in root.iter("title")]
    assert tips == ["m: -0.5 to 0.5, 2 rows, RMSE 3", "m: 0.5 to 1.5, 2 rows, RMSE 0.7071"]


def test_latency_strips_say_what_lies_beyond_the_axis():
    ns = np.concatenate([np.full(1995, 10_000), np.full(5, 9_000_000)])
    root = picture(latency_distribution({"engine": ns}, 1))
    texts = [t.text for t in root.iter("text")]
    assert any("n = 2,000" in t and "5 beyond the axis, longest 9,000 µs" in t for t in texts)
    assert any(t == "p50 10" for t in texts) and any(t == "p99 10" for t in texts)


def test_no_p99_mark_with_few_requests():
    texts = [t.text for t in picture(latency_distribution({"e": np.full(999, 5000)}, 1)).iter("text")]
    assert any(t.startswith("p50") for t in texts) and not any(t.startswith("p99") for t in texts)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 17), (1e-7, 5e-7), (123456, 123999), (0, 0.3)])
def test_ticks_are_round_inside_and_enough(low, high):
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 7 and all(low - 1e-12 <= t <= high + 1e-12 for t in ticks)
    assert np.allclose(np.diff(ticks), np.diff(ticks)[0])


def test_log_ticks():
    assert log_ticks(4, 60) == [5, 10, 20, 50]
    assert log_ticks(1, 1e5) == [1, 10, 100, 1000, 1e4, 1e5]


def test_an_axis_of_one_value_still_has_a_width():
    frame = Frame((5.0, 5.0), (0.0, 0.0))
    assert frame.px(5.0) == pytest.approx((frame.left + frame.width - frame.right) / 2)


def test_figures_are_written_for_readers():
    assert [figure(v) for v in (None, 0, 0.12344, 1234.5678, 12345.6, 1.5e-7, 3e12)] == [
        "–",
        "0",
        "0.1234",
        "1235",
        "12,346",
        "1.500e-07",
        "3.000e+12",
    ]
    assert [size(v) for v in (None, 999, 1500, 2_340_000)] == ["–", "999 B", "1.5 kB", "2.34 MB"]
    assert [percent(v) for v in (None, 0.0123, -0.00001, 2.5)] == ["–", "+1.23%", "0.00%", "+250%"]
