"""What a slow teacher allows within a budget: fewer candidates, fewer points, and no row asked twice."""

from __future__ import annotations

import time

import numpy as np
import pytest

from regkd_edge.config import DistillConfig
from regkd_edge.data import Dataset, Table, split
from regkd_edge.models import ArrayFunction, Teacher
from regkd_edge.recipes.candidates import BASE_ALONE, MIXTURE, candidates
from regkd_edge.training import distill
from regkd_edge.training.race.afford import Means, seconds_per_row, within
from regkd_edge.training.race.folds import folds_of
from regkd_edge.training.setting import Setting

ALL = candidates(labels=True, gradient=True)


def allowed(budget, per_row, who=ALL):
    return within(budget, who, per_row, folds=3, steps=500, batch=64)


def test_an_mlp_and_a_quick_teacher_run_them_all():
    assert allowed(1.0, 0.0).who == ALL and allowed(1.0, 0.0).points is None
    quick = allowed(600.0, 1e-5)
    assert quick.who == ALL and quick.note is None and quick.points > 8_192


def test_costly_steps_go_first_then_kinds_of_noise_then_noise():
    left = [allowed(60.0, per_row).who for per_row in (1e-4, 2e-3, 0.1)]
    assert [len(who) for who in left] == sorted((len(who) for who in left), reverse=True)
    assert all(c.share == 1.0 for c in left[0]) and len({c.fields.get("noise") for c in left[0]}) > 3
    assert MIXTURE in left[1] and {c.fields.get("noise") for c in left[1]} == {None, "mixed"}
    assert not any("sampler" in c.fields for c in left[2]) and left[2][0] is BASE_ALONE
    said = allowed(60.0, 2e-3).note
    assert "2 ms per row" in said and f"{len(left[1])} of {len(ALL)} candidates" in said and "--budget" in said


@pytest.mark.parametrize("per_row", [1e-4, 1e-3, 1e-2])
def test_what_is_asked_takes_a_quarter_of_the_time_at_most(per_row):
    means = allowed(60.0, per_row)
    kinds = {(c.fields["noise"], *c.fields.get("sigma", ())) for c in means.who if "sampler" in c.fields}
    pools = 3 * len(kinds) + 2 if kinds else 0
    assert pools * means.points * per_row <= 0.25 * 60.0


class Counting:
    """A teacher that takes ``call`` and ``row`` seconds, and counts how often it was asked about each row."""

    def __init__(self, call=0.0, row=0.0):
        self.call, self.row, self.asked = call, row, []

    def __call__(self, x):
        time.sleep(self.call + self.row * len(x))
        self.asked.append(x.copy())
        return np.sin(x[:, :1])


@pytest.fixture(scope="module")
def data():
    x = np.random.default_rng(0).normal(size=(160, 2))
    return Dataset(Table(x, np.sin(x[:, :1]), ["a", "b"], ["y"], "memory"), split(160, 0.2, 0.2, 0))


def taught(function):
    return Teacher(ArrayFunction(function), None, "raw", "counting")


def test_what_a_call_takes_is_no_part_of_what_a_row_takes(data):
    """As with a forest: 0.1 s per call, and rows that take 10 us each."""
    setting = Setting.of(data, taught(Counting(0.1, 1e-5)), DistillConfig(), 0)
    assert seconds_per_row(setting, 60.0) < 0.1 / 256
    assert seconds_per_row(setting, 1.0) < 0.1 / 64


def test_no_row_of_the_table_is_asked_twice(data):
    counting = Counting()
    setting = Setting.of(data, taught(counting), DistillConfig(), 0)
    for one in (setting, *folds_of(setting)):
        assert np.allclose(one.scalers.y.restore(one.answers), np.sin(data.x[one.rows.train, :1]))
        assert np.allclose(one.scalers.y.restore(one.teacher_on_held), np.sin(data.x[one.rows.validation, :1]))
    tried = 2  # rows on which a function is tried when it becomes a teacher
    assert sum(map(len, counting.asked)) <= tried + len(data.split.train) + len(data.split.validation)


def test_a_budget_limits_what_is_asked_and_says_so(data):
    config = DistillConfig(student="mlp:4:tanh", steps=16)
    free, slow = Counting(), Counting(row=5e-4)
    distill(data, taught(free), config, 0)
    student = distill(data, taught(slow), config.model_copy(update={"steps": "auto", "budget": 1.0}), 0)
    assert sum(map(len, slow.asked)) < sum(map(len, free.asked)) / 3
    assert any("of 11 candidates" in note for note in student.notes), student.notes


def test_a_race_that_was_interrupted_goes_on_with_what_it_was_allowed(data, tmp_path, monkeypatch):
    """A teacher that is slower the second time would leave out those who lead, and change the points."""
    from regkd_edge.training.race import halving

    setting = Setting.of(data, taught(Counting()), DistillConfig(), 0)
    config = DistillConfig(student="mlp:4:tanh", steps=64, budget=600.0)
    who = candidates(labels=True, gradient=False)
    allowed = [Means(who, 256), Means(who[:1], 128, "less")]
    monkeypatch.setattr(halving, "within", lambda *given, **facts: allowed.pop(0))
    monkeypatch.setattr(halving, "decided", lambda running, measure: False)
    advance_all = halving.advance_all

    def interrupted(entrants, rung):
        if rung == 16:
            raise KeyboardInterrupt
        advance_all(entrants, rung)

    monkeypatch.setattr(halving, "advance_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        halving.hold_race(setting, config, tmp_path)
    monkeypatch.setattr(halving, "advance_all", advance_all)
    race = halving.hold_race(setting, config, tmp_path)
    assert len(allowed) == 1 and len(race.entrants) > 1 and race.rungs == [8, 16, 32]
    assert race.means.points == 256 and race.means.note is None
    assert {len(one.scores) for one in race.entrants} >= {1, 3}, "those that were left after the first rung are known"
