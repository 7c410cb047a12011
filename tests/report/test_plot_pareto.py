"""Error against latency and size: the frontier, and labels that belong to one point and cover none."""

from __future__ import annotations

import math

import pytest
from drawn import picture

from regkd_edge.report.axes import PlotArea, text_width
from regkd_edge.report.plot_pareto import Point, frontier, placed_labels, trade_off


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


def test_what_a_rounding_of_float32_gains_is_not_worth_its_cost():
    cheap, dear, better = Point("1", 1, 0.5), Point("2", 60, 0.5 * (1 - 1e-7)), Point("3", 90, 0.49)
    assert frontier([dear, cheap, better]) == [cheap, better]


def _circles(svg):
    return [(float(c.get("cx")), float(c.get("cy"))) for c in picture(svg).iter("circle")]


def _texts(svg, css):
    return {t.text: (float(t.get("x")), float(t.get("y"))) for t in picture(svg).iter("text") if t.get("class") == css}


def test_each_label_is_nearest_to_its_own_point_where_two_are_close():
    """Two native engines within 25 % of each other, three others 30 times slower: as on a real page."""
    costs = [("1", 0.306), ("2", 0.386), ("3", 8.08), ("4", 8.31), ("5", 18.2)]
    svg = trade_off([Point(name, cost, 5.56e-10) for name, cost in costs], "µs", "RMSE", [("teacher", 6e-10)])
    circles, labels = _circles(svg), _texts(svg, "label")
    for k, (name, _) in enumerate(costs):
        away = [math.dist((labels[name][0], labels[name][1] - 4), centre) for centre in circles]
        assert min(away) == pytest.approx(away[k], abs=3), f"the label {name} stands beside another point"


@pytest.mark.parametrize("cost", [0.9, 1.0, 2.0, 8.0])
def test_the_name_of_a_line_covers_no_point(cost):
    """The teacher's error is that of the engines: its name would lie on the first one."""
    points = [Point("1", cost, 56_761.0), Point("2", 1.2 * cost, 56_757.0), Point("3", 20.0, 56_761.0)]
    svg = trade_off(points, "µs", "RMSE", [("teacher", 55_852.0), ("allowed", 20_000.0)])
    for name, (x, y) in _texts(svg, "tick").items():
        if name in ("teacher", "allowed"):
            box = (x, y - 11, x + text_width(name), y + 2)
            assert not any(box[0] < cx + 5 and cx - 5 < box[2] and box[1] < cy + 5 and cy - 5 < box[3]
                           for cx, cy in _circles(svg))  # fmt: skip
