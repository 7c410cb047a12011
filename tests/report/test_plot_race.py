"""The race as the page shows it: nearest first, per target in its unit, folded away where it is long."""

from __future__ import annotations

import re

import pytest
from drawn import picture

from regkd_edge.report.plot_training import bars
from regkd_edge.report.race import race_figures, race_rows, race_table


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
