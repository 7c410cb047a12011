"""What is known of the inputs: a description, a few rows, the teacher's scalers; and a run with no table at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from regkd_edge.config import DataConfig, RunConfig, TeacherConfig
from regkd_edge.data import Scaler, Scalers
from regkd_edge.data.named import read_inputs, read_rows
from regkd_edge.errors import DataError
from regkd_edge.models import MLP, Teacher, open_teacher
from regkd_edge.training import distill, train_teacher
from regkd_edge.training.described import described_rows
from regkd_edge.training.known import description_of

from .test_train import make_dataset, short

NAMES = ["a0", "a1", "a2"]
YAML = (
    "inputs:\n- {name: a0, mean: 10, sd: 3}\n- {name: a1, low: 0, high: 5, integer: true}\n- {name: a2, constant: 2}\n"
)


@pytest.fixture(scope="module")
def data():
    return make_dataset(o=1)


@pytest.fixture(scope="module")
def teacher(data):
    return train_teacher(data, TeacherConfig(teacher="mlp:16:tanh", epochs=10), 0).as_teacher()


@pytest.fixture
def yaml(tmp_path):
    path = tmp_path / "inputs.yaml"
    path.write_text(YAML)
    return str(path)


@pytest.fixture
def rows(tmp_path):
    """Thirty rows with other columns in between, in another order, the first two inputs moving together."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(30, 2))
    table = np.c_[np.arange(30), 2.0 + 0 * z[:, 0], 10 + 3 * z[:, 0], np.round(2.5 + z[:, 0] + 0.2 * z[:, 1])]
    path = tmp_path / "rows.csv"
    np.savetxt(path, table, delimiter=",", header="id,a2,a0,a1", comments="")
    return str(path)


def described_table(config):
    return described_rows(open_teacher(config.teacher), config.distill, config.seed)


def test_the_teachers_scalers_are_the_default(teacher):
    about = description_of(short(no_data=True), teacher, NAMES)
    assert about.mean.tolist() == teacher.scalers.x.mean.tolist() and about.correlation is None


def test_rows_alone_give_all_and_with_a_description_the_correlation(teacher, yaml, rows):
    alone = description_of(short(no_data=True, like=rows), teacher, NAMES)
    assert abs(alone.mean[0] - 10) < 2 and alone.integer[1] and alone.sd[2] == 0 and alone.correlation[0, 1] > 0.5
    both = description_of(short(no_data=True, like=rows, describe=yaml), teacher, NAMES)
    assert (both.mean[0], both.sd[0], both.high[1]) == (10, 3, 5)
    assert (both.correlation == alone.correlation).all()


def test_rows_are_followed(data, teacher, yaml, rows):
    from regkd_edge.training.free import synthetic_rows

    made = synthetic_rows(data, teacher, short(no_data=True, like=rows, describe=yaml, steps=200), 0)
    x = made.scalers.x.restore(made.train[0])
    assert np.corrcoef(x[:, :2].T)[0, 1] > 0.5
    assert set(np.round(x[:, 1], 3)) <= {0, 1, 2, 3, 4, 5} and np.allclose(x[:, 2], 2, atol=1e-4)


@pytest.mark.usefixtures("short_latent")
@pytest.mark.parametrize("sampler", ["generator", "direct", "anchored", "latent", "mixed"])
def test_searched_points_stay_where_inputs_can_be(data, teacher, yaml, rows, sampler, monkeypatch):
    """Every point of the feed, and the box of the perturbed and ascended points."""
    from regkd_edge.training import setting

    seen = []
    genuine = setting.source_of
    monkeypatch.setattr(setting, "source_of", lambda *a: seen.append((a, genuine(*a))) or seen[-1][1])
    trained = distill(data, teacher, short(no_data=True, sampler=sampler, describe=yaml, like=rows, terms=["pm"]), 0)
    (_, recipe, _, known, _), source = seen[0]
    x = source.feed.draw(40) if source.feed is not None else source.x
    raw = known.scalers.x.restore(x.double().numpy())
    # float32 in standardised space
    assert raw[:, 1].min() > -1e-4 and raw[:, 1].max() < 5 + 1e-4 and np.allclose(raw[:, 2], 2, atol=1e-4)
    assert np.allclose(raw[:, 1], np.round(raw[:, 1]), atol=1e-3)
    low, high = (known.scalers.x.restore(np.array(end)) for end in (recipe.low, recipe.high))
    assert np.allclose([low[1], high[1], low[2], high[2]], [0, 5, 2, 2])
    assert torch.isfinite(trained.module.layers[0].weight).all()


def raw_teacher(inputs="raw"):
    network = MLP([3, 8, 2], "tanh", generator=torch.Generator().manual_seed(0))
    return Teacher(network, None, inputs, "test")


def test_a_teacher_whose_units_nobody_knows_is_refused(data):
    with pytest.raises(DataError, match="nothing says how they are standardized"):
        distill(make_dataset(), raw_teacher("standardized"), short(no_data=True, describe="standard"), 0)


def test_standard_normal_inputs(teacher):
    about = description_of(short(no_data=True, describe="standard"), raw_teacher(), NAMES)
    assert (about.mean == 0).all() and (about.sd == 1).all()
    known = description_of(short(no_data=True, describe="standard"), teacher, NAMES)
    assert (known.mean == teacher.scalers.x.mean).all()


def factory():
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def whole(**given):
    return RunConfig.from_dict({"teacher": {"factory": f"{__name__}:factory"}, "distill": {"no_data": True, **given}})


def test_a_run_without_a_table_is_reported_on_described_inputs(yaml):
    table = described_table(whole(describe=yaml))
    assert table.feature_names == NAMES and table.target_names == ["y0", "y1"] and len(table) == 4000
    assert set(table.x[:, 1]) <= {0, 1, 2, 3, 4, 5}
    assert "every RMSE is a distance from the teacher" in table.warnings[0]
    plain = described_table(whole(describe="standard"))
    assert plain.feature_names == ["x0", "x1", "x2"] and abs(plain.x.std() - 1) < 0.05
    with pytest.raises(DataError, match="nothing is known about the inputs"):
        described_table(whole())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a0,a1\n1,2\n3,4\n", "no column 'a2'"),
        ("a0,a1,a2\n1,2,3\n", "at least 2 rows"),
        ("a0,a1,a2\n1,2,3\n1,nan,3\n", "line 3, column 'a1': met nan or an empty cell"),
    ],
)
def test_rows_that_do_not_do_are_named(teacher, tmp_path, text, says):
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=says):
        description_of(short(no_data=True, like=str(path)), teacher, NAMES)


def test_text_in_other_columns_is_passed_over(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("id,a0,a1,a2\nfirst,1,2,3\nsecond,4,5,6\n")
    assert read_inputs(str(path), ["a2", "a0", "a1"]).tolist() == [[3, 1, 2], [6, 4, 5]]
    path.write_text("id,a0,a1,a2\nfirst,1,much,3\n")
    with pytest.raises(DataError, match="line 2, column 'a1': met 'much'"):
        read_inputs(str(path), NAMES)


INPUTS = ["a", "kind=red", "kind=dark blue", "kind=2", "x=1"]


def test_words_are_read_off_their_column(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("x=1,kind,a\n7,2,1\n8, dark blue ,2\n9,red,3\n")
    expected = [[1, 0, 0, 1, 7], [2, 0, 1, 0, 8], [3, 1, 0, 0, 9]]
    assert read_inputs(path, INPUTS).tolist() == expected
    ready = "a,kind,kind=red,kind=dark blue,kind=2,x=1\n1,-,0,0,1,7\n"  # columns of their own count first
    path.write_text(ready)
    assert read_inputs(path, INPUTS).tolist() == [[1, 0, 0, 1, 7]]


def test_rows_to_be_answered_are_read_as_those_of_the_training(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text("a|1,5\nb|2\n")
    config = DataConfig(separator="bar", decimal=",", header=False)
    assert read_rows(path, ["c2", "c1=a", "c1=b"], None, config).x.tolist() == [[1.5, 1, 0], [2, 0, 1]]


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("green", "line 3, column 'kind': met 'green', which is not among the words of the training"),
        ("", "line 3, column 'kind': met nan or an empty cell, expected a word"),
    ],
)
def test_a_word_that_the_training_does_not_know_is_named(tmp_path, cell, says):
    path = tmp_path / "rows.csv"
    path.write_text(f"x=1,kind,a\n7,2,1\n8,{cell},2\n")
    with pytest.raises(DataError, match=says):
        read_inputs(path, INPUTS)


def test_scalers_that_differ_from_the_description_are_the_teachers(yaml):
    scalers = Scalers(Scaler(np.array([1.0, 2.0, 3.0]), np.array([2.0, 2.0, 2.0])), Scaler(np.zeros(1), np.ones(1)))
    known = Teacher(MLP([3, 4, 1], "tanh"), scalers, "standardized", "test")
    trained = distill(make_dataset(o=1), known, short(no_data=True, describe=yaml), 0)
    assert trained.scalers is scalers


def test_a_teacher_that_takes_other_inputs_is_named(tmp_path):
    path = tmp_path / "two.yaml"
    path.write_text("inputs:\n- {mean: 0, sd: 1}\n- {name: b, mean: 0, sd: 1}\n")
    with pytest.raises(DataError, match="fails on rows of 2 inputs"):
        described_table(whole(describe=str(path)))


def test_calibration_rows_are_as_described_without_the_file(data, teacher, yaml, rows, tmp_path):
    from regkd_edge.models import Student
    from regkd_edge.sampling.synthetic import known_inputs, synthetic_rows

    trained = distill(data, teacher, short(no_data=True, describe=yaml, like=rows, terms=[]), 0)
    trained.save(tmp_path / "student", data)
    stored = Student.load(tmp_path / "student")
    x = synthetic_rows(known_inputs(stored.scalers.x, stored.inputs), 500, 1)
    assert set(x[:, 1]) <= {0, 1, 2, 3, 4, 5} and np.allclose(x[:, 2], 2) and np.corrcoef(x[:, :2].T)[0, 1] > 0.5
