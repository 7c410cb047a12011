"""Inputs with one value in the rows of a student: nothing is learnt about them,
and the student does not answer to them.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from regkd_edge.config import DistillConfig, TeacherConfig
from regkd_edge.data import Dataset, Table, split, subset
from regkd_edge.models import MLP, predict
from regkd_edge.training import baseline, distill, train_teacher
from regkd_edge.training.setting import Setting
from regkd_edge.training.unvaried import ignoring, unvaried

STEPS = {"student": "mlp:8:relu", "steps": 200, "batch": 32, "fraction": 0.1}


@pytest.fixture(scope="module")
def data():
    """Of 400 rows, 2 have another value in the column 'lamp', 500 times its spread away; no student sees these."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 4))
    x[:, 2] = 3.0
    found = Dataset(
        Table(x, np.sin(x[:, :1]) + x[:, 1:2], ["a", "b", "lamp", "c"], ["y"], "t"), split(400, 0.2, 0.2, 0)
    )
    seen = subset(found.split, STEPS["fraction"], 0)
    rare = np.setdiff1d(np.arange(400), np.concatenate([seen.train, seen.validation]))[:2]
    x[rare, 2] = 8.0
    return found


@pytest.fixture(scope="module")
def teacher(data):
    return train_teacher(data, TeacherConfig(teacher="mlp:16:tanh", epochs=20), 0).as_teacher()


def answers_to(trained, x, lamp):
    moved = x.copy()
    moved[:, 2] = lamp
    return predict(trained.module, trained.scalers, moved)


@pytest.mark.parametrize(
    "fields",
    [
        {"sampler": "neighbours", "noise": "crossover", "sigma": [0.3]},
        {"terms": ["abm"], "bounds": "rows"},
        {"base": "blend", "alpha": 1.0},
        {"base": "tor", "heads": 2},
    ],
    ids=["pm", "abm in the rows' ranges", "labels", "two heads"],
)
def test_the_student_does_not_answer_to_what_it_never_saw_vary(data, teacher, fields):
    config = DistillConfig(recipe=None, **{"terms": [], **STEPS, **fields})
    trained = distill(data, teacher, config, 0)
    assert np.array_equal(answers_to(trained, data.x, 3.0), answers_to(trained, data.x, -1e4))
    assert any("lamp: one value" in note for note in trained.notes)


def test_the_base_alone_ignores_it_too(data, teacher):
    trained = baseline(data, teacher, DistillConfig(recipe=None, **STEPS), 0)
    assert np.array_equal(answers_to(trained, data.x, 3.0), answers_to(trained, data.x, 9.0))


@pytest.mark.parametrize(
    "fields", [{"terms": ["gm"], "gm_on": ["original"]}, {"terms": ["pm"]}], ids=["gm", "pm anywhere"]
)
def test_what_its_points_or_gradients_teach_is_kept(data, teacher, fields):
    trained = distill(data, teacher, DistillConfig(recipe=None, **STEPS, **fields), 0)
    assert not np.allclose(answers_to(trained, data.x, 3.0), answers_to(trained, data.x, 9.0))
    assert not any("lamp" in note for note in trained.notes)


def test_a_teacher_ignores_a_column_that_is_constant_in_its_rows(data):
    x = data.x.copy()
    x[:, 2] = 3.0
    constant = Dataset(dataclasses.replace(data.table, x=x), data.split)
    trained = train_teacher(constant, TeacherConfig(teacher="mlp:8:tanh", epochs=3), 0)
    assert np.array_equal(answers_to(trained, x, 3.0), answers_to(trained, x, 1e6))


def test_on_the_training_points_the_answers_stay():
    network = MLP([4, 6, 2], "tanh", generator=torch.Generator().manual_seed(0))
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    x[:, [1, 3]] = torch.tensor([0.7, -30.0])
    kept = ignoring(network, np.array([1, 3]), x[0])
    torch.testing.assert_close(kept(x), network(x))
    assert not kept.layers[0].weight[:, [1, 3]].any() and network.layers[0].weight[:, [1, 3]].all()
    assert ignoring(network, np.array([], dtype=int), x[0]) is network


def test_columns_that_vary_at_all_are_not_taken_for_constant(data, teacher):
    setting = Setting.of(data, teacher, DistillConfig(recipe=None, **STEPS), 0)
    training = setting.training(DistillConfig(recipe=None, terms=[], **STEPS))
    assert training.ignores.tolist() == [2]
    training.source.x[5, 2] += 1e-3
    assert unvaried(training.source, training.recipe).tolist() == []
