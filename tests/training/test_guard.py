"""A teacher that is not worth following is named before anything is trained."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from regkd_edge.data import Dataset, Table, split
from regkd_edge.errors import ModelError, TeacherWarning
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
    assert check.targets[0].r2 > 0.99 and check.problem is None
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


def test_one_bad_target_of_several_is_named_in_its_own_figures():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 3))
    y = np.column_stack([1e6 * x[:, 0], 1e-6 * x[:, 1], rng.normal(size=300)])
    table = Table(x, y, ["a", "b", "c"], ["power", "strain", "noise"], "memory")
    several = Dataset(table, split(300, 0.2, 0.2, 0))
    right = lambda x: np.column_stack([1e6 * x[:, 0], 1e-6 * x[:, 1], 0 * x[:, 0]])
    assert check_against_rows(several, teacher(right)).problem is None  # noise is nobody's fault
    for k, name in ((0, "power"), (1, "strain")):
        wrong = lambda x, k=k: right(x) * np.where(np.arange(3) == k, -1, 1)
        problem = check_against_rows(several, teacher(wrong)).problem
        assert f"worse than the mean of the target does ('{name}' R2 -" in problem and problem.count("R2") == 1
    answers = right(x)
    off = answers + np.array([5e5, 0, 0]) * rng.normal(size=(300, 1))
    note = better_than_its_teacher(answers, off, y, table.target_names)
    assert "('power' RMSE 0 against" in note and "strain" not in note and "noise'" not in note


def test_a_handful_of_rows_tells_nothing(data):
    few = Dataset(data.table, split(300, 0.02, 0.2, 0))
    assert check_against_rows(few, teacher(lambda x: 100.0 + 0 * x[:, :1])) is None


def test_a_student_better_than_its_teacher_is_explained():
    y = np.linspace(0, 1, 50)[:, None]
    noise = 0.2 * np.random.default_rng(0).normal(size=(50, 1))
    assert "nearer to the labels" in better_than_its_teacher(y + 0.1 * noise, y + noise, y, ["y"])
    assert better_than_its_teacher(y + noise, y + noise, y, ["y"]) is None
    many, rough = np.tile(y, 9), np.tile(noise, 9)
    note = better_than_its_teacher(many + 0.1 * rough, many + rough, many, [f"t{j}" for j in range(9)])
    assert "'t3' RMSE" in note and "'t4'" not in note and ", 5 more targets)" in note
    assert "learns from the labels" in better_than_its_teacher(y + 0.1 * noise, y + noise, y, ["y"], labels=True)


def test_a_python_call_warns_of_a_bad_teacher_and_of_rows_too_few_to_tell(data):
    import regkd_edge as rk

    x, y, bad = data.x, data.y, teacher(lambda x: 0.7 * x[:, :1])
    options = {"student": "mlp:4:tanh", "steps": 8}
    with pytest.warns(TeacherWarning, match="worse than a linear model"):
        student = rk.distill(bad, x, y, **options)
    assert student.record["notes"][0].startswith("WARNING: the teacher is worse than a linear model")
    with pytest.warns(TeacherWarning, match="3 validation rows are too few"):
        rk.distill(bad, x[:20], y[:20], **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error", TeacherWarning)
        rk.distill(bad, x, **options)  # without labels nothing is wrong
        rk.distill(teacher(lambda x: x[:, :1] + 0.3 * np.sin(3 * x[:, 1:2])), x, y, **options)


def test_the_linear_model_of_many_inputs_is_that_of_few():
    """Ridge regression by the matrix of the rows, where they are fewer than the inputs, gives the same answers."""
    from regkd_edge.training import guard

    rng = np.random.default_rng(0)
    x, y, at = rng.normal(size=(30, 40)), rng.normal(size=(30, 2)), rng.normal(size=(5, 40))
    z, zv = ((v - x.mean(0)) / x.std(0) for v in (x, at))
    gram = z.T @ z + guard._RIDGE * len(z) * np.eye(40)
    want = y.mean(0) + zv @ np.linalg.solve(gram, z.T @ (y - y.mean(0)))
    assert np.allclose(guard._linear(x, y, at), want, rtol=1e-6, atol=1e-8)
