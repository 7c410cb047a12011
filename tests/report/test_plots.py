"""The plots show the numbers they are given, and no label covers another."""

from __future__ import annotations

import numpy as np
import pytest
from drawn import picture

from regkd_edge.cli.progress import Watch
from regkd_edge.recipes.terms import TERMS, Term
from regkd_edge.report.axes import text_width
from regkd_edge.report.layers import layer_figures
from regkd_edge.report.plot_errors import (
    MOST_POINTS,
    error_by_range,
    influence,
    predicted_against_true,
    range_edges,
    residuals_over,
)
from regkd_edge.report.plot_latency import axis_ends, axis_of, latency_strip, strip_caption
from regkd_edge.report.plot_training import curves, loss_terms, validation_curves


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


def test_latency_captions_say_what_lies_beyond_the_axis():
    ns = np.concatenate([np.full(1995, 10_000), np.full(5, 9_000_000)])
    caption = strip_caption("engine", ns, axis_ends({"engine": ns}))
    assert caption == "engine: p50 10.0 µs, p99 10.0 µs, 2,000 requests, 5 beyond the axis, the longest 9,000 µs"
    marks = list(picture(latency_strip("engine", ns, axis_ends({"engine": ns}))).iter("line"))
    assert sum(e.get("class") == "mark" for e in marks) == 2


def test_no_p99_with_few_requests():
    ns = np.full(999, 5000)
    ends = axis_ends({"e": ns})
    assert "p50 5.00 µs" in strip_caption("e", ns, ends) and "p99" not in strip_caption("e", ns, ends)
    assert [e.get("class") for e in picture(latency_strip("e", ns, ends)).iter("line")].count("mark") == 1


@pytest.mark.parametrize("ends", [(1.0, 1.4), (0.3, 900.0), (5.0, 5e7)])
def test_labels_of_the_latency_axis_do_not_touch(ends):
    spans = sorted(
        (float(t.get("x")) - text_width(t.text) / 2, float(t.get("x")) + text_width(t.text) / 2)
        for t in picture(axis_of(ends)).iter("text")
    )
    assert all(right < left for (_, right), (left, _) in zip(spans, spans[1:]))


def test_the_input_that_decides_the_target_explains_most():
    x = np.random.default_rng(0).standard_normal((2000, 3))
    shares = influence(x, np.abs(x[:, 1]) + 0.1 * x[:, 2])  # no correlation with x1, yet it decides
    assert np.argmax(shares) == 1 and shares[1] > 0.8 and shares[0] < 0.05


def test_residuals_are_those_of_the_rows_in_the_range():
    values = np.array([0.0, 0.0, 1.0, 1.0])
    svg = residuals_over(values, {"m": ("s1", np.array([1.0, 3.0, -2.0, -2.0]))}, "x", "y")
    frame_zero = next(e for e in picture(svg).iter("line") if e.get("class") == "diagonal")
    [path] = [e.get("d") for e in picture(svg).iter("path")]
    heights = [float(part.split("H")[0].split(" ")[1]) for part in path.split("M")[1:]]
    assert heights[0] < float(frame_zero.get("y1")) < heights[1]  # +2 above zero, -2 below


def test_loss_terms_are_in_words_and_unused_ones_absent():
    history = [{"step": 10, "total": 3.0, "base": 1.0, "pm": 2.0, "gm": 0.0}, {"step": 20, "total": 1.5, "base": 1.0}]
    assert list(loss_terms(history)) == ["all terms together", "base loss", "perturbation matching"]
    assert list(loss_terms([{"step": 1, "total": 1.0, "base": 1.0}])) == ["base loss"]


def test_a_term_that_is_new_in_the_table_has_its_curve_and_its_words(monkeypatch):
    monkeypatch.setitem(TERMS, "mean", Term("mean", "matching of the mean", "nowhere:f", 1.0))
    terms = loss_terms([{"step": 1, "total": 2.0, "base": 1.0, "mean": 1.0}])
    assert list(terms) == ["all terms together", "base loss", "matching of the mean"]
    watch = Watch()
    watch("student", 1, 2, {"mean": 0.25}, None)
    assert "matching of the mean 0.25" in watch.figures


def test_curves_fall_where_the_loss_falls_and_skip_what_a_logarithm_lacks():
    entries = [{"step": s, "validation_rmse": 1.0 / s, "target_rmse": [72.0 / s, 23.0 / s]} for s in (1, 2, 4)]
    for target, want in ((None, [1.0, 0.5, 0.25]), (0, [72.0, 36.0, 18.0]), (1, [23.0, 11.5, 5.75])):
        assert validation_curves({"m": entries}, {"m": "s1"}, target)["m"][2].tolist() == want
    assert validation_curves({"m": entries}, {"m": "s1"}, 2) == {}
    lines = validation_curves({"m": [{"step": i, "validation_rmse": v} for i, v in ((1, 10.0), (2, 0.0), (3, 1.0))]},
        {"m": "s1"})  # fmt: skip
    [path] = picture(curves(lines, "RMSE", "t")).iter("path")
    assert path.get("d").count("M") == 2
    assert curves({"m": ("s1", np.array([1.0]), np.array([0.0]))}, "y", "t") == ""


def test_the_error_by_layer_is_in_the_unit_of_each_target_and_in_percent_second():
    layers = [{"name": "a", "precision": "int8", "change": 2.0, "targets": [30.0, 4e-3]},
        {"name": "b", "precision": "int8-split", "change": 1.0, "targets": [10.0, 5e-3]}]  # fmt: skip
    found = {"all": 2.5, "layers": layers, "targets": ["life [cycles]", "capacity"], "all_targets": [33.0, 6e-3]}
    life, capacity, pooled = layer_figures("int8", found)
    assert "int8: rounding all layers moves the answers by 33.0, life [cycles]" in life and ">30.0<" in life
    assert "moves the answers by 0.00600, capacity" in capacity and ">0.00400<" in capacity and ">0.00500<" in capacity
    assert "2.50 % of their standard deviation, pooled over the targets" in pooled and ">2.00<" in pooled
    one = {key: value for key, value in found.items() if "targets" not in key}
    assert len(layer_figures("int8", one)) == 1, "the record of an earlier version"
    for odd in ({"targets": 3}, {"targets": ["a", "b"]}, {"all_targets": [None, "x"], "targets": ["a"]}):
        assert layer_figures("int8", one | odd)
