"""tools/reproduce/digits_fraction.py: measures each seed once, tells defaults apart, refuses what it cannot do."""

from __future__ import annotations

import csv

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

QUICK = [
    "--data",
    "diabetes",
    "--fraction",
    "0.5",
    "--set",
    "steps=60",
    "--set",
    "student=mlp:8:relu",
    "--set-teacher",
    "teacher=mlp:16:relu",
    "--set-teacher",
    "epochs=3",
]


def test_measures_each_seed_once(call, tmp_path):
    out = tmp_path / "r.csv"
    first = call("digits_fraction", *QUICK, "--seeds", 0, 1, "--out", out)
    rows = list(csv.DictReader(out.open()))
    assert [row["seed"] for row in rows] == ["0", "1"] and all(float(row["terms"]) > 0 for row in rows)
    assert rows[0]["teacher"] != rows[1]["teacher"], "another seed, another split and teacher"
    assert "| mean |" in first and "of 2 seeds" in first
    again = call("digits_fraction", *QUICK, "--seeds", 0, 1, "--out", out)
    assert "seed 0:" not in again and again.splitlines()[-1] == first.splitlines()[-1]
    call("digits_fraction", *QUICK, "--set", "lr=0.01", "--seeds", 0, "--out", out)
    assert len(list(csv.DictReader(out.open()))) == 3, "other constants are another measurement"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--set", "nonsense=3"], "unknown field --nonsense"),
        (["--data", "nowhere.csv"], "no file 'nowhere.csv'"),
    ],
)
def test_mistakes_end_with_one_line(call, tmp_path, arguments, message):
    with pytest.raises(SystemExit, match=message):
        call("digits_fraction", *arguments, "--out", tmp_path / "unused.csv")
