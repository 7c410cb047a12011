"""A small table and its teacher, for the files that need no others."""

from __future__ import annotations

import pytest

from regkd_edge.config import TeacherConfig
from regkd_edge.training import train_teacher

from .test_train import make_dataset


@pytest.fixture(scope="module")
def data():
    return make_dataset()


@pytest.fixture(scope="module")
def teacher(data):
    return train_teacher(data, TeacherConfig(teacher="mlp:8:tanh", epochs=10), 0).as_teacher()
