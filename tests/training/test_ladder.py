"""Steps auto: doubled until a doubling brings too little, with a learning rate that falls to 0 on a branch."""

from __future__ import annotations

import copy
import dataclasses
import time

import pytest
import torch

from regkd_edge.fused import Member, Optimizer
from regkd_edge.models import MLP
from regkd_edge.objectives import StepRecipe
from regkd_edge.training import ladder
from regkd_edge.training.checkpoint import Checkpoint
from regkd_edge.training.loop import LoopState, Validation


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
    assert validation.figures(member.student)["validation_rmse"] == pytest.approx(outcome.best_rmse, rel=1e-6)


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


class Clock:
    """A second for every ten steps, wherever they are taken."""

    def __init__(self, monkeypatch, break_at=None):
        self.now, self.taken, self.break_at = 0.0, [], break_at
        for name in ("advance", "advance_rows"):
            monkeypatch.setattr(ladder, name, self.counted(getattr(ladder, name)))
        monkeypatch.setattr(ladder, "time", self)

    def monotonic(self):
        return self.now

    def counted(self, advance):
        def steps(given, n, *more):
            self.now += n / 10
            self.taken.append(n)
            if len(self.taken) == self.break_at:
                raise KeyboardInterrupt
            return advance(given, n, *more)

        return steps


@pytest.mark.parametrize("at", [2, 6])  # in the first 50 steps, and later
def test_what_an_interrupted_call_took_of_its_time_counts(at, monkeypatch, tmp_path):
    def climbed(folder, break_at=None):
        with monkeypatch.context() as patched:
            clock = Clock(patched, break_at)
            member, validation = problem()
            outcome = ladder.climb(member, validation, every=5, until=28.0, checkpoint=Checkpoint(folder, "same"))
        return outcome, sum(clock.taken)

    monkeypatch.setattr(ladder, "SAVE_AFTER", -1.0)
    whole, steps = climbed(None)
    assert len(whole.history) == 2 and "--budget" in ladder.still_improving(whole)[0]
    with pytest.raises(KeyboardInterrupt):
        climbed(tmp_path, at)
    again, rest = climbed(tmp_path)
    assert again.history == whole.history and again.steps == whole.steps
    assert 0 < rest < steps, "it goes on where it was, and ends where it would have ended"


@pytest.mark.parametrize(("rungs", "remedy"), [(3, "(--budget)"), (5, "--steps 2000")])
def test_a_student_that_still_improves_is_told_what_helps(rungs, remedy):
    """Whose time was up needs time; whoever has made all steps of --steps auto (here 800, 50 at first) needs steps."""
    outcome = LoopState(history=[{"step": 63}] * rungs, gain=0.1, steps=500)
    (said,) = ladder.still_improving(outcome)
    assert "brought it 10% nearer" in said and remedy in said
    assert sum(other in said for other in ("--budget", "--steps 2")) == 1


def test_an_interrupted_climb_continues_with_the_same_bits(tmp_path):
    whole, validation = problem()
    expected = ladder.climb(whole, validation, every=25)

    def interrupt(step, *_):
        if step >= 150:
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


def test_a_student_that_reads_no_label_is_selected_by_answers_and_neighbours():
    member, plain = problem()
    far = Validation(plain.x, plain.y + 5.0, 1.0, answers=plain.y, beside=(plain.x, plain.y))
    near, found = plain.judged(member.student).distance, far.judged(member.student)
    assert (found.score, found.progress, found.distance) == pytest.approx((near, near, near))
    assert far.figures(member.student)["validation_rmse"] > 3.0, "what is shown stays the distance from the labels"


def test_a_training_with_neighbours_climbs_by_them():
    from regkd_edge.config import DistillConfig, TeacherConfig
    from regkd_edge.training import train_teacher
    from regkd_edge.training.setting import Setting

    from .test_train import make_dataset

    data = make_dataset(n=100, o=1)
    teacher = train_teacher(data, TeacherConfig(teacher="mlp:8:tanh", epochs=3), 0).as_teacher()
    config = DistillConfig(recipe=None, terms=[], sampler="neighbours", student="mlp:4:tanh")
    training = Setting.of(data, teacher, config, 0).training(config)
    validation = training.validation(torch.device("cpu"))
    assert training.climbs and validation.beside is not None and validation.answers is not None


def test_on_a_branch_the_rate_falls_on_a_line_to_zero():
    member, _ = problem()
    ladder.advance([member], 40)
    (branch,) = ladder.branches([member])
    by_hand, steps = copy.deepcopy(member), ladder.decay_steps(40)
    for i in range(steps):
        rate = member.optimizer.lr * (1.0 - i / steps)
        by_hand.optimizer = dataclasses.replace(member.optimizer, lr=rate, schedule="constant")
        ladder.advance([by_hand], 1)
    assert branch.optimizer == member.optimizer
    for p, q in zip(branch.student.parameters(), by_hand.student.parameters()):
        assert torch.allclose(p, q, rtol=1e-4, atol=1e-6)


class Scripted(Validation):
    """Distances on neighbours and rows that fall as they are told, rung by rung."""

    def scripted(self, near, far):
        object.__setattr__(self, "told", iter(zip(near, far)))
        return self

    def judged(self, module):
        near, far = next(self.told)
        return dataclasses.replace(super().judged(module), progress=near, distance=far)


def test_beyond_the_steps_of_the_base_the_rows_must_gain_too(monkeypatch):
    monkeypatch.setattr(ladder, "FIRST", 20)

    def rungs(far, beyond):
        member, plain = problem()
        near = [1.0, 0.8, 0.6, 0.4, 0.35]
        told = Scripted(plain.x, plain.y, 1.0, beside=(plain.x, plain.y)).scripted(near, far)
        monkeypatch.setattr(ladder, "MOST_AUTO", 320)
        outcome = ladder.climb(member, told, every=10, beyond=beyond)
        notes.append(ladder.still_improving(outcome))
        return len(outcome.history)

    notes = []
    idle = [1.0, 0.9, 0.895, 0.8, 0.7]
    assert rungs(idle, None) == 5 and rungs(idle, 80) == 3
    assert rungs(idle, 160) == 5, "before that, neighbours alone decide"
    assert rungs([1.0, 0.9, 0.8, 0.7, 0.6], 20) == 5
    assert [len(said) for said in notes] == [1, 0, 1, 1], "one whose rows gained nothing needs no more steps or time"


def test_a_student_of_few_labels_is_judged_early_and_is_not_stopped_by_it(monkeypatch):
    """Ten noisy labels are soon known by heart: an early branch is the nearest; training ends no earlier for it."""
    monkeypatch.setattr(ladder, "FIRST", 400)
    monkeypatch.setattr(ladder, "MOST_AUTO", 1600)

    def few():
        member, validation = problem(noise=0.5)
        member.x, member.y, member.batch = member.x[:10], member.y[:10], 10
        return member, validation

    early, late = ladder.climb(*few(), every=100, early=True), ladder.climb(*few(), every=100)
    steps = [entry["step"] for entry in early.history]
    assert steps == [100 * 2**i * 5 // 4 for i in range(len(steps))] and steps[-1] == late.history[2]["step"] == 2000
    assert ladder.trunk_of(early.history) == ladder.trunk_of(late.history) == 1600
    assert early.best_step < late.history[0]["step"] and early.best_rmse < 0.98 * late.best_rmse
