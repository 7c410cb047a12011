"""Rows far outside those that a student sees are named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from regkd_edge.config import DistillConfig
from regkd_edge.models import ArrayFunction, Teacher
from regkd_edge.training import distill
from regkd_edge.training.outlying import outlying, resting_on_few

from .test_train import make_dataset


def test_a_row_far_outside_is_counted_with_its_worst_column():
    seen = np.random.default_rng(0).normal(size=(200, 3))
    rows = seen.copy()
    assert outlying("abc", seen, rows) == []
    rows[3, 1], rows[5, 0] = 500.0, -90.0
    (note,) = outlying("abc", seen, rows)
    width = seen[:, 1].max() - seen[:, 1].min()
    assert note.startswith("2 of 200 rows of the table lie")
    assert f"'b' by {(500 - seen[:, 1].max()) / width:.0f} times" in note
    rows[5, 0] = 0.0
    assert outlying("abc", seen, rows)[0].startswith("1 of 200 rows of the table lies")


def test_rare_switches_and_columns_that_do_not_vary_raise_no_alarm():
    rows = np.zeros((500, 3))
    rows[:2, 0], rows[:, 1] = 1.0, np.random.default_rng(0).standard_t(3, size=500)
    assert outlying("abc", rows[:50], rows) == []
    assert outlying("abc", rows[2:50], rows) == [], "a switch that the student never saw on"


def test_distill_says_so():
    data = make_dataset(n=120, o=1)
    data.table.x[data.split.test[0], 0] = 1e4
    data = replace(data, table=replace(data.table, x=data.table.x))
    teacher = Teacher(ArrayFunction(lambda v: v[:, :1]), None, "raw", "a teacher")
    notes = distill(data, teacher, DistillConfig(recipe="mimic", steps=10, student="mlp:4:relu"), 0).notes
    assert any("1 of 120 rows of the table lies far outside" in note for note in notes)


def test_an_rmse_that_rests_on_a_few_rows_is_named_and_that_of_ordinary_errors_is_not():
    g = np.random.default_rng(0)
    errors = g.normal(size=(300, 2))
    errors[7, 1] = 60.0
    (said,) = resting_on_few(["dose", "price"], errors)
    rest = np.sort(np.abs(errors[:, 1]))[:-3]
    assert said.startswith("the RMSE of 'price' on 300 held-out rows rests on few of them: 3 are 9")
    assert f"without them it is {np.sqrt((rest**2).mean()):.4g};" in said
    (said,) = resting_on_few(["price"], errors[:, 1:])
    assert said.startswith("the RMSE on 300")
    for seed in range(300):
        ordinary = np.random.default_rng(seed).normal(size=((30, 90, 400)[seed % 3], 1))
        assert resting_on_few(["y"], ordinary) == []
    assert resting_on_few(["y"], np.zeros((40, 1))) == [] and resting_on_few(["y"], errors[:20, 1:]) == []
