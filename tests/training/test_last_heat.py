"""The last heat: the winner of the race against the base alone, both at their end."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from regkd_edge.config import DistillConfig, RunConfig, TeacherConfig
from regkd_edge.data import Dataset, Table, split
from regkd_edge.models import ArrayFunction, Teacher, predict
from regkd_edge.recipes.candidates import BASE_ALONE, LABELS_ALONE, MIXTURE, Candidate
from regkd_edge.training import distill, train_teacher
from regkd_edge.training.race import halving
from regkd_edge.training.race.heat import Heat
from regkd_edge.training.race.last_heat import farther, lost_to
from regkd_edge.training.race.units import Pair, TargetUnits

CONFIG = DistillConfig(student="mlp:12:tanh", steps=800, lr=1e-2)
WIDE = Candidate(
    "PM far from the rows",
    {"base": "mimic", "terms": [], "sampler": "neighbours", "noise": "isotropic", "sigma": [1.0]},
)


@pytest.fixture(scope="module")
def table():
    """Rows on a line, nearly."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (240, 1)) + 0.01 * rng.normal(size=(240, 2))
    return Dataset(Table(x, smooth(x), ["a", "b"], ["y"], "memory"), split(240, 0.2, 0.2, 0))


def smooth(x):
    return np.sin(2 * x[:, :1]) + 0.5 * x[:, 1:] ** 2


@pytest.fixture(scope="module")
def teacher():
    """Right on the line, anything beside it."""
    beside = lambda v: 8 * np.sin(4 * v[:, :1]) * (v[:, 1:] - v[:, :1])
    return Teacher(ArrayFunction(lambda v: smooth(v) + beside(v)), None, "raw", "a teacher of a line")


@pytest.fixture
def hasty(monkeypatch):
    """A race in which a student wins that is not the best in the end."""
    monkeypatch.setattr(halving, "candidates", lambda **known: [BASE_ALONE, WIDE, LABELS_ALONE])
    monkeypatch.setattr(halving, "going_on", lambda running, measure: running)
    monkeypatch.setattr(halving, "decided", lambda running, measure: False)
    monkeypatch.setattr(
        halving, "winner_of", lambda running, measure, rungs: next(e for e in running if e.candidate is WIDE)
    )


def test_a_winner_that_is_farther_from_the_labels_than_the_base_is_not_kept(table, teacher, hasty, tmp_path):
    student = distill(table, teacher, CONFIG, 0, checkpoint=tmp_path)
    said, heat = student.race["explanation"], student.race["last_heat"]
    assert heat["lost"] == "labels" and heat["rows"] == 48 and said == student.notes[0]
    ours, theirs = heat["distance_to_labels"]
    assert ours > 1.02 * theirs and "standard deviations" not in said
    own = [pair[0] for pair in heat["target_distance_to_labels"]]
    assert own == pytest.approx([ours * student.scalers.y.scale[0], theirs * student.scalers.y.scale[0]])
    assert f"than the base alone, {own[0]:.3g} against {own[1]:.3g} (y), by more than chance" in said
    assert student.race["winner"] in ("the base alone", "the labels alone")
    assert f"{student.race['winner']} is kept" in said and student.race["fields"]["terms"] == []
    # The remedy gives the student that lost, and that one is indeed worse on rows that nobody saw.
    typed = said.split("(for the other: --")[1].rstrip(")").split(" --")
    given = {f"distill.{name.replace('-', '_')}": value for name, value in (one.split(" ") for one in typed)}
    named = RunConfig().updated(given).distill
    assert {name: getattr(named, name) for name in WIDE.fields} == WIDE.fields
    other = distill(table, teacher, DistillConfig(student=CONFIG.student, steps=800, lr=1e-2, **WIDE.fields), 0)
    test = table.split.test
    away = [np.abs(predict(s.module, s.scalers, table.x[test]) - table.y[test]).mean() for s in (student, other)]
    assert away[0] < 0.8 * away[1]
    student.save(tmp_path / "student", table)
    assert not list(tmp_path.glob("**/state.safetensors")), "the checkpoints of all who ran are gone"


def test_the_kept_student_is_the_one_by_the_fields_that_are_stored(table, teacher, hasty):
    student = distill(table, teacher, CONFIG, 0)
    again = distill(
        table, teacher, DistillConfig(student="mlp:12:tanh", steps=800, lr=1e-2, **student.race["fields"]), 0
    )
    assert all((p == q).all() for p, q in zip(student.module.state_dict().values(), again.module.state_dict().values()))


@pytest.mark.parametrize("won", [BASE_ALONE, WIDE])
def test_a_student_that_is_better_than_its_teacher_meets_the_labels_alone(table, monkeypatch, won):
    """The race looks at distances to the teacher; one that is off everywhere is better left at the end, whoever won."""
    off = Teacher(ArrayFunction(lambda v: smooth(v) + 0.2 + 0.6 * np.sin(60 * v[:, :1])), None, "raw", "a bad teacher")
    monkeypatch.setattr(halving, "candidates", lambda **known: [BASE_ALONE, WIDE, LABELS_ALONE])
    monkeypatch.setattr(halving, "going_on", lambda running, measure: running)
    monkeypatch.setattr(
        halving, "winner_of", lambda running, measure, rungs: next(e for e in running if e.candidate is won)
    )
    monkeypatch.setattr(halving, "measure_of", lambda *given: ("teacher", None))
    student = distill(table, off, CONFIG, 0)
    said, heat = student.race["explanation"], student.race["last_heat"]
    assert student.race["winner"] == "the labels alone" and student.race["fields"] == LABELS_ALONE.fields
    assert said.startswith(f"{won.title} won the race")
    ours, alone = heat["distance_to_labels_of_student_and_labels_alone"]
    assert ours > 1.02 * alone
    if won is BASE_ALONE:
        assert heat["lost"] is None and heat["distance_to_teacher"] is None
        assert "nearer to the labels of 48 held-out rows than the teacher itself" in said
    test = table.split.test
    away = np.abs(predict(student.module, student.scalers, table.x[test]) - table.y[test]).mean()
    assert away < 0.2 * np.abs(off.predict(table.x[test]) - table.y[test]).mean()


def test_without_labels_the_distance_to_the_teacher_decides(table, teacher, hasty):
    unlabelled = Dataset(replace(table.table, y=teacher.predict(table.x)), table.split)
    student = distill(unlabelled, teacher, CONFIG, 0)
    heat = student.race["last_heat"]
    assert heat["lost"] == "teacher" and heat["distance_to_labels"] is None
    assert student.race["winner"] == "the base alone" and "farther from its teacher on 48" in student.notes[0]


def test_a_heat_goes_on_where_it_was_interrupted(table, teacher, hasty, tmp_path, monkeypatch):
    from regkd_edge.training.race import last_heat

    config = CONFIG.model_copy(update={"steps": 160, "student": "mlp:4:tanh"})
    whole = distill(table, teacher, config, 0)
    compare = last_heat._heat

    def interrupted(*given):
        raise KeyboardInterrupt

    monkeypatch.setattr(last_heat, "_heat", interrupted)
    with pytest.raises(KeyboardInterrupt):
        distill(table, teacher, config, 0, checkpoint=tmp_path)
    monkeypatch.setattr(last_heat, "_heat", compare)
    again = distill(table, teacher, config, 0, checkpoint=tmp_path)
    assert {**again.race, "seconds": 0} == {**whole.race, "seconds": 0}
    assert all((p == q).all() for p, q in zip(whole.module.state_dict().values(), again.module.state_dict().values()))


def test_no_heat_with_a_budget_that_is_up_or_without_rows_to_tell(table, teacher, hasty, monkeypatch):
    monkeypatch.setattr(halving, "seconds_per_row", lambda setting, budget: 0.0)  # all candidates fit in
    short = CONFIG.model_copy(update={"student": "mlp:4:tanh", "steps": "auto", "budget": 0.001})
    assert distill(table, teacher, short, 0).race["last_heat"] is None
    few = Dataset(table.table, split(240, 0.02, 0.2, 0))
    quick = CONFIG.model_copy(update={"student": "mlp:4:tanh", "steps": 16})
    assert len(few.split.validation) < 8 and distill(few, teacher, quick, 0).race["last_heat"] is None


def test_only_what_is_more_than_chance_and_large_enough_to_matter_counts():
    rng = np.random.default_rng(0)
    theirs = rng.exponential(size=400)
    chance = rng.exponential(size=400)
    chance *= 1.05**2 * theirs.mean() / chance.mean()
    assert not farther(chance, theirs), "5 % on other rows, within the spread"
    assert farther(1.05**2 * theirs, theirs) and not farther(theirs, 1.05**2 * theirs)
    assert not farther(1.01**2 * theirs, theirs), "on every row, and too little to matter"
    assert not farther(theirs, theirs)
    glitch = theirs.copy()
    glitch[0] += 400.0  # one row that both miss
    assert farther(np.where(np.arange(400) == 0, glitch + 60.0 * rng.normal(), 1.3**2 * glitch), glitch)


@pytest.mark.parametrize("n", [8, 20, 100])
def test_few_rows_raise_no_more_false_alarms_than_many(n):
    """Two students that are as near: at two standard errors 2.3 % by chance, for each of two tests that overlap."""
    g = np.random.default_rng(n)
    alarms = [farther(*g.normal(size=(2, n)) ** 2) for _ in range(4_000)]
    assert np.mean(alarms) < 0.04


def test_figures_of_the_mixture_are_not_said_of_the_winner():
    units = TargetUnits(("life [cycles]", "capacity [mAh]"), (100.0, 0.01))
    distance = Pair((0.25, 0.2), ([0.3, 0.1], [0.2, 0.2]))
    heat = Heat(90, units, distance, None, "teacher", BASE_ALONE.title, None)
    alone = heat.sentence("GM", {"w_gm": 0.5})
    assert alone.startswith(
        "GM won the race, but trained to its end it is farther from its teacher on 90 held-out rows"
    )
    said = replace(heat, mixture=Pair((0.26, 0.25), ([0.3, 0.2], [0.3, 0.1]))).sentence("GM", {"w_gm": 0.5})
    assert said.startswith(
        f"{MIXTURE.title} took the place of GM, which won the race, but trained to its end the mixture"
    )
    figures = (
        "30.0 against 20.0 (life [cycles]), 0.00100 against 0.00200 (capacity [mAh]), 0.250 against 0.200 "
        "standard deviations"
    )
    assert f"the base alone, {figures} (pooled), by more than chance" in said
    assert said.endswith("the base alone is kept (for the other: --w-gm 0.5)")


def test_labels_come_before_the_teacher_and_a_teacher_that_is_left_loses_nothing():
    near, more = np.full(50, 1.0), np.full(50, 1.5)
    assert lost_to((near, near), (more, near), "teacher") == "labels"
    assert lost_to((more, near), None, "teacher") == "teacher"
    assert lost_to((more, near), (near, more), "labels") is None
    assert lost_to((more, near), (near, near), "teacher") == "teacher"
    assert lost_to((more, near), (near, more), "teacher") is None, "it left the teacher, and is nearer to the labels"
    assert lost_to((near, more), (near, more), "teacher") is None


def test_a_base_that_is_surely_nearer_to_the_labels_than_the_teacher_need_not_be_surely_nearer_than_the_winner():
    rng = np.random.default_rng(0)
    base, lag = rng.exponential(size=100), rng.exponential(size=100)
    lag *= 1.04**2 * base.mean() / lag.mean()  # 4 % farther, on other rows: it may be chance
    near = np.full(100, 1.0)
    assert lost_to((near, 2 * near), (lag, base), "teacher") is None
    assert lost_to((near, 2 * near), (lag, base), "teacher", 1.2**2 * base) == "labels"
    assert lost_to((near, 2 * near), (lag, base), "teacher", 1.01**2 * base) is None, "the teacher is as good"
    assert lost_to((near, 2 * near), (0.99 * base, base), "teacher", 1.2**2 * base) is None, "the winner does not lag"
    units, pair = TargetUnits(("y",), (1.0,)), Pair((1.04, 1.0), ([1.04], [1.0]))
    heat = Heat(100, units, Pair((1.0, 2.0), ([1.0], [2.0])), pair, "labels", BASE_ALONE.title, sure=False)
    assert "1.04 against 1.00 (y), which is nearer to them than the teacher itself, by more" in heat.sentence("PM", {})


def test_a_costly_winner_gives_way_to_a_mixture_that_is_as_near(monkeypatch):
    x = np.random.default_rng(0).uniform(-1, 1, (200, 2))
    data = Dataset(Table(x, smooth(x), ["a", "b"], ["y"], "memory"), split(200, 0.2, 0.2, 0))
    good = train_teacher(data, TeacherConfig(teacher="mlp:16:tanh", epochs=60, batch=32, lr=5e-3), 0).as_teacher()
    fields = {"base": "mimic", "terms": ["gm"], "gm_on": ["original"], "w_gm": 1e-6}
    costly = Candidate("GM with little to say", fields, 0.125)
    monkeypatch.setattr(halving, "candidates", lambda **known: [BASE_ALONE, MIXTURE, costly])
    monkeypatch.setattr(halving, "going_on", lambda running, measure: running)
    monkeypatch.setattr(halving, "left_open", lambda running, measure: True)
    monkeypatch.setattr(
        halving, "winner_of", lambda running, measure, rungs: next(e for e in running if e.candidate is costly)
    )
    student = distill(data, good, CONFIG, 0)
    heat, said = student.race["last_heat"], student.race["explanation"]
    ours, theirs = heat["distance_to_teacher_of_winner_and_mixture"]
    assert theirs < 1.02 * ours and heat["lost"] is None and student.race["winner"] == MIXTURE.title
    assert said.startswith("GM with little to say won the race") and f"{MIXTURE.title} is kept" in said
    ours, theirs = (pair[0] for pair in heat["target_distance_to_teacher_of_winner_and_mixture"])
    assert student.setup["noise"] == "mixed" and f"rows, {ours:.3g} against {theirs:.3g} (y), and it costs" in said
