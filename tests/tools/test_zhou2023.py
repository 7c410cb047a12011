"""The data-free script: all its methods run, a second call measures only what is absent, and the page says what is
absent.
"""

from __future__ import annotations

import csv
import runpy
import sys

import numpy as np
import pytest

from .conftest import SCRIPTS

pytest.importorskip("torch")
pytest.importorskip("sklearn")


def rows_of(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture
def case(csv_set, tmp_path):
    return [
        "--sets",
        csv_set,
        "--hidden",
        3,
        "--epochs",
        10,
        "--jobs",
        1,
        "--out",
        tmp_path / "out",
        "--work",
        tmp_path / "work",
    ]


def test_all_methods_run_and_a_second_call_adds_what_is_absent(call, case, tmp_path):
    page = call("zhou2023", *case, "--seeds", 1)
    before = rows_of(tmp_path / "out" / "zhou2023.csv")
    methods = ["gaussian", "generator_dec", "direct_dec", "generator_1", "direct_1", "default", "described", "like"]
    assert [row["method"] for row in before] == methods
    assert all(np.isfinite(float(row[c])) for row in before for c in ("teacher", "best", "last", "cpu"))
    assert len({row["best"] for row in before}) == 8  # no two methods are the same student
    assert "status: complete" in page and "CPU time of 1 teachers and 8 students" in page
    assert (tmp_path / "out" / "zhou2023.svg").is_file()
    page = call("zhou2023", *case, "--seeds", 2, "--methods", "gaussian", "direct_1", "--minutes", 0)
    assert "**partial**" in page and "Gaussian, 1 of 2 seeds: waves H=3; direct a=1, 1 of 2 seeds: waves H=3" in page
    call("zhou2023", *case, "--seeds", 2, "--methods", "gaussian")
    after = rows_of(tmp_path / "out" / "zhou2023.csv")
    assert after[:8] == before and [(row["method"], row["seed"]) for row in after[8:]] == [("gaussian", "2")]


def test_students_whose_time_is_unknown_are_said_to_be_estimated(call, case, tmp_path):
    call("zhou2023", *case, "--seeds", 2, "--methods", "gaussian")
    path = tmp_path / "out" / "zhou2023.csv"
    rows = rows_of(path)
    rows[0]["cpu"] = "nan"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    page = call("zhou2023", *case, "--seeds", 2, "--methods", "gaussian", "--minutes", 0)
    assert "1 of these students are of a version that stored no CPU time" in page
    assert "CPU time of 2 teachers and 2 students" in page


def test_made_tables_have_every_kind_of_column_and_a_constant_one_stays_at_zero(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    made = runpy.run_path(str(SCRIPTS / "made_tables.py"))["made"]
    x, again = made(30, 0, 400)[:, :-1], made(30, 0, 400)[:, :-1]
    assert (x == again).all() and x.shape == (400, 30)
    constant = (x == x[0]).all(0)
    assert constant.any() and any(set(np.unique(column)) == {0.0, 1.0} for column in x.T)
    scaler = runpy.run_path(str(SCRIPTS / "zhou2023.py"))["fitted"](x)
    assert (scaler.scale[constant] == 1).all() and (scaler.standardize(x)[:, constant] == 0).all()
    others = np.linalg.inv(np.corrcoef(x[:, ~constant].T))
    assert (1 - 1 / np.diag(others)).max() > 0.7, "a column that follows from the others, by its R^2"
