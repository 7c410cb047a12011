"""The race of recipe auto: who runs, on which rows they are judged, what is stored and said."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from regkd_edge.config import DistillConfig, RunConfig, TeacherConfig
from regkd_edge.data import Dataset, Table, split
from regkd_edge.errors import UserError
from regkd_edge.io.text import significant
from regkd_edge.models import ArrayFunction, Teacher
from regkd_edge.recipes.candidates import BASE_ALONE, LABELS_ALONE, MIXTURE, Candidate, candidates
from regkd_edge.training import distill, recipe_of, train_teacher
from regkd_edge.training.race.entrant import Entrant
from regkd_edge.training.race.folds import folds_of
from regkd_edge.training.setting import Setting

from .test_train import make_dataset


@pytest.fixture(scope="module")
def data():
    return make_dataset(n=200, o=1)


@pytest.fixture(scope="module")
def teacher(data):
    return train_teacher(data, TeacherConfig(teacher="mlp:24:tanh", epochs=60, batch=32, lr=5e-3), 0).as_teacher()


@pytest.fixture(scope="module")
def raced(data, teacher):
    return distill(data, teacher, DistillConfig(student="mlp:8:tanh", steps=160, fraction=0.5), 0)


def test_auto_is_the_default_unless_the_objective_is_given():
    assert DistillConfig().recipe == "auto" and DistillConfig(steps=10, student="mlp:4:relu").recipe == "auto"
    assert DistillConfig(terms=["gm"]).recipe is None and DistillConfig(base="mimic").recipe is None
    changed = RunConfig().updated({"distill.terms": "gm"})
    assert changed.distill.recipe is None
    back = changed.updated({"distill.recipe": "auto"}).distill
    assert back.recipe == "auto" and back == DistillConfig()
    with pytest.raises(UserError, match="recipe auto chooses"):
        RunConfig.from_dict({"distill": {"recipe": "auto", "base": "tor"}})


def test_the_candidates_are_plain_configurations():
    titles = [c.title for c in candidates(labels=True, gradient=True)]
    assert titles[0] == BASE_ALONE.title and len(set(titles)) == len(titles)
    assert {"the labels alone", "ABM", "PM and GM"} <= set(titles)
    for candidate in candidates(labels=True, gradient=True):
        recipe_of(DistillConfig(recipe=None, **candidate.fields), 3)
    fewer = candidates(labels=False, gradient=False)
    assert all(not c.fields["terms"] and c.fields["base"] == "mimic" for c in fewer)


def test_the_race_is_stored_with_its_scores_and_explained(data, raced, tmp_path):
    race = raced.race
    by_title = {c["title"]: c for c in race["candidates"]}
    assert race["winner"] in by_title and race["base"] == "the base alone"
    assert race["rungs"] == [20, 40, 80] and len(by_title["the base alone"]["distance_to_teacher"]) == 3
    last = {t: c["distance_to_teacher"][-1] for t, c in by_title.items() if len(c["distance_to_teacher"]) == 3}
    assert race["winner"] in (min(last, key=last.__getitem__), MIXTURE.title)
    assert race["explanation"].startswith(f"{race['winner']} won") and race["explanation"] == raced.notes[0]
    raced.save(tmp_path, data)
    assert json.loads((tmp_path / "race.json").read_text())["winner"] == race["winner"]


def test_distances_are_stored_and_said_per_target_in_its_unit(tmp_path):
    """Watts and strains: a distance in the unit of each, from the scales of the targets and the pooled distance."""
    data = make_dataset(n=700, o=2)
    units = np.array([1e4, 1e-5])
    y = data.y * units
    data = Dataset(Table(data.x, y, data.table.feature_names, ["power [W]", "strain"], "memory"), data.split)
    smooth = lambda z: np.stack([100 + 20 * np.sin(z[:, 0]) + 5 * z[:, 1] * z[:, 2], -1 + 0.1 * np.tanh(z.sum(1))], 1)
    answers = ArrayFunction(lambda x: 1.01 * units * smooth((x - 10) / 3))  # 1 % off the labels
    truth = Teacher(answers, None, "raw", "a teacher of two units")
    student = distill(data, truth, DistillConfig(student="mlp:8:tanh", steps=160), 0)
    race = student.race
    assert race["targets"] == ["power [W]", "strain"] and len(race["candidates"]) > 3
    scale = y[data.split.train].std(0)
    for one in race["candidates"]:
        for to in ("teacher", "labels"):
            own, pooled = np.array(one[f"target_distance_to_{to}"]), np.array(one[f"distance_to_{to}"])
            assert own.shape == (len(pooled), 2)
            assert np.sqrt(((own / scale) ** 2).mean(1)) == pytest.approx(pooled, rel=1e-6)
            assert (own[:, 0] > 1e5 * own[:, 1]).all(), "each in its own unit"
    theirs = np.sqrt((((truth.predict(data.x) - y) ** 2)[data.split.validation]).mean(0))
    assert race["target_teacher_distance_to_labels"] == pytest.approx(list(theirs), rel=1e-4)
    by_title = {one["title"]: one["target_distance_to_teacher"][-1] for one in race["candidates"]}
    if race["winner"] != race["base"]:
        base, ours = by_title[race["base"]], by_title[race["winner"]]
        said = [f"{significant(other, 3)} against {significant(own, 3)}" for other, own in zip(base, ours)]
        assert f"held-out rows: {said[0]} (power [W]), {said[1]} (strain)" in student.notes[0]
        assert student.notes[0].endswith("standard deviations (pooled)")
    student.save(tmp_path, data)
    assert json.loads((tmp_path / "race.json").read_text())["candidates"] == race["candidates"]


def test_a_candidate_that_diverges_is_stored_as_such(data, teacher, tmp_path, monkeypatch):
    from regkd_edge.training.race import halving

    wild = Candidate("wild", {"base": "mimic", "terms": [], "lr": 1e30})
    monkeypatch.setattr(halving, "candidates", lambda **known: [BASE_ALONE, wild])
    student = distill(data, teacher, DistillConfig(student="mlp:4:tanh", steps=40), 0)
    student.save(tmp_path, data)
    stored = json.loads((tmp_path / "race.json").read_text())["candidates"][1]
    assert stored["title"] == "wild" and stored["distance_to_teacher"] == [None]
    assert stored["target_distance_to_teacher"] == [[None]]


def test_the_winner_by_its_fields_is_the_same_student(data, teacher, raced):
    fields = raced.race["fields"]
    again = distill(
        data, teacher, DistillConfig(recipe=None, student="mlp:8:tanh", steps=160, fraction=0.5, **fields), 0
    )
    assert all((p == q).all() for p, q in zip(raced.module.state_dict().values(), again.module.state_dict().values()))


def test_few_rows_judge_by_folds_and_no_fold_sees_its_own(data, teacher):
    setting = Setting.of(data, teacher, DistillConfig(), 0)
    folds = folds_of(setting)
    assert len(folds) == 3
    seen = np.concatenate([setting.rows.train, setting.rows.validation])
    assert sorted(np.concatenate([f.rows.validation for f in folds])) == sorted(seen)
    assert all(not set(f.rows.train) & set(f.rows.validation) for f in folds)
    assert not any(set(f.rows.test) & set(seen) for f in folds)


def test_copies_of_a_row_are_in_one_fold(teacher):
    """A student that has seen a noisy label would know it of the copies, and look nearer to labels than the teacher."""
    some = make_dataset(n=40, o=1)
    copied = np.random.default_rng(0).integers(0, 40, 300)
    table = replace(some.table, x=some.x[copied], y=some.y[copied])
    folds = folds_of(Setting.of(Dataset(table, split(300, 0.15, 0.15, 0)), teacher, DistillConfig(), 0))
    assert max(len(f.rows.validation) for f in folds) < 1.2 * min(len(f.rows.validation) for f in folds)
    for fold in folds:
        kinds = [set(map(bytes, table.x[rows])) for rows in (fold.rows.train, fold.rows.validation)]
        assert kinds[0] and kinds[1] and not kinds[0] & kinds[1]
        assert len(fold.rows.train) + len(fold.rows.validation) == sum(len(f.rows.validation) for f in folds)


def test_a_teacher_that_does_not_hold_loses_to_the_labels():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 2))
    y = np.sin(2 * x[:, :1])
    table = Dataset(Table(x, y, ["a", "b"], ["y"], "memory"), split(240, 0.2, 0.2, 0))
    wrong = Teacher(ArrayFunction(lambda v: -np.sin(2 * v[:, :1])), None, "raw", "a teacher of something else")
    student = distill(table, wrong, DistillConfig(student="mlp:16:tanh", steps=400, lr=1e-2), 0)
    assert "labels" in student.race["measure"] and student.race["winner"] == "the labels alone"
    assert "the teacher does not hold on these rows" in student.notes[0]


def test_without_labels_no_candidate_reads_them(teacher, data):
    from dataclasses import replace

    unlabelled = Dataset(replace(data.table, y=teacher.predict(data.x)), data.split)
    race = distill(unlabelled, teacher, DistillConfig(student="mlp:4:tanh", steps=24), 0).race
    assert not any("labels" in c["title"] for c in race["candidates"])


def test_a_budget_that_is_up_ends_race_and_training_after_their_first_rung(data, teacher):
    student = distill(data, teacher, DistillConfig(student="mlp:4:tanh", budget="0.001s", fraction=0.25), 0)
    assert len(student.race["rungs"]) == 1 and len(student.history) == 1
    assert any("the time was up" in note for note in student.notes)


def test_an_interrupted_race_does_not_run_its_finished_rungs_again(data, teacher, raced, tmp_path, monkeypatch):
    from regkd_edge.training.race import halving

    config = DistillConfig(student="mlp:8:tanh", steps=160, fraction=0.5)
    done, advance_all = [], halving.advance_all

    def interrupted(entrants, rung):
        if rung == 80 and not resumed:
            raise KeyboardInterrupt
        done.append((rung, len(entrants)))
        advance_all(entrants, rung)

    monkeypatch.setattr(halving, "advance_all", interrupted)
    resumed = False
    with pytest.raises(KeyboardInterrupt):
        distill(data, teacher, config, 0, checkpoint=tmp_path)
    resumed, before = True, list(done)
    again = distill(data, teacher, config, 0, checkpoint=tmp_path)
    assert [rung for rung, _ in before] == [20, 40] and [rung for rung, _ in done] == [20, 40, 80]
    expected, found = ({k: v for k, v in r.race.items() if k != "seconds"} for r in (raced, again))
    assert found == expected
    assert all((p == q).all() for p, q in zip(raced.module.state_dict().values(), again.module.state_dict().values()))
    other = distill(data, teacher, config.model_copy(update={"lr": 1e-3}), 0, checkpoint=tmp_path)
    assert len(done) == 6 and other.race["rungs"] == [20, 40, 80], "another race begins from the start"


def test_searched_points_of_the_race_stay_inside_the_rows(data, teacher):
    setting = Setting.of(data, teacher, DistillConfig(), 0)
    for candidate in candidates(labels=True, gradient=True):
        if "abm" in candidate.fields["terms"]:
            recipe = setting.training(DistillConfig(recipe=None, **candidate.fields)).recipe
            low, high = setting.train[0].min(0), setting.train[0].max(0)
            assert np.allclose(recipe.low, low) and np.allclose(recipe.high, high)


def figures(candidate, errors):
    errors = np.asarray(errors, float)
    one = Entrant(candidate, DistillConfig(), scores=[np.sqrt(errors.mean())], label_scores=[9.0])
    one.target_scores = [[one.scores[0]]]
    one.errors = one.label_errors = errors
    return one


def test_a_lead_that_may_be_chance_goes_to_the_mixture_and_a_sure_one_does_not():
    from regkd_edge.training.race.choice import decided, winner_of

    noise = np.random.default_rng(0).exponential(size=400)
    base, mixture = figures(BASE_ALONE, 9.0 * noise), figures(MIXTURE, 1.3 * noise)
    sure = figures(Candidate("sure"), 1.0 * noise)
    luck = noise[::-1].copy()
    luck *= 1.2 * noise.mean() / luck.mean()  # nearer in the mean, on other rows
    chance = figures(Candidate("chance"), luck)
    assert winner_of([base, mixture, sure], "teacher", [500]) is sure and decided([base, mixture, sure], "teacher")
    assert winner_of([base, mixture, chance], "teacher", [500]) is mixture and not decided(
        [base, mixture, chance], "teacher"
    )
    assert winner_of([figures(BASE_ALONE, 0.9 * noise), mixture, chance], "teacher", [500]).candidate is BASE_ALONE
    behind = figures(BASE_ALONE, 1.25 * noise)
    assert winner_of([behind, mixture, chance], "teacher", [500]) is chance, (
        "a mixture that is behind the base is no refuge"
    )


def test_a_lead_that_would_be_lost_at_the_pace_of_the_last_doubling_goes_to_the_mixture():
    """Points near the rows are learnt first, and the mixture has far ones too."""
    from regkd_edge.training.race.choice import winner_of

    noise = np.random.default_rng(0).exponential(size=400)
    mixture, ahead = figures(MIXTURE, 1.5 * noise), figures(Candidate("near points"), 1.0 * noise)
    scores = mixture.scores[-1], ahead.scores[-1]
    mixture.scores, ahead.scores = [2.0 * scores[0], scores[0]], [1.1 * scores[1], scores[1]]
    assert winner_of([mixture, ahead], "teacher", [1_000, 2_000]) is mixture
    mixture.scores[0], ahead.scores[0] = 1.1 * scores[0], 1.2 * scores[1]
    assert winner_of([mixture, ahead], "teacher", [1_000, 2_000]) is ahead


def test_a_teacher_is_left_only_where_a_student_of_the_labels_is_clearly_nearer():
    from regkd_edge.training.race.measure import measure_of

    noise, rows = np.random.default_rng(0).exponential(size=4000), np.ones(4000, bool)
    alone = [figures(LABELS_ALONE, noise)]
    assert measure_of(alone, 1.05**2 * noise, rows)[0] == "teacher", "surely better, but by 5 %"
    assert measure_of(alone, 1.2**2 * noise, rows)[0] == "labels"
    ten = [figures(LABELS_ALONE, noise[:10])]
    assert measure_of(ten, 1.2**2 * noise[:10][::-1], rows[:10])[0] == "teacher", "ten rows may say so by chance"
    trusting = Candidate("half and half", {"base": "ail"})
    assert measure_of([figures(LABELS_ALONE, 2 * noise), figures(trusting, noise)], 1.5 * noise, rows)[0] == "labels"
    assert measure_of([figures(BASE_ALONE, noise)], 4 * noise, rows)[0] == "teacher", "it reads no labels"


def test_rows_of_training_count_where_the_teacher_fails_even_there():
    """Rows from elsewhere than the teacher's: seven of them for validation tell nothing, all fifty do."""
    from regkd_edge.training.race.measure import measure_of

    noise, validation = np.random.default_rng(0).exponential(size=50), np.arange(50) < 7
    alone = [figures(LABELS_ALONE, noise)]
    measure, rows = measure_of(alone, 4 * noise, validation)
    assert measure == "labels" and rows.all()
    # A teacher that knows the labels it was trained on, and is wrong elsewhere: there alone labels count.
    validation = np.arange(50) < 20
    known = np.where(validation, 4 * noise, 0.01 * noise)
    measure, rows = measure_of(alone, known, validation)
    assert measure == "labels" and (rows == validation).all()
    follows = figures(MIXTURE, known)
    for one in (*alone, follows):
        one.label_squares, one.target_label_scores = one.label_errors[:, None], [[9.0]]
        one.count_labels_on(rows)
    assert follows.distances("labels") == ([follows.score("labels")], follows.score("labels"))
    assert follows.score("labels") == pytest.approx(2 * alone[0].score("labels"))
    assert alone[0].ahead_of(follows, "labels") > 2
