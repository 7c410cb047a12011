"""What is said below the tables: how networks were trained, and which target a narrow heading has no room for."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from regkd_edge.cli.output import readable, show
from regkd_edge.cli.tables import bundled_graphs, graphs, teacher_notes, training_notes
from regkd_edge.io.text import display_width, fold
from regkd_edge.report.table import in_heading

LONG = "volumetric_heat_transfer_coefficient_of_the_secondary_loop"


def trained(why="every term is supported", **more):
    return {"steps": 1200, "seconds": 0.41, "compute": "cpu", "compute_reason": why, **more}


def test_one_reason_is_given_once():
    assert training_notes({"baseline": trained(), "student": trained(), "external": {}}) == [
        "baseline: 1,200 steps in 0.41 s by 'cpu' (every term is supported).",
        "student: 1,200 steps in 0.41 s by 'cpu' too.",
    ]
    _, other = training_notes({"baseline": trained(), "student": trained("another")})
    assert other.endswith("by 'cpu' (another).")
    assert teacher_notes(trained()) == ["teacher: 1,200 steps in 0.41 s by 'cpu' (every term is supported)."]


def test_seconds_that_are_those_of_the_race_are_not_taken_for_those_of_the_steps():
    [said] = training_notes({"student": trained(race={"winner": "PM"})})
    assert said.startswith("student: 1,200 steps and the race before them in 0.41 s")


def graph(name):
    check = {"targets": [{"name": name, "rmse": 0.5, "max_abs": 1.5}]}
    return {"precision": "int8", "target": "a graph", "size_bytes": 10, "pairs": 3, "share": {}, "check": check}


@pytest.mark.parametrize(
    ("target", "heading", "below"),
    [
        ("power [W]", "RMS change against fp32 (power [W])", []),
        (f"{LONG} [kWh/m^2]", "RMS change against fp32 (kWh/m^2)", [f"Target: {LONG} [kWh/m^2]."]),
        (LONG, "RMS change against fp32", [f"Target: {LONG}."]),
        ("flux [kWh per square metre per kelvin]", "RMS change against fp32",
         ["Target: flux [kWh per square metre per kelvin]."]),
    ],
)  # fmt: skip
def test_a_long_name_stands_below_the_table_and_its_unit_in_the_heading(target, heading, below):
    shown = graphs([graph(target)])
    assert shown["table"].columns[1].heading == heading and shown["footnotes"] == below


@given(st.text("ab_ -[]/", min_size=1, max_size=80))
def test_what_a_heading_says_takes_three_short_lines(target):
    said = in_heading(target)
    width = min(max(8, *map(len, said.split())), 14) if said else 14  # as wide as the column will be
    lines = fold(said, width)
    assert len(lines) <= 3 and all(display_width(line) <= width for line in lines)


def test_a_column_that_says_nothing_is_not_shown(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")
    rows = [{"graph": "fp32", "node": "", "seconds": 0.38700001}, {"graph": "fp16", "node": "", "seconds": 61.2}]
    show("graphs", rows, as_json=False)
    out = capsys.readouterr().out
    assert "node" not in out and "0.39" in out and "0.387" not in out and "61" in out
    show("graphs", rows, as_json=True)
    assert json.loads(capsys.readouterr().out)["table"] == rows, "a program gets every key and every digit"


def test_a_moment_is_read_and_folded_as_words():
    assert readable("2026-11-28T16:23:06Z") == "2026-11-28 16:23:06 UTC" and readable(None) is None
    assert fold(readable("2026-11-28T16:23:06Z"), 14) == ["2026-11-28", "16:23:06 UTC"]


def bundled(*targets):
    accuracy = {"targets": [{"name": name, "rmse": 1.5} for name in targets]}
    graph = {"file": "g", "precision": "int8", "accuracy": accuracy, "allowed": [0.1] * len(targets)}
    return bundled_graphs({"graphs": {"int8": graph}, "files": {"g": {"bytes": 9}}})


def test_the_only_target_of_a_bundle_takes_no_column():
    heads = [column.heading for column in bundled("power [W]")["table"].columns]
    assert heads[:2] == ["graph", "RMSE expected (power [W])"] and "target" not in heads
    assert bundled(LONG)["footnotes"] == [f"Target: {LONG}."]
    two = bundled("power [W]", LONG)
    assert [column.heading for column in two["table"].columns][:3] == ["graph", "target", "RMSE expected"]
    assert [row[:3] for row in two["table"].rows] == [["int8", "power [W]", "1.500"], ["", LONG, "1.500"]]
    assert two["footnotes"] == []
