"""tools/reproduce/digits_fraction.py: measures each seed once, tells defaults apart, refuses what it cannot do."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("sklearn")

SCRIPT = Path(__file__).parents[2] / "tools" / "reproduce" / "digits_fraction.py"
QUICK = ["--data", "diabetes", "--fraction", "0.5", "--set", "steps=60", "--set", "student=mlp:8:relu", "--set-teacher", "teacher=mlp:16:relu", "--set-teacher", "epochs=3"]


def call(*arguments):
    return subprocess.run([sys.executable, str(SCRIPT), *map(str, arguments)], capture_output=True, text=True, timeout=300)


@pytest.mark.slow  # three processes that import torch
def test_measures_each_seed_once(tmp_path):
    out = tmp_path / "r.csv"
    first = call(*QUICK, "--seeds", 0, 1, "--out", out)
    assert first.returncode == 0, first.stderr
    rows = list(csv.DictReader(out.open()))
    assert [row["seed"] for row in rows] == ["0", "1"] and all(float(row["terms"]) > 0 for row in rows)
    assert rows[0]["teacher"] != rows[1]["teacher"], "another seed, another split and teacher"
    assert "| mean |" in first.stdout and "of 2 seeds" in first.stdout
    again = call(*QUICK, "--seeds", 0, 1, "--out", out)
    assert "seed 0:" not in again.stdout and again.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
    call(*QUICK, "--set", "lr=0.01", "--seeds", 0, "--out", out)
    assert len(list(csv.DictReader(out.open()))) == 3, "other constants are another measurement"


def test_mistakes_end_with_one_line():
    for arguments, message in ((["--set", "nonsense=3"], "unknown field 'distill.nonsense'"), (["--data", "nowhere.csv"], "no file 'nowhere.csv'")):
        result = call(*arguments, "--out", "unused.csv")
        assert result.returncode == 1 and message in result.stderr and "Traceback" not in result.stderr
