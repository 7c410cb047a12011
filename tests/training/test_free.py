"""Distillation without data: nothing of the run's rows reaches the student."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regkd_edge.config import DistillConfig, RunConfig, TeacherConfig
from regkd_edge.data import Dataset, Table, split
from regkd_edge.errors import DataError, UserError
from regkd_edge.models import Teacher, predict
from regkd_edge.training import described_rows, distill, train_teacher
from regkd_edge.training.free import synthetic_rows
from regkd_edge.training.setting import Setting
from regkd_edge.training.train import without_rows

from .test_train import make_dataset, short


@pytest.fixture(scope="module")
def teacher():
    data = make_dataset(o=1)
    return train_teacher(data, TeacherConfig(teacher="mlp:32,32:tanh", epochs=40, batch=32, lr=5e-3), 0).as_teacher()


def rmse(trained, data):
    x, y = data.rows("test")
    return float(np.sqrt(np.mean((predict(trained.module, trained.scalers, x) - y) ** 2)))


def test_a_student_without_rows_learns_its_teacher(teacher):
    data = make_dataset(o=1)
    trained = distill(
        data, teacher, short(no_data=True, steps=1500, batch=64, lr=1e-2, student="mlp:16:tanh", evaluate_every=100), 0
    )
    x, y = data.rows("test")
    of_teacher = float(np.sqrt(np.mean((predict(teacher.module, teacher.scalers, x) - y) ** 2)))
    # the target's standard deviation is about 15; a student that learnt nothing is there
    assert rmse(trained, data) < of_teacher + 0.15 * y.std()
    assert len(trained.rows.train) == len(trained.rows.validation) == 0


def test_the_runs_rows_and_labels_do_not_matter(teacher):
    data, other = make_dataset(o=1), make_dataset(o=1)
    garbage = Dataset(replace(other.table, x=other.x + 1000, y=-other.y), other.split)
    one, two = (distill(d, teacher, short(no_data=True), 3) for d in (data, garbage))
    assert all((a == b).all() for a, b in zip(one.module.parameters(), two.module.parameters()))
    assert one.best_validation == two.best_validation


@pytest.mark.parametrize("sampler", ["described", "heavy-tailed", "mixed"])
def test_samplers_keep_to_the_description(teacher, tmp_path, sampler):
    path = tmp_path / "inputs.yaml"
    path.write_text(
        "inputs:\n- {mean: 10, sd: 3, low: 5, high: 15}\n- {name: b, constant: 7}\n- "
        "{name: c, low: 0, high: 4, integer: true}\n"
    )
    config = short(no_data=True, describe=str(path), sampler=sampler, steps=200)
    made = synthetic_rows(make_dataset(o=1), teacher, config, 0)
    x = made.scalers.x.restore(made.train[0])
    # inputs went through float32 in standardised space
    assert x[:, 0].min() > 5 - 1e-4 and x[:, 0].max() < 15 + 1e-4
    assert np.allclose(x[:, 1], 7, atol=1e-4)
    assert np.allclose(x[:, 2], np.round(x[:, 2]), atol=1e-4)
    assert x.shape == (3200, 3) and made.validation[0].shape == (2048, 3)
    assert not (made.train[0][:2048] == made.validation[0]).all()


def test_a_teacher_in_raw_units_needs_a_description(teacher, tmp_path):
    raw = Teacher(teacher.standardized(teacher.scalers), None, "raw", "test")
    with pytest.raises(DataError, match="stores no scalers"):
        distill(make_dataset(o=1), raw, short(no_data=True), 0)
    path = tmp_path / "inputs.yaml"
    path.write_text(
        "inputs:\n" + "- {mean: 0, sd: 1}\n" * 0 + "".join(f"- {{name: a{j}, mean: 0.5, sd: 2}}\n" for j in range(3))
    )
    trained = distill(make_dataset(o=1), raw, short(no_data=True, describe=str(path)), 0)
    assert trained.scalers.x.mean.tolist() == [0.5] * 3
    assert 0.01 < float(trained.scalers.y.scale[0]) < 10  # the teacher's answers there, not the run's labels (about 15)


@pytest.mark.parametrize("given", [True, False])
def test_correlations_of_the_description_are_used_and_the_note_says_whether(teacher, tmp_path, given):
    path = tmp_path / "inputs.yaml"
    path.write_text(
        "inputs:\n- {name: a, mean: 10, sd: 3, low: 5, high: 15}\n- {name: b, mean: 0, sd: 1}\n"
        "- {name: c, mean: 1, sd: 2}\n" + ("correlations:\n- [a, b, 0.9]\n" if given else "")
    )
    config = short(no_data=True, describe=str(path), recipe="data-free-values", steps=200)
    x = synthetic_rows(make_dataset(o=1), teacher, config, 0).train[0]
    found = np.corrcoef(x[:, :2].T)[0, 1]
    assert found > 0.8 if given else abs(found) < 0.3
    (note,) = [note for note in distill(make_dataset(o=1), teacher, config, 0).notes if "no rows were seen" in note]
    assert f"{'with' if given else 'without'} correlations of the inputs" in note


def test_what_does_not_go_with_no_rows_is_refused(teacher, tmp_path):
    for fields, says in (
        ({"no_data": True, "base": "ail"}, "reads labels"),
        ({"no_data": True, "fraction": 0.5}, "exclude each other"),
        ({"no_data": True, "bounds": "rows"}, "bounds rows needs rows"),
        ({"describe": "inputs.yaml"}, "needs no_data"),
    ):
        with pytest.raises(UserError, match=says):
            RunConfig.from_dict({"distill": fields})
    path = tmp_path / "inputs.yaml"
    path.write_text("inputs:\n- {name: a, mean: 0, sd: 1}\n")
    with pytest.raises(DataError, match="describes 1 inputs and the teacher takes 3"):
        distill(make_dataset(o=1), teacher, short(no_data=True, describe=str(path)), 0)


def test_quantizing_does_not_read_the_rows_behind_its_back():
    from regkd_edge.api.inputs import Inputs
    from regkd_edge.config import QuantizeConfig

    inputs = Inputs(None, None, QuantizeConfig(calibrate="real"), 0, None)
    with pytest.raises(UserError, match="calibrate 'real' reads rows of the student, and there are none"):
        inputs.calibration(None, "int8")


def test_steps_auto_without_rows(teacher, monkeypatch):
    from regkd_edge.training import free, ladder

    for module, name, value in ((free, "_MOST", 400), (ladder, "FIRST", 20), (ladder, "MOST_AUTO", 80)):
        monkeypatch.setattr(module, name, value)
    config = DistillConfig(no_data=True, recipe=None, terms=[], student="mlp:4:tanh")
    student = distill(make_dataset(o=1), teacher, config, 0)
    assert config.steps == "auto" and student.steps >= 20 and len(student.history) >= 2


def test_a_teacher_trained_here_keeps_what_its_inputs_are_like():
    rng = np.random.default_rng(0)
    a = rng.uniform(0, 1, 400)
    x = np.stack([a, a + 0.01 * rng.normal(size=400), rng.integers(0, 2, 400)], axis=1)
    y = np.sin(6 * x[:, :1]) * (1 + x[:, 2:])
    data = Dataset(Table(x, y, ["a", "b", "switch"], ["y"], "memory"), split(400, 0.15, 0.15, 0))
    settings = TeacherConfig(teacher="mlp:32,32:tanh", epochs=100, batch=32, lr=5e-3)
    teacher = train_teacher(data, settings, 0).as_teacher(dataset=data)
    drawn = described_rows(teacher, DistillConfig(no_data=True), 0).x
    assert np.corrcoef(drawn[:, 0], drawn[:, 1])[0, 1] > 0.95 and set(drawn[:, 2]) == {0.0, 1.0}
    seen = x[data.split.train]
    assert (drawn.min(0) >= seen.min(0)).all() and (drawn.max(0) <= seen.max(0)).all()
    config = DistillConfig(no_data=True, student="mlp:12:tanh", steps=1500)
    plain = Teacher(teacher.module, teacher.scalers, "standardized", "one that keeps scalers alone")
    real = x[data.split.test]
    students = [distill(data, one, config, 0) for one in (teacher, plain)]
    away = [np.sqrt(np.mean((predict(s.module, s.scalers, real) - teacher.predict(real)) ** 2)) for s in students]
    assert away[0] < 0.8 * away[1]
    # Methods of papers that draw N(0, 1) go on doing so.
    gaussian = described_rows(teacher, DistillConfig(no_data=True, sampler="gaussian"), 0).x
    assert abs(np.corrcoef(gaussian[:, 0], gaussian[:, 1])[0, 1]) < 0.1 and len(set(gaussian[:, 2])) > 1000


def test_searched_points_stay_where_a_teacher_says_its_inputs_are():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(300, 70)), rng.random((300, 1)) < 0.3, np.full((300, 1), 5.0)], axis=1)
    data = Dataset(Table(x, x[:, :1], [f"x{j}" for j in range(72)], ["y"], "memory"), split(300, 0.15, 0.15, 0))
    teacher = train_teacher(data, TeacherConfig(teacher="mlp:8:tanh", epochs=2, batch=32), 0).as_teacher()
    assert "inputs" not in teacher.extra, "its scalers alone are known"
    recipe = Setting.of(data, teacher, without_rows(DistillConfig(no_data=True, steps=50), 72, teacher), 0)
    recipe = recipe.training(without_rows(DistillConfig(no_data=True, steps=50), 72, teacher)).recipe
    z = teacher.scalers.x.standardize(np.array([[0.0] * 71 + [5.0], [0.0] * 70 + [1.0, 5.0]]))
    assert np.allclose([recipe.low[70], recipe.high[70]], z[:, 70], atol=1e-5)
    assert recipe.low[71] == recipe.high[71] == 0.0 and recipe.low[0] < -1e6 and recipe.high[0] > 1e6
