"""A long training by PyTorch is announced with its length and the remedy; central differences have a limit."""

from __future__ import annotations

import logging

import numpy as np
import pytest

import regkd_edge as rk
from regkd_edge.fused import Member, Optimizer
from regkd_edge.fused.choose import Choice
from regkd_edge.models import MLP
from regkd_edge.objectives import StepRecipe
from regkd_edge.training import ladder
from regkd_edge.training.job import FIXED
from regkd_edge.training.pace import say_pace


def member(compute, **recipe):
    made = Member(MLP([2, 4, 1], "tanh"), None, None, None, StepRecipe(**recipe), Optimizer(), 10, 2)
    made.decision = Choice(compute, "central differences of the teacher run in torch")
    return made


def test_minutes_ahead_are_said_with_their_cause_and_the_remedy(caplog):
    with caplog.at_level(logging.WARNING, "regkd_edge.training"):
        say_pace(member("cpu", w_gm=0.1), 1.0, 100, 40_000)
        say_pace(member("torch", w_gm=0.1), 0.01, 100, 40_000)
        assert not caplog.records, "the core, or 6 s of PyTorch"
        say_pace(member("torch", w_gm=0.1), 1.0, 100, 40_000)
        say_pace(member("torch", base="labels"), 1.0, 100, 40_000)
    said, without = caplog.messages
    assert "--budget" in without and "--terms" not in without, "it has none that could be left out"
    assert "central differences" in said and "10 ms each: up to 60,000" in said and "about 10 min" in said
    assert "--budget" in said and "--steps" in said and "--terms none" in said


@pytest.fixture
def rows():
    x = np.random.default_rng(0).normal(size=(60, 3))
    return x


def test_from_python_a_function_by_central_differences_is_announced_and_limited(rows, caplog, monkeypatch):
    told, climb = [], ladder.climb
    from regkd_edge.training import job

    def shortened(*given, **how):
        told.append(how["most"])
        monkeypatch.setattr(ladder, "FIRST", 10)
        return climb(*given, **{**how, "most": 40})

    monkeypatch.setattr(job, "climb", shortened)
    monkeypatch.setattr("regkd_edge.training.pace._LONG", 0.0)
    teacher = lambda v: np.sin(v[:, :1]) + v[:, 1:2]
    given = {"terms": ["gm"], "teacher_gradient": "central", "student": "mlp:4:tanh", "seed": 0}
    with caplog.at_level(logging.WARNING, "regkd_edge.training"):
        rk.distill(teacher, rows, **given)
    assert any("PyTorch computes the steps" in said and "--steps" in said for said in caplog.messages)
    assert told == [FIXED]
    caplog.clear()
    rk.distill(teacher, rows, **{**given, "budget": 100.0})
    assert told[-1] is None and not caplog.messages, "whoever gives a time gets it, without a word"
    rk.distill(teacher, rows, **{**given, "terms": [], "sampler": "neighbours"})
    assert told[-1] is None, "stored answers need no differences"


def test_the_limit_ends_a_climb(monkeypatch):
    from .test_ladder import problem

    monkeypatch.setattr(ladder, "FIRST", 10)
    monkeypatch.setattr(ladder, "LEAST_GAIN", -9.0)
    learner, validation = problem()
    assert len(ladder.climb(learner, validation, every=5, most=50).history) == 3
