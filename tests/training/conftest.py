"""A small table and its teacher, for the files that need no others."""

from __future__ import annotations

import pytest

from regkd_edge.config import TeacherConfig
from regkd_edge.sampling import making
from regkd_edge.training import train_teacher

from .test_train import make_dataset


@pytest.fixture(scope="module")
def data():
    return make_dataset()


@pytest.fixture(scope="module")
def teacher(data):
    return train_teacher(data, TeacherConfig(teacher="mlp:8:tanh", epochs=10), 0).as_teacher()


@pytest.fixture
def short_latent(monkeypatch):
    """The search of the latent as short as it can be: its quality is judged elsewhere."""
    fit, tune, used = making.fit_vae, making.tune, []
    monkeypatch.setattr(making, "fit_vae", lambda *a, **k: used.append("fit") or fit(*a, **{**k, "steps": 30}))
    monkeypatch.setattr(making, "tune", lambda *a, **k: tune(*a, **{**k, "evaluations": 3, "points": 32}))
    return used
