"""What the race may cost: costly candidates enter where they may help; the base alone limits it, and ends it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regkd_edge.config import DistillConfig, TeacherConfig
from regkd_edge.data import Dataset, Split, Table, split
from regkd_edge.recipes.candidates import BASE_ALONE, LABELS_ALONE, MIXTURE, Candidate, candidates
from regkd_edge.training import distill, ladder, train_teacher
from regkd_edge.training.job import Training
from regkd_edge.training.ladder import decay_steps
from regkd_edge.training.race import halving
from regkd_edge.training.race.choice import rivals
from regkd_edge.training.race.compute import left_open, weigh
from regkd_edge.training.race.entrant import Entrant, enter
from regkd_edge.training.race.folds import folds_of
from regkd_edge.training.setting import Setting


def made(n, d, parts):
    """A smooth function of four directions of d independent inputs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d))
    y = np.tanh(x @ rng.normal(size=(d, 4)) / 3) @ rng.normal(size=(4, 1))
    return Dataset(Table(x, y, [f"x{j}" for j in range(d)], ["y"], "made"), parts)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    monkeypatch.setattr(ladder, "MOST_AUTO", 4_000)


@pytest.fixture(scope="module")
def few():
    """Fifty rows with twenty inputs, and a teacher that has seen many."""
    every = made(3000, 20, split(3000, 0.15, 0.15, 0))
    teacher = train_teacher(every, TeacherConfig(teacher="mlp:64:tanh", epochs=30, lr=5e-3), 0).as_teacher()
    return Dataset(every.table, Split(np.arange(50), np.arange(50, 60), np.arange(60, 600))), teacher


@pytest.fixture(scope="module")
def many():
    every = made(2400, 3, split(2400, 0.15, 0.15, 0))
    return every, train_teacher(every, TeacherConfig(teacher="mlp:128,128:relu", epochs=10, lr=2e-3), 0).as_teacher()


def test_a_step_that_evaluates_the_teacher_costs_more_and_one_that_reads_answers_does_not(many):
    data, teacher = many
    config = DistillConfig(student="mlp:32,32:relu")
    setting = Setting.of(data, teacher, config, 0)
    found = [enter(candidate, config, folds_of(setting)) for candidate in candidates(labels=True, gradient=True)]
    weigh(found)
    light = [one for one in found if one.candidate.share == 1.0]
    assert len(light) > 10 and all(one.cost == pytest.approx(1.0, abs=0.01) for one in light)
    assert len(found) - len(light) == 5 and all(one.cost > 1.0 for one in found if one not in light)


def test_progress_is_told_in_every_training_around_the_race(many):
    """From the first second, also where the base alone is trained first, wins and is kept as it is."""
    from regkd_edge.io.progress import listening

    data, teacher = many
    told, phase = {}, [""]

    def heard(what, done, total):
        if total is None and what != "steps":
            phase[0] = what

    def progress(step, total, losses, validation):
        assert 0 < step <= total and losses and validation["target_rmse"]
        told.setdefault(phase[0], []).append(step)

    config = DistillConfig(student="mlp:8:relu", recipe="auto", steps="auto")
    with listening(heard):
        kept = distill(data, teacher, config, 0, progress=progress)
    first, *others = told
    assert first == "the base alone, before the race" and told[first][0] <= ladder.FIRST
    winner = kept.race["winner"] if kept.race["last_heat"] is None else None
    assert winner in (None, BASE_ALONE.title) or f"winner of the race: {winner}" in others


def ran(candidate, score, own):
    return Entrant(candidate, DistillConfig(), steps=[500], scores=[score], label_scores=[score], on_own_rows=own)


def test_the_question_is_open_where_unseen_rows_are_much_farther():
    gm = next(c for c in candidates(labels=True, gradient=True) if c.title == "PM and GM")
    base = ran(BASE_ALONE, 0.5, 0.4)
    assert left_open([base, ran(LABELS_ALONE, 0.3, 0.1)], "teacher"), "the best says so"
    assert not left_open([base, ran(LABELS_ALONE, 0.3, 0.2)], "teacher")
    assert not left_open([base, ran(LABELS_ALONE, 0.3, 0.1)], "labels"), (
        "more of a teacher that does not hold is no gain"
    )
    assert not left_open([base, ran(gm, 0.1, 0.001)], "teacher"), "a costly one does not answer for the others"


def test_on_few_rows_the_costly_run_as_far_as_the_others_and_can_win(few, monkeypatch):
    data, teacher = few
    names = ("GM on the rows at 0.1", "GM on the rows at 1", "ABM")
    costly = [c for c in candidates(labels=True, gradient=True) if c.title in names]
    monkeypatch.setattr(halving, "candidates", lambda **known: [BASE_ALONE, LABELS_ALONE, *costly])
    config = DistillConfig(student="mlp:16:tanh")
    race = halving.hold_race(Setting.of(data, teacher, config, 0), config)
    by_title = {one.title: one for one in race.entrants}
    assert all(by_title[name].steps[0] == race.rungs[0] for name in names)
    assert race.winner.title in names and race.score(race.winner) < 0.8 * race.score(race.base)


def test_on_many_rows_the_costly_do_not_enter_and_the_base_is_trained_once(many, monkeypatch):
    data, teacher = many
    runs, run = [], Training.run

    def counted(training, **how):
        runs.append((training.decided["base"], training.decided["sampler"], how.get("beyond")))
        return run(training, **how)

    monkeypatch.setattr(Training, "run", counted)
    config = DistillConfig(student="mlp:8:tanh")
    student = distill(data, teacher, config, 0)
    race = student.race
    assert not [c["title"] for c in race["candidates"] if "GM" in c["title"] or "ABM" in c["title"]]
    assert len(race["candidates"]) == 14
    assert runs[0] == ("mimic", None, None) and runs.count(runs[0]) == 1, "the base alone comes first, and once"
    compute = race["compute"]
    assert compute["base_alone"] and (compute["race"] <= 0.6 * compute["base_alone"] or len(race["rungs"]) == 1)
    again = distill(data, teacher, config, 0)
    assert {**again.race, "seconds": 0} == {**race, "seconds": 0}
    assert all((p == q).all() for p, q in zip(student.module.state_dict().values(), again.module.state_dict().values()))


def test_where_they_would_cost_more_than_the_base_took_the_costly_do_not_enter(few):
    data, teacher = few
    config = DistillConfig(student="mlp:16:tanh")
    setting = Setting.of(data, teacher, config, 0)
    titles = lambda race: {one.title for one in race.entrants}
    free = halving.hold_race(setting, config)
    assert {"ABM", "PM and GM"} <= titles(free), "fifty rows leave it open"
    light = halving.hold_race(setting, config, base_steps=1)
    assert titles(light) == {one.title for one in free.entrants if one.candidate.share == 1.0}


@pytest.fixture(scope="module")
def unlabelled(many):
    """The same rows with the teacher's answers alone."""
    data, teacher = many
    return Dataset(replace(data.table, y=teacher.predict(data.x)), data.split), teacher


def test_a_base_that_was_trained_beforehand_does_not_race_on(unlabelled, monkeypatch):
    """It is ahead in the first steps, of which the others spend half beside the rows."""
    data, teacher = unlabelled
    monkeypatch.setattr(halving, "decided", lambda running, measure: False)
    config = DistillConfig(student="mlp:8:tanh")
    race = halving.hold_race(Setting.of(data, teacher, config, 0), config, base_steps=10**6)
    assert race.measure == "teacher" and race.base.steps == race.rungs[:1] and race.winner is not race.base
    alone = ran(BASE_ALONE, 0.1, 0.1)
    assert rivals([alone]) == [alone] and rivals([alone, ran(MIXTURE, 0.2, 0.1)])[0].candidate is MIXTURE
    trust = next(c for c in candidates(labels=True, gradient=False) if c.title == "labels and teacher by trust")
    assert [one.title for one in rivals([alone, ran(trust, 0.1, 0.1), ran(MIXTURE, 0.2, 0.1)])] == [MIXTURE.title]


@pytest.mark.parametrize(("sigma", "helps"), [(0.3, True), (30.0, False)])
def test_of_base_and_best_of_the_others_the_nearer_one_at_its_end_is_kept(unlabelled, monkeypatch, sigma, helps):
    """Noise of a useful size, and noise so wide that hardly a point is near a row."""
    data, teacher = unlabelled
    noise = {"sampler": "neighbours", "noise": "isotropic", "sigma": [sigma]}
    other = Candidate("PM with this noise", {"base": "mimic", "terms": [], **noise})
    monkeypatch.setattr(halving, "candidates", lambda **known: [BASE_ALONE, other])
    student = distill(data, teacher, DistillConfig(student="mlp:32:tanh"), 0)
    race, (said, *_) = student.race, student.notes
    ours, base = race["last_heat"]["distance_to_teacher"]
    assert (ours < base) is helps and race["winner"] == (other if helps else BASE_ALONE).title
    if helps:
        assert race["gain_over_base"] == pytest.approx(1 - ours / base)
        assert f"won; trained to its end too, the base alone is {base / ours - 1:.0%} farther from the teacher" in said
    else:
        assert race["gain_over_base"] == 0.0 and "the base alone is kept (for the other: --" in said


def test_the_rungs_of_a_race_stay_below_what_the_base_took(many, monkeypatch):
    data, teacher = many
    monkeypatch.setattr(halving, "decided", lambda running, measure: False)
    config = DistillConfig(student="mlp:8:tanh")
    setting = Setting.of(data, teacher, config, 0)
    free = halving.hold_race(setting, config)
    assert free.rungs == [500, 1_000, 2_000] and free.record()["compute"]["base_alone"] is None
    alone = free.entrants[0]
    assert free.spent > 3 * (alone.steps[-1] + sum(map(decay_steps, alone.steps)))
    whole = halving.hold_race(setting, config, base_steps=10**6)
    assert whole.rungs == free.rungs
    short = halving.hold_race(setting, config, base_steps=int(whole.spent / 0.6) - 2)
    assert short.rungs == free.rungs[:2] and short.spent < whole.spent
    assert halving.hold_race(setting, config, base_steps=1).rungs == free.rungs[:1]
