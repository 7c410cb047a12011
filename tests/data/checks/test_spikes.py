"""A mark among the readings is told from a state of the plant, by what the other columns say."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.data.checks import spikes
from regkd_edge.data.checks.spikes import disagreeing_values

N = 400
RNG = np.random.default_rng(0)
BASE = RNG.normal(size=(N, 3))
TEMPERATURE = np.round(22 + 9 * BASE[:, 0], 1)
FLOW = np.round(30 + 8 * BASE[:, 1], 2)
OTHER = np.round(BASE[:, 2], 3)
Y = np.round(0.5 * TEMPERATURE + 0.8 * FLOW + RNG.normal(0, 0.3, N), 2)
AT = np.random.default_rng(5).random(N) < 0.07


def notes(temperature=TEMPERATURE, flow=FLOW, y=Y):
    return disagreeing_values(np.column_stack([temperature, flow, OTHER]), y[:, None], ["t", "q", "z"], ["y"])


@pytest.mark.parametrize(
    ("changed", "said", "typed"),
    [
        ({"temperature": np.where(AT, 0.0, TEMPERATURE)}, "input 't' has 0 in", "t=0"),
        ({"temperature": np.where(AT, 25.0, TEMPERATURE)}, "input 't' has 25 in", "t=25"),
        ({"flow": np.where(AT, -1.0, FLOW)}, "input 'q' has -1 in", "q=-1"),
        ({"flow": np.where(AT, 0.0, FLOW)}, "input 'q' has 0 in", "q=0"),
        ({"y": np.where(AT, 35.0, Y)}, "target 'y' has 35 in", "y=35"),
        ({"y": np.where(AT, 20.0, Y), "flow": np.where(AT, 0.0, FLOW)}, "target 'y' has 20 in", "y=20"),
    ],
)
def test_a_mark_inside_the_range_is_named(changed, said, typed):
    found = notes(**changed)
    assert len(found) == len(changed) and any(said in note for note in found)
    assert any(f"--missing {typed} --blanks drop" in note for note in found)


def test_a_stuck_sensor_is_named():
    stuck = TEMPERATURE.copy()
    stuck[100:160] = 23.7
    (note,) = notes(temperature=stuck)
    assert "one after the other" in note and "a sensor that was stuck" in note


@pytest.mark.parametrize("seed", range(5))
def test_states_of_a_plant_are_left_in_peace(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(600, 3))
    set_point = np.where(rng.random(600) < 0.15, 1.0, x[:, 0].round(3))  # held there, and the target follows
    dry = np.maximum(0, x[:, 1]).round(3)  # rain: half of the days without
    power = np.maximum(0.0, (2 * x[:, 2] - 1).round(2))
    y = 2 * set_point + dry + power + rng.normal(0, 0.2, 600)
    assert disagreeing_values(np.column_stack([set_point, dry, power]), y[:, None], list("abc"), ["y"]) == []


def test_an_end_of_the_range_with_readings_next_to_it_is_left_in_peace():
    valve = np.clip((50 + 40 * BASE[:, 0]).round(1), 0, 100)
    assert notes(temperature=valve, y=(valve / 10 + FLOW).round(2)) == []


@pytest.mark.parametrize("mark", [0.0, -40.0])
@pytest.mark.parametrize("seed", range(3))
def test_a_mark_at_the_bottom_of_the_scale_is_named(mark, seed):
    """The other columns say of its rows what they say of any rows."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(600, 3)).round(3)
    temperature = mark + np.abs(20 + 9 * x[:, 0] + rng.normal(0, 1, 600)).round(2)
    y = (0.5 * temperature + x[:, 1]).round(3)
    at = rng.random(600) < 0.06
    marked = np.where(at, mark, temperature)
    assert marked.min() == mark and np.sort(np.unique(marked))[1] - mark < 3
    (note,) = disagreeing_values(np.column_stack([x, marked]), y[:, None], list("abct"), ["y"])
    assert f"input 't' has {mark:g} in {at.sum()} of 600 rows" in note
    low = float(np.floor(y.min()))  # in the target as well
    target = np.where(at, low, y)
    (note,) = disagreeing_values(np.column_stack([x, temperature]), target[:, None], list("abct"), ["y"])
    assert f"target 'y' has {low:g} in {at.sum()} of 600 rows" in note


@pytest.mark.parametrize("seed", range(5))
def test_a_machine_that_is_off_and_no_rain_are_left_in_peace(seed):
    """Apart from the others or not, an end of the range is a reading where the other columns say so."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(600, 3)).round(3)
    off = np.where(rng.random(600) < 0.12, 0, np.exp(0.5 * x[:, 0])).round(3)
    rain = np.maximum(0, x[:, 1] + 0.3 * rng.normal(size=600) + 1).round(3)
    y = (3 * off + x[:, 2] + rain).round(3)
    assert disagreeing_values(np.column_stack([x, off, rain]), y[:, None], list("abcor"), ["y"]) == []


def test_clean_readings_are_left_in_peace():
    assert notes() == []


def test_a_mark_of_a_wide_table_is_named_by_the_columns_that_follow_it():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(1000, 300)).round(3)
    x[:, 250] = (3 * x[:, 7] + rng.normal(0, 0.1, 1000)).round(2)
    x[rng.random(1000) < 0.06, 250] = 1.0
    (note,) = disagreeing_values(x, x[:, :1] + x[:, 1:2], [f"c{j}" for j in range(300)], ["y"])
    assert "input 'c250' has 1 in" in note


def coarse(mark=None, share=0.15, seed=0, levels=lambda s: np.round(22 + 5 * s)):
    """A column of few levels that two others follow, some of its cells marked at random: x [600, 4], y [600, 1]."""
    rng = np.random.default_rng(seed)
    s = rng.normal(size=600)
    column = levels(s)
    if mark is not None:
        column[rng.random(600) < share] = mark
    x = np.column_stack([s + 0.4 * rng.normal(size=600), rng.normal(size=600), 0.5 * s + rng.normal(size=600), column])
    return x, (s + 0.1 * rng.normal(size=600))[:, None]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("mark", "levels"),
    [(0, None), (20, None), (25, None), (9, lambda s: np.clip(np.round(3 + s), 1, 5))],
    ids=["0 of whole degrees", "20 of whole degrees", "25 of whole degrees", "9 beside 1 to 5"],
)
def test_a_mark_among_whole_degrees_or_few_levels_is_named(mark, levels, seed):
    options = {} if levels is None else {"levels": levels}
    (note,) = disagreeing_values(*coarse(mark, seed=seed, **options), list("abct"), ["y"])
    assert f"input 't' has {mark} in" in note and f"--missing t={mark} --blanks drop" in note
    assert disagreeing_values(*coarse(None, seed=seed, **options), list("abct"), ["y"]) == []


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "levels",
    [
        lambda s: np.random.default_rng(1).poisson(np.exp(0.5 + 0.7 * s)).astype(float),  # counts, many of them 0
        lambda s: np.clip(np.round(3 + 2.5 * s), 1, 10),  # a scale used to its ends
        lambda s: np.choose(np.clip((s + 2).astype(int), 0, 4), [3.0, 4.0, 5.0, 6.0, 8.0]),  # cylinders
        lambda s: np.where(s > 0.3, 5 * np.round((22 + 5 * s) / 5), np.round(22 + 5 * s)),  # rounded to 5 by some
    ],
    ids=["counts", "a scale", "cylinders", "heaped"],
)
def test_columns_of_few_levels_are_left_in_peace(levels, seed):
    assert disagreeing_values(*coarse(None, seed=seed, levels=levels), list("abct"), ["y"]) == []


def test_a_mark_in_a_long_table_is_found_in_a_sample_of_its_rows(monkeypatch):
    """The rows of a column without a frequent value are not sorted; where one is frequent nothing changes."""
    monkeypatch.setattr(spikes, "_LONG", N)
    monkeypatch.setattr(spikes, "_GLANCE", 2000)
    sorted_, genuine = [], spikes._coarse
    monkeypatch.setattr(spikes, "_coarse", lambda *given: (sorted_.append(given), genuine(*given))[1])
    marked = np.where(AT, 20.0, TEMPERATURE)
    (note,) = notes(marked)
    assert "input 't' has 20 in" in note
    rng = np.random.default_rng(1)
    del sorted_[:]
    assert disagreeing_values(rng.normal(size=(N * 50, 3)), rng.normal(size=(N * 50, 1)), list("abc"), ["y"]) == []
    assert sorted_ == []
