"""Axes: ticks that are round and told apart, labels that fit, and how figures are written."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.report.axes import PlotArea, log_ticks, nice_ticks, shortened, text_width, tick_labels
from regkd_edge.report.table import figure, percent, size


@pytest.mark.parametrize("room", [20, 60, 200])
def test_a_long_label_is_shortened_in_its_middle(room):
    short = shortened("a_very_long_name_of_a_target [mAh]", room)
    assert text_width(short, 12.5) <= max(room, text_width("ab…c", 12.5)) and (short.endswith("]") or "…" in short)
    assert shortened("ab", 200) == "ab"


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (-3.2, 17), (1e-7, 5e-7), (123456, 123999), (0, 0.3), (0, 3e-13), (5e-15, 7e-15)]
)
def test_ticks_are_round_inside_and_enough(low, high):
    ticks = nice_ticks(low, high)
    slack = 1e-6 * (high - low)
    assert 2 <= len(ticks) <= 7 and all(low - slack <= t <= high + slack for t in ticks)
    assert np.allclose(np.diff(ticks), np.diff(ticks)[0])


@pytest.mark.parametrize(
    ("low", "high"), [(180, 180.1), (1_234_500, 1_234_999), (-7e9, -6.99e9), (1.7e9, 1.7e9 + 50), (1e-9, 1.001e-9)]
)
def test_no_two_ticks_far_from_zero_have_one_label(low, high):
    ticks = nice_ticks(low, high)
    labels = tick_labels(ticks)
    assert len(set(labels)) == len(ticks) > 2
    assert [float(label.replace(",", "")) for label in labels] == pytest.approx(ticks, rel=1e-12)
    drawn = PlotArea((low, high), (low, high)).axes("x", "y")
    assert all(any(f">{label}<" in part for part in drawn) for label in labels), "each is written at the y axis"


def test_ordinary_ticks_have_no_more_digits_than_they_need():
    assert tick_labels([0, 0.5, 1]) == ["0", "0.5", "1"] and tick_labels([0, 5e-13]) == ["0", "5e-13"]


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
    assert [figure(v) for v in (1_234_567, 803_465_800)] == ["1,234,567", "8.035e+08"]
    assert [size(v) for v in (None, 999, 1500, 2_340_000)] == ["–", "999 B", "1.50 kB", "2.34 MB"]
    assert [percent(v) for v in (None, 0.0123, -0.00001, 2.5)] == ["–", "+1.23%", "0.00%", "+250%"]
