"""Rows from elsewhere than the teacher's: found by what it keeps of its own, and what follows in the race."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.config import DistillConfig, TeacherConfig
from regkd_edge.data import Dataset, Table, split
from regkd_edge.recipes.candidates import LABELS_ALONE, MIXTURE
from regkd_edge.sampling.synthetic import summary_of_inputs
from regkd_edge.training import distill, train_teacher
from regkd_edge.training.race.elsewhere import apart, from_elsewhere
from regkd_edge.training.race.measure import measure_of

from .test_race import figures


def mixed(n: int, seed: int) -> np.ndarray:
    """A normal, a heavy tail, a count, a rare switch, a constant."""
    g = np.random.default_rng(seed)
    return np.column_stack(
        [g.normal(size=n), g.standard_cauchy(n), g.poisson(2.0, n), g.uniform(size=n) < 0.05, np.full(n, 3.0)]
    )


def known(x: np.ndarray) -> dict:
    return {"inputs": summary_of_inputs(x), "train_rows": len(x)}


def test_rows_of_the_same_place_are_never_said_to_come_from_elsewhere():
    """Not among 200 draws, whatever the number of rows, nor with one wild row among them."""
    theirs = known(mixed(300, 0))
    for seed in range(1, 201):
        rows = mixed((8, 30, 100, 400)[seed % 4], seed)
        rows[0, 0] = 1e6
        assert not from_elsewhere(theirs, rows)


@pytest.mark.parametrize("column", range(5))
def test_a_shift_of_one_column_is_found_whatever_it_is(column):
    theirs, rows = known(mixed(300, 0)), mixed(200, 1)
    rows[:, column] = [rows[:, 0] + 1, rows[:, 1] + 2, rows[:, 2] + 2, rows[:, 0] > 0, 4.0][column]
    assert from_elsewhere(theirs, rows)
    assert apart(theirs["inputs"], rows).argmax() == column


def test_the_distance_is_the_share_of_rows_that_lie_elsewhere():
    x = np.arange(1_000.0)[:, None]
    assert apart(summary_of_inputs(x), x)[0] < 0.01
    assert apart(summary_of_inputs(x), x + 300)[0] == pytest.approx(0.3, abs=0.02)
    assert apart(summary_of_inputs(x), x + 5_000)[0] == pytest.approx(1.0, abs=0.001)


def test_nothing_is_concluded_without_a_summary_or_from_that_of_other_columns():
    rows = mixed(100, 1) + 9
    assert not from_elsewhere({}, rows)
    assert not from_elsewhere({"inputs": None}, rows)
    assert not from_elsewhere(known(mixed(300, 0)[:, :3]), rows)


def test_there_a_student_that_is_nearer_to_the_labels_need_not_be_surely_so():
    noise, validation = np.random.default_rng(0).exponential(size=50), np.arange(50) < 7
    alone, follows = figures(LABELS_ALONE, noise[::-1]), figures(MIXTURE, noise)
    nearer, farther = 1.1 * noise, 0.9 * noise
    assert measure_of([alone, follows], nearer, validation)[0] == "teacher"
    measure, rows = measure_of([alone, follows], nearer, validation, elsewhere=True)
    assert measure == "labels" and rows.all()
    assert measure_of([alone, follows], farther, validation, elsewhere=True)[0] == "teacher"


def test_a_student_of_few_labels_is_judged_where_it_stops():
    """Known by heart after the third rung; the base, which reads none, is trained to its end."""
    alone, base = figures(LABELS_ALONE, np.ones(9)), figures(MIXTURE, np.ones(9))
    for one in (alone, base):
        one.scores, one.label_scores = [0.9, 0.8, 0.7], [0.6, 0.5, 0.8]
        one.target_scores, one.target_label_scores = (
            [[v] for v in values] for values in (one.scores, one.label_scores)
        )
    assert alone.distances("labels") == ([0.5], 0.5) and base.distances("labels") == ([0.8], 0.8)
    assert alone.score("teacher") == 0.7


def test_the_race_says_that_the_rows_come_from_elsewhere():
    g = np.random.default_rng(0)
    truth = lambda x: np.sin(2 * x[:, :1]) + x[:, 1:] ** 2

    def rows(n, where):
        x = g.normal(size=(n, 2)) * 0.5 + where
        return Dataset(Table(x, truth(x), ["a", "b"], ["y"], "memory"), split(n, 0.2, 0.2, 0))

    near, far = rows(300, 0.0), rows(90, 1.5)
    trained = train_teacher(near, TeacherConfig(teacher="mlp:24:tanh", epochs=40, batch=32, lr=5e-3), 0)
    teacher = trained.as_teacher(dataset=near)
    asked = DistillConfig(student="mlp:8:tanh", steps=400, lr=1e-2)
    student = distill(far, teacher, asked, 0)
    assert student.race["rows_from_elsewhere"] and "labels" in student.race["measure"]
    assert "does not hold on these rows, which come from elsewhere than its own (" in student.notes[0]
    assert not distill(near, teacher, asked.model_copy(update={"steps": 40}), 0).race["rows_from_elsewhere"]
