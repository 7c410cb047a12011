"""A teacher that is not worth following is named before anything is trained."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.data import Dataset, Table, split
from regkd_edge.errors import ModelError
from regkd_edge.models import ArrayFunction, Teacher
from regkd_edge.training import check_against_rows
from regkd_edge.training.guard import better_than_its_teacher


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = x[:, :1] + 0.3 * np.sin(3 * x[:, 1:2]) + 0.05 * rng.normal(size=(300, 1))
    return Dataset(Table(x, y, ["a", "b", "c"], ["y"], "memory"), split(300, 0.2, 0.2, 0))


def teacher(function):
    return Teacher(ArrayFunction(function), None, "raw", "test")


def test_a_good_teacher_passes(data):
    check = check_against_rows(data, teacher(lambda x: x[:, :1] + 0.3 * np.sin(3 * x[:, 1:2])))
    assert check.r2 > 0.99 and check.problem is None
    check.require("test")


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: 100.0 + 0 * x[:, :1], "worse than the mean of the targets"),
        (lambda x: 0.7 * x[:, :1], "worse than a linear model"),
    ],
)
def test_a_bad_one_is_refused_with_its_figures_and_the_way_on(data, function, says):
    check = check_against_rows(data, teacher(function))
    with pytest.raises(ModelError, match=says) as refused:
        check.require("test")
    assert "--accept-teacher" in refused.value.remedy and str(check.rows) in str(refused.value)


def test_a_handful_of_rows_tells_nothing(data):
    few = Dataset(data.table, split(300, 0.02, 0.2, 0))
    assert check_against_rows(few, teacher(lambda x: 100.0 + 0 * x[:, :1])) is None


def test_a_student_better_than_its_teacher_is_explained():
    y = np.linspace(0, 1, 50)[:, None]
    noise = 0.2 * np.random.default_rng(0).normal(size=(50, 1))
    assert "nearer to the labels" in better_than_its_teacher(y + 0.1 * noise, y + noise, y)
    assert better_than_its_teacher(y + noise, y + noise, y) is None


def test_the_linear_model_of_many_inputs_is_that_of_few():
    """Ridge regression by the matrix of the rows, where they are fewer than the inputs, gives the same answers."""
    from regkd_edge.training import guard

    rng = np.random.default_rng(0)
    x, y, at = rng.normal(size=(30, 40)), rng.normal(size=(30, 2)), rng.normal(size=(5, 40))
    z, zv = ((v - x.mean(0)) / x.std(0) for v in (x, at))
    gram = z.T @ z + guard._RIDGE * len(z) * np.eye(40)
    want = y.mean(0) + zv @ np.linalg.solve(gram, z.T @ (y - y.mean(0)))
    assert np.allclose(guard._linear(x, y, at), want, rtol=1e-6, atol=1e-8)
