"""Steps auto: doubled until a doubling brings too little, with a learning rate that falls to 0 on a branch."""

from __future__ import annotations

import time

import pytest
import torch

from regkd_edge.fused import Member, Optimizer
from regkd_edge.models import MLP
from regkd_edge.objectives import StepRecipe
from regkd_edge.training import ladder
from regkd_edge.training.checkpoint import Checkpoint
from regkd_edge.training.loop import Validation


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(ladder, "FIRST", 50)
    monkeypatch.setattr(ladder, "MOST_AUTO", 800)


def problem(noise=0.0):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(200, 2, generator=g)
    y = torch.sin(x[:, :1]) + noise * torch.randn(200, 1, generator=g)
    student = MLP([2, 8, 1], "tanh", generator=g)
    optimizer = Optimizer("adam", 1e-2)
    member = Member(student, None, x[:150], y[:150], StepRecipe(base="labels"), optimizer, 10**6, 32)
    return member, Validation(x[150:], y[150:].double(), 1.0)


def test_it_climbs_while_doublings_help_and_keeps_the_best_branch():
    member, validation = problem()
    outcome = ladder.climb(member, validation, every=25)
    steps = [entry["step"] for entry in outcome.history]
    assert steps[:2] == [50 + ladder.decay_steps(50), 100 + ladder.decay_steps(100)] and len(steps) >= 4
    assert outcome.best_rmse == min(entry["validation_rmse"] for entry in outcome.history)
    assert validation.rmse(member.student) == pytest.approx(outcome.best_rmse, rel=1e-6)


def test_it_stops_where_there_is_nothing_to_gain():
    member, validation = problem()
    member.y = torch.zeros_like(member.y)
    flat = Validation(validation.x, torch.ones_like(validation.y), 1.0)  # whatever it learns, it stays as far
    outcome = ladder.climb(member, flat, every=25)
    assert len(outcome.history) == 3 and ladder.still_improving(outcome) == []


def test_a_budget_ends_it_after_a_whole_rung_and_says_so():
    member, validation = problem()
    outcome = ladder.climb(member, validation, every=25, until=time.monotonic() - 1.0)
    assert len(outcome.history) == 1 and "the time was up" in ladder.still_improving(outcome)[0]


def test_an_interrupted_climb_continues_with_the_same_bits(tmp_path):
    whole, validation = problem()
    expected = ladder.climb(whole, validation, every=25)

    def interrupt(step, *_):
        if step == 150:
            raise KeyboardInterrupt

    first, _ = problem()
    with pytest.raises(KeyboardInterrupt):
        ladder.climb(first, validation, every=25, progress=interrupt, checkpoint=Checkpoint(tmp_path, "f"))
    again, _ = problem()
    resumed = ladder.climb(again, validation, every=25, checkpoint=Checkpoint(tmp_path, "f"))
    assert [e["step"] for e in resumed.history] == [e["step"] for e in expected.history]
    assert all(torch.equal(p, q) for p, q in zip(whole.student.parameters(), again.student.parameters()))


def test_a_branch_leaves_the_trunk_as_it_was():
    member, _ = problem()
    ladder.advance([member], 50)
    before = [p.detach().clone() for p in member.student.parameters()]
    (branch,) = ladder.branches([member])
    assert branch.state.step == 50 + ladder.decay_steps(50) and member.state.step == 50
    assert all(torch.equal(p, q) for p, q in zip(before, member.student.parameters()))
    assert any((p != q).any() for p, q in zip(before, branch.student.parameters()))
