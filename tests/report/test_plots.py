"""The plots show the numbers they are given, and no label covers another."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from regkd_edge.cli.progress import Watch
from regkd_edge.recipes.terms import TERMS, Term
from regkd_edge.report.axes import PlotArea, log_ticks, nice_ticks, shortened, text_width
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
from regkd_edge.report.plot_pareto import Point, frontier, placed_labels, trade_off
from regkd_edge.report.plot_training import bars, curves, loss_terms, validation_curves
from regkd_edge.report.race import race_figures, race_rows, race_table
from regkd_edge.report.table import figure, percent, size


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


def test_latency_captions_say_what_lies_beyond_the_axis():
    ns = np.concatenate([np.full(1995, 10_000), np.full(5, 9_000_000)])
    caption = strip_caption("engine", ns, axis_ends({"engine": ns}))
    assert caption == "engine: p50 10 µs, p99 10 µs, 2,000 requests, 5 beyond the axis, the longest 9,000 µs"
    marks = list(picture(latency_strip("engine", ns, axis_ends({"engine": ns}))).iter("line"))
    assert sum(e.get("class") == "mark" for e in marks) == 2


def test_no_p99_with_few_requests():
    ns = np.full(999, 5000)
    ends = axis_ends({"e": ns})
    assert "p50 5 µs" in strip_caption("e", ns, ends) and "p99" not in strip_caption("e", ns, ends)
    assert [e.get("class") for e in picture(latency_strip("e", ns, ends)).iter("line")].count("mark") == 1


@pytest.mark.parametrize("ends", [(1.0, 1.4), (0.3, 900.0), (5.0, 5e7)])
def test_labels_of_the_latency_axis_do_not_touch(ends):
    spans = sorted(
        (float(t.get("x")) - text_width(t.text) / 2, float(t.get("x")) + text_width(t.text) / 2)
        for t in picture(axis_of(ends)).iter("text")
    )
    assert all(right < left for (_, right), (left, _) in zip(spans, spans[1:]))


def test_the_frontier_is_what_no_other_engine_beats():
    a, b, c, d = Point("a", 1, 5), Point("b", 2, 3), Point("c", 3, 4), Point("d", 4, 1)
    assert frontier([d, c, b, a]) == [a, b, d]
    assert frontier([Point("x", 1, 1), Point("y", 1, 2)]) == [Point("x", 1, 1)]


def test_points_of_the_trade_off_lie_where_cost_and_error_say():
    svg = trade_off([Point("1", 1.0, 2.0), Point("2", 10.0, 1.0, True)], "µs", "RMSE", [("teacher", 1.5)])
    (x1, y1), (x2, y2) = [(float(c.get("cx")), float(c.get("cy"))) for c in picture(svg).iter("circle")]
    assert x1 < x2 and y1 < y2  # y grows downwards
    [line] = [e for e in picture(svg).iter("line") if e.get("class") == "diagonal"]
    assert float(line.get("y1")) == pytest.approx((y1 + y2) / 2, abs=0.2)


def test_labels_of_coinciding_points_do_not_cover_each_other():
    frame = PlotArea((0, 1), (0, 1))
    centres = [(200.0, 150.0)] * 9
    places = placed_labels([str(i) for i in range(9)], centres, frame)
    boxes = [(x - 4, y - 11, x + 4, y + 3) for x, y in places]
    for i, a in enumerate(boxes):
        for b in boxes[i + 1 :]:
            assert not (a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3])


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


def test_the_race_is_shown_nearest_first_with_those_that_were_dropped():
    race = {
        "measure": "distance to the teacher on held-out rows, standard deviations of the target",
        "winner": "all terms",
        "rungs": [100, 400],
        "candidates": [
            {"title": "base alone", "distance_to_teacher": [0.5, 0.4], "distance_to_labels": [9.0, 9.0]},
            {"title": "all terms", "distance_to_teacher": [0.6, 0.1]},
            {"title": "noise", "distance_to_teacher": [0.9]},
            {"title": "never ran", "distance_to_teacher": []},
        ],
    }
    assert race_rows(race) == [
        ("all terms", 0.1, True),
        ("base alone", 0.4, False),
        ("noise (dropped after rung 1 of 2)", 0.9, False),
    ]
    drawn = [float(e.get("width")) for e in picture(bars(race_rows(race), "d", "t")).iter("rect")]
    assert drawn == sorted(drawn) and drawn[2] == pytest.approx(9 * drawn[0], abs=0.5)
    [alone] = race_figures(race)
    assert "standard deviations" in alone and race_table(race) == "", "the record of an earlier version"


def race_of(targets):
    candidate = lambda title, pooled, *own: {
        "title": title, "distance_to_teacher": pooled, "distance_to_labels": pooled,
        "target_distance_to_teacher": [list(rung) for rung in own],
    }  # fmt: skip
    n = len(targets)
    return {
        "measure": "distance to the teacher on held-out rows, standard deviations of the target",
        "winner": "PM",
        "rungs": [1000, 4000],
        "targets": list(targets),
        "candidates": [
            candidate("base alone", [0.5, 0.4], [80.0, 3e-6][:n], [64.0, 4e-6][:n]),
            candidate("PM", [0.6, 0.1], [96.0, 7e-6][:n], [16.0, 5e-6][:n]),
            candidate("wild", [0.7, None], [112.0, 8e-6][:n], [None, None][:n]),
            candidate("slow", [0.9], [144.0, 9e-6][:n]),
        ],
    }  # fmt: skip


def test_the_race_is_shown_per_target_in_its_unit_and_pooled_second():
    race = race_of(["life [cycles]", "strain"])
    assert race_rows(race, 0) == [
        ("PM", 16.0, True),
        ("base alone", 64.0, False),
        ("wild (diverged after rung 1 of 2)", 112.0, False),
        ("slow (dropped after rung 1 of 2)", 144.0, False),
    ]
    assert [title for title, _, _ in race_rows(race, 1)][:2] == ["base alone", "PM"], "nearest first in this target"
    labels = [picture(f[f.index("<svg") : f.index("</figure>")]).findall("text")[-1].text for f in race_figures(race)]
    assert labels[:2] == ["distance to the teacher, life [cycles]", "distance to the teacher, strain"]
    assert "standard deviations" in labels[2] and len(labels) == 3
    cells = re.findall(r"<t[hd] [^>]*>(?:<span>)?([^<]*)", race_table(race))
    assert cells[:5] == ["candidate of the race", "steps when judged", *labels[:2], "pooled, standard deviations"]
    assert cells[5:15] == [
        "PM",
        "4,000",
        "16.00",
        "5.000e-06",
        "0.1000",
        "base alone",
        "4,000",
        "64.00",
        "4.000e-06",
        "0.4000",
    ]
    assert cells[15:] == [
        "wild",
        "1,000",
        "112.0",
        "8.000e-06",
        "0.7000",
        "slow",
        "1,000",
        "144.0",
        "9.000e-06",
        "0.9000",
    ]
    race["candidates"][3]["steps"] = [120]
    assert ">120<" in race_table(race), "each candidate has the steps of its own record"


def test_of_many_candidates_the_nearest_are_drawn_and_the_rest_are_folded_away():
    """19 candidates would fill several screens of a phone; the winner is drawn wherever it came."""
    race = race_of(["life"])
    race["candidates"] = [
        {"title": f"c{k:02d}", "distance_to_teacher": [30, 1 + k], "target_distance_to_teacher": [[30], [1 + k]]}
        for k in range(19)
    ]
    race["candidates"][-1]["title"] = "PM"
    [drawn] = race_figures(race)
    names = [one.text for one in picture(drawn[drawn.index("<svg") : drawn.index("</figure>")]).findall("text")]
    assert names[:-1:2] == ["c00", "c01", "c02", "c03", "c04", "PM"] and "6 of 19 candidates" in drawn
    assert race_table(race).startswith("<details><summary>All 19 candidates of the race</summary>")
    assert race_table(race).count("<tr") == 20
    race["candidates"] = race["candidates"][:6]
    assert "candidates" not in race_figures(race)[0] and not race_table(race).startswith("<details>")


def test_the_race_for_one_target_has_no_standard_deviations():
    race = race_of(["life [cycles]"])
    assert len(race_figures(race)) == 1 and "deviation" not in race_figures(race)[0] + race_table(race)
    assert "distance to the teacher, life [cycles]" in race_table(race)


@pytest.mark.parametrize("field", ["rungs", "targets", "measure", "winner"])
@pytest.mark.parametrize("value", [None, 3, "x", {"a": 1}, [None, "x", [1]]])
def test_a_record_of_a_race_that_was_edited_is_shown_as_far_as_it_goes(field, value):
    race = race_of(["a", "b"]) | {field: value}
    assert race_figures(race) and "<svg" in race_figures(race)[0]
    race_table(race)
    odd = [{}, 3, {"title": 1, "target_distance_to_teacher": [3, [], ["x"]], "distance_to_teacher": "x"}]
    assert race_table(race | {"candidates": odd}) == ""


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


@pytest.mark.parametrize("room", [20, 60, 200])
def test_a_long_label_is_shortened_in_its_middle(room):
    short = shortened("a_very_long_name_of_a_target [mAh]", room)
    assert text_width(short, 12.5) <= max(room, text_width("ab…c", 12.5)) and (short.endswith("]") or "…" in short)
    assert shortened("ab", 200) == "ab"


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.2, 17), (1e-7, 5e-7), (123456, 123999), (0, 0.3)])
def test_ticks_are_round_inside_and_enough(low, high):
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 7 and all(low - 1e-12 <= t <= high + 1e-12 for t in ticks)
    assert np.allclose(np.diff(ticks), np.diff(ticks)[0])


def test_log_ticks():
    assert log_ticks(4, 60) == [5, 10, 20, 50]
    assert log_ticks(1, 1e5) == [1, 10, 100, 1000, 1e4, 1e5]


def test_an_axis_of_one_value_still_has_a_width():
    frame = PlotArea((5.0, 5.0), (0.0, 0.0))
    assert frame.px(5.0) == pytest.approx((frame.left + frame.width - frame.right) / 2)


def test_figures_are_written_for_readers():
    assert [figure(v) for v in (None, 0, 0.12344, 46.0, 1234.5678, 9999.96, 12345.6, 1.5e-7, 3e12)] == [
        "–",
        "0",
        "0.1234",
        "46.00",
        "1,235",
        "10,000",
        "12,346",
        "1.500e-07",
        "3.000e+12",
    ]
    assert [size(v) for v in (None, 999, 1500, 2_340_000)] == ["–", "999 B", "1.50 kB", "2.34 MB"]
    assert [percent(v) for v in (None, 0.0123, -0.00001, 2.5)] == ["–", "+1.23%", "0.00%", "+250%"]
