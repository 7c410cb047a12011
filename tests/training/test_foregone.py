"""A last heat that would find what the last rung says already is not held; every other one is."""

from __future__ import annotations

import numpy as np
import pytest

from regkd_edge.config import DistillConfig
from regkd_edge.data import Dataset, Split, Table
from regkd_edge.models import ArrayFunction, Teacher
from regkd_edge.recipes.candidates import BASE_ALONE, MIXTURE, Candidate
from regkd_edge.training import distill
from regkd_edge.training.race import halving
from regkd_edge.training.race.entrant import Entrant
from regkd_edge.training.race.foregone import foregone

NOISE = np.random.default_rng(0).exponential(size=400)
RUNGS = [500, 1_000, 2_000]


def ran(near, far=None, before=(1.0, 1.0), candidate=MIXTURE):
    """An entrant with squared distances [n] at its last rung, and ``before`` times their roots at the rung before."""
    far = near if far is None else far
    roots = [float(np.sqrt(errors.mean())) for errors in (near, far)]
    scores, label_scores = ([times * root, root] for times, root in zip(before, roots))
    return Entrant(candidate, DistillConfig(), scores=scores, label_scores=label_scores, errors=near, label_errors=far)


def sure(winner, base=None, *, measure="teacher", labels=True, rungs=RUNGS, **fields):
    base = ran(NOISE, candidate=BASE_ALONE) if base is None else base
    return foregone(winner, base, measure, rungs, DistillConfig(**fields), labels=labels)


def test_a_lead_in_both_that_lasts_needs_no_heat():
    assert sure(ran(0.8**2 * NOISE)) and sure(ran(0.8**2 * NOISE), measure="labels")
    assert not sure(ran(0.97**2 * NOISE)), "on every row, and not clear"
    base = ran(NOISE, candidate=BASE_ALONE)
    assert not sure(base, base)
    assert not sure(ran(0.8**2 * NOISE, candidate=Candidate("costly", share=0.125))), (
        "the mixture still runs against it"
    )
    assert not sure(ran(0.8**2 * NOISE), rungs=[500]), "one rung shows no pace"


def test_a_lead_that_may_be_chance_needs_the_heat():
    luck = NOISE[::-1].copy()
    luck *= 0.93**2 * NOISE.mean() / luck.mean()  # nearer in the mean, on other rows
    assert not sure(ran(luck)) and not sure(ran(luck), labels=False)


def test_a_base_that_catches_up_meets_the_winner_again():
    """A lead of 20 % shrank by 4 % in the last doubling; more than four of them are left up to 40,000 steps."""
    falls_back = ran(0.8**2 * NOISE, before=(0.96, 0.96))
    assert sure(falls_back) and not sure(ran(0.8**2 * NOISE, before=(0.94, 1.0)))
    assert sure(ran(0.8**2 * NOISE, before=(0.94, 1.0)), steps=4_000), "one doubling is left"
    assert sure(ran(0.8**2 * NOISE, before=(1.2, 1.2))), "it pulls away"


def test_labels_that_the_winner_is_no_nearer_to_are_asked_again():
    near = 0.5**2 * NOISE
    assert not sure(ran(near, NOISE)) and not sure(ran(near, 1.01**2 * NOISE)) and not sure(ran(near, 1.5**2 * NOISE))
    assert sure(ran(near, NOISE), labels=False), "no labels, nothing to lose"
    assert sure(ran(near, 0.9**2 * NOISE))
    assert not sure(ran(near, 0.9**2 * NOISE, before=(1.0, 0.95))), "it moves away from them"


@pytest.fixture(scope="module")
def few():
    """Forty rows to learn from, 400 to judge by, labels that say nothing else than the teacher."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (500, 3))
    y = smooth(x) + 0.02 * rng.normal(size=(500, 1))
    parts = Split(np.arange(40), np.arange(40, 440), np.arange(440, 500))
    return Dataset(Table(x, y, ["a", "b", "c"], ["y"], "memory"), parts)


def smooth(x):
    return np.sin(2 * x[:, :1]) * x[:, 1:2] + 0.5 * x[:, 2:] ** 2


def test_a_foregone_winner_is_the_student_that_the_heat_would_have_kept(few, monkeypatch, tmp_path):
    teacher = Teacher(ArrayFunction(smooth), None, "raw", "the function")
    config = DistillConfig(student="mlp:16:tanh", steps=1_600, lr=1e-2)
    monkeypatch.setattr(halving, "candidates", lambda **known: [BASE_ALONE, MIXTURE])
    monkeypatch.setattr(halving, "decided", lambda running, measure: False)
    without = distill(few, teacher, config, 0, checkpoint=tmp_path)
    assert without.race["foregone"] and without.race["last_heat"] is None
    assert without.race["winner"] == MIXTURE.title
    again = distill(few, teacher, config, 0, checkpoint=tmp_path)  # from what the race has stored
    monkeypatch.setattr(halving, "foregone", lambda *given, **labels: False)
    held = distill(few, teacher, config, 0)
    assert held.race["last_heat"]["lost"] is None and not held.race["foregone"]
    for other in (again, held):
        assert all(
            (p == q).all() for p, q in zip(without.module.state_dict().values(), other.module.state_dict().values())
        )
    assert {**again.race, "seconds": 0} == {**without.race, "seconds": 0}


def test_rows_that_judge_in_folds_never_spare_the_heat(few, monkeypatch):
    """The teacher may have been trained on the labels of some of them."""
    teacher = Teacher(ArrayFunction(smooth), None, "raw", "the function")
    parts = Split(np.arange(40), np.arange(40, 240), np.arange(440, 500))
    monkeypatch.setattr(halving, "candidates", lambda **known: [BASE_ALONE, MIXTURE])
    monkeypatch.setattr(halving, "foregone", lambda *given, **labels: True)
    student = distill(Dataset(few.table, parts), teacher, DistillConfig(student="mlp:4:tanh", steps=80), 0)
    assert student.race["folds"] > 1 and not student.race["foregone"]
