"""Taking a teacher in: rows reach it as they are, its own scaler is used, what depends on the batch is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

from regkd_edge.config import DistillConfig, TeacherConfig
from regkd_edge.data import Scalers, load_predictions
from regkd_edge.errors import ModelError
from regkd_edge.models import check_teacher, load_teacher, save_teacher, teacher_for
from regkd_edge.training.setting import Setting

from .conftest import dataset

CODES = (0, 2, 3, 7)


class Coded(nn.Module):
    """An entity embedding of a code, as tabular networks have it."""

    def __init__(self):
        super().__init__()
        self.table, self.rest = nn.Embedding(8, 1), nn.Linear(2, 1)
        with torch.no_grad():
            self.table.weight.copy_(torch.tensor([5.0, -3, 8, 0, 2, -7, 4, -9])[:, None])

    def forward(self, x):
        return self.table(x[:, 0].long()) + self.rest(x[:, 1:])


def coded_rows(n=200):
    rng = np.random.default_rng(0)
    return np.column_stack([rng.choice(CODES, n), rng.normal(50, 10, n), rng.normal(size=n)])


def stored(teacher, data):
    paths, _ = save_teacher("kept", teacher, data)
    return load_predictions(paths[-1], (len(data.x), data.o))


def test_a_code_reaches_an_embedding_as_it_is(here):
    torch.manual_seed(0)
    (here / "plant.py").write_text("from tests.models.teachers.test_intake import Coded\n")
    data = dataset(coded_rows(), coded_rows()[:, 1])
    teacher = teacher_for(TeacherConfig(teacher_from="plant.py:Coded"), data)
    with torch.no_grad():
        expected = teacher.module(torch.from_numpy(data.x).float()).double().numpy()
    assert np.array_equal(stored(teacher, data), expected)
    network = teacher.standardized(data.scalers())
    assert torch.isfinite(network(20 * torch.randn(500, 3))).all()  # an index outside the table would raise


def threshold(x):
    """A split that a value of the table sits on, as histogram trees have it."""
    return np.where(x[:, 1] < 0.7, 10.0, -10.0) + x[:, 0]


def test_training_on_real_rows_has_the_answers_to_the_rows_as_they_are():
    x = np.column_stack([np.random.default_rng(0).normal(size=160), np.tile([0.1, 0.7, 0.3, 1.9], 40)])
    x[:, 1] += np.where(np.arange(160) >= 80, 1e-9, 0)  # a continuous column for whoever looks
    data = dataset(x, threshold(x))
    teacher = load_teacher(threshold)
    check_teacher(teacher, data)
    config = DistillConfig(recipe=None, base="mimic", terms=[], student="mlp:4:relu", steps=5)
    given = Setting.of(data, teacher, config, 0).training(config).source.rows.t
    expected = data.scalers().y.standardize(threshold(data.x[data.split.train])[:, None])
    assert np.allclose(given.numpy(), expected, atol=1e-6)


class Doubles(nn.Module):
    def forward(self, x):
        return x @ torch.ones(x.shape[1], 1, dtype=torch.float64)


class Indexed(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(8, 1)

    def forward(self, x):
        return self.table(x).sum(1)


@pytest.mark.parametrize(("module", "x"), [(Doubles, coded_rows()), (Indexed, coded_rows()[:, :1])])
def test_modules_that_want_another_type_of_number(module, x):
    data = dataset(x, x.sum(1))
    teacher = load_teacher(module())
    check_teacher(teacher, data)
    assert teacher.predict(data.x).shape == (200, 1)


class OfBatch(nn.Module):
    def forward(self, x):
        return (x - x.mean(0)).sum(1)


class Random(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5, training=True).sum(1)


class NoSingleRow(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(4, track_running_stats=False)

    def forward(self, x):
        return self.norm(x).sum(1)


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (OfBatch, "its answers depend on the batch"),
        (Random, "two answers to the same rows in two calls"),
        (NoSingleRow, "fails on one row alone"),
    ],
)
def test_a_teacher_without_one_answer_per_row_is_refused(data, module, says):
    with pytest.raises(ModelError, match=says):
        check_teacher(load_teacher(module().eval()), data)


def test_a_row_without_a_finite_answer_is_named_before_a_run_keeps_the_teacher(here, data):
    """The rows that are looked at first are answered: the one that is not lies behind them."""
    first = data.x[data.split.train[:64]]
    odd = next(x for x in data.x if not (first == x).all(1).any())

    class Odd(nn.Module):
        def forward(self, x):
            lost = (x == torch.from_numpy(odd).to(x)).all(1)
            return torch.where(lost, torch.nan, x.sum(1))

    teacher = load_teacher(Odd())
    check_teacher(teacher, data)
    with pytest.raises(ModelError, match=r"a number that is not finite \(1 of \d+ rows, the first is row \d+\)"):
        save_teacher(here / "kept", teacher, data)
    assert not (here / "kept").exists()


def test_numpy_inside_a_module_gives_values_only(data):
    class Inside(nn.Module):
        def forward(self, x):
            return np.sin(x.numpy()).sum(1)

    teacher = load_teacher(Inside())
    check_teacher(teacher, data)
    assert not teacher.differentiable and teacher.standardized(data.scalers())(torch.zeros(3, 4)).shape == (3, 1)


# Its own scaler

PLANT = """
from torch import nn
import torch
{extra}
def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 1))
def pair():
    return make(), {{"x_mean": [40.0, 900.0], "x_std": [8.0, 120.0], "y_mean": 150.0, "y_std": 27.0}}
class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = make()
        self.register_buffer("x_mean", torch.tensor([40.0, 900.0]))
        self.register_buffer("x_std", torch.tensor([8.0, 120.0]))
        self.register_buffer("y_mean", torch.tensor([150.0]))
        self.register_buffer("y_std", torch.tensor([27.0]))
    def forward(self, x):
        return self.net(x)
"""
STATISTICS = "X_MEAN, X_SCALE = [40.0, 900.0], [8.0, 120.0]\nY_MEAN, Y_SCALE = 150.0, 27.0"
OWN = Scalers.from_dict({"x": {"mean": [40, 900], "scale": [8, 120]}, "y": {"mean": [150], "scale": [27]}})


def shifted(noise=0.0):
    """Rows far from those that the teacher was trained on, with its true answers as labels."""
    rng = np.random.default_rng(0)
    x = rng.normal([70.0, 500.0], [2.0, 30.0], (100, 2))
    torch.manual_seed(0)
    net = nn.Linear(2, 1)
    with torch.no_grad():
        y = net(torch.from_numpy(OWN.x.standardize(x)).float()).double().numpy()
    return dataset(x, OWN.y.restore(y) + rng.normal(0, 1, (100, 1)) * noise)


def taken(here, factory, *, extra="", **options):
    (here / "plant_own.py").write_text(PLANT.format(extra=extra))
    data = shifted()
    teacher = teacher_for(
        TeacherConfig(factory=f"{here}/plant_own.py:{factory}", inputs="standardized", **options), data
    )
    return teacher, data


def files(here):
    values = {"x_mean": [40.0, 900.0], "x_scale": [8.0, 120.0], "y_mean": [150.0], "y_scale": [27.0]}
    (here / "own.json").write_text(json.dumps(values))
    np.savez(here / "own.npz", **values)
    (here / "scaler_own.py").write_text(STATISTICS)


@pytest.fixture(autouse=True)
def forget():
    import sys

    yield
    for name in ("plant_own", "scaler_own", "plant"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("scaler", ["own.json", "own.npz", "scaler_own.py"])
def test_a_scaler_that_is_named(here, scaler):
    files(here)
    teacher, data = taken(here, "make", teacher_scaler=scaler)
    assert np.allclose(teacher.predict(data.x), data.y, atol=1e-4) and np.allclose(
        stored(teacher, data), data.y, atol=1e-4
    )


@pytest.mark.parametrize(("factory", "extra"), [("make", STATISTICS), ("pair", ""), ("Own", "")])
def test_a_scaler_that_lies_beside_the_network_is_found_and_said(here, factory, extra):
    teacher, data = taken(here, factory, extra=extra)
    assert np.allclose(teacher.predict(data.x), data.y, atol=1e-4)
    assert "units of the scaler found in" in " ".join(teacher.notes) and teacher.mlp is not None


def test_a_run_keeps_the_scaler(here):
    teacher, data = taken(here, "pair")
    save_teacher("kept", teacher, data)
    again = teacher_for(TeacherConfig(factory=f"{here}/plant_own.py:pair", inputs="standardized"), data, "kept")
    assert np.array_equal(again.predict(data.x), teacher.predict(data.x))


def test_without_one_the_statistics_of_the_table_are_warned_about(here):
    teacher, data = taken(here, "make", teacher_scaler="table")
    assert not any("WARNING" in note for note in teacher.notes)  # it was asked for
    with pytest.raises(ModelError, match="worse than a constant.*--teacher-scaler FILE") as refused:
        contrary = data
        contrary.table.y[:] = -contrary.table.y + 2 * contrary.table.y.mean()
        teacher_for(TeacherConfig(factory=f"{here}/plant_own.py:make", inputs="standardized"), contrary)
    assert "R2 -" in str(refused.value)


def test_a_poor_fit_by_the_statistics_of_the_table_is_warned_about_loudly(here):
    (here / "plant_own.py").write_text(PLANT.format(extra=""))
    data = shifted(noise=2.0)
    teacher = teacher_for(TeacherConfig(factory=f"{here}/plant_own.py:make", inputs="standardized"), data)
    assert any(
        note.startswith("WARNING: nothing says how") and "--teacher-scaler FILE" in note for note in teacher.notes
    )


def test_of_several_targets_the_worst_is_named(here):
    """A mean of R2 would be above the limit: 1 and 0.8."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    data = dataset(x, np.column_stack([x[:, 0], 1e-6 * (x[:, 1] + 0.5 * rng.normal(size=200))]))
    linear = nn.Linear(2, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 0], [0, 0.9]]))
        linear.bias.zero_()
    torch.jit.script(nn.Sequential(linear)).save("m.pt")
    teacher = teacher_for(TeacherConfig(teacher_from="m.pt", inputs="standardized"), data)
    [note] = [note for note in teacher.notes if "WARNING: nothing says" in note]
    assert "for 't1', the worst" in note


def test_a_named_scaler_that_fits_worse_than_the_table_is_warned_about(here):
    """The deviations given as variances: the answers are finite, and wrong."""
    wrong = {"x_mean": [40.0, 900.0], "x_std": [8.0**2, 120.0**2], "y_mean": 150.0, "y_std": 27.0}
    (here / "own.json").write_text(json.dumps(wrong))
    teacher, data = taken(here, "make", teacher_scaler="own.json")
    assert any(note.startswith("warning: with its own scaler") and "R2" in note for note in teacher.notes)


def test_a_scaler_of_the_inputs_alone_asks_for_that_of_the_targets(here):
    (here / "own.json").write_text(json.dumps({"mean": [40.0, 900.0], "std": [8.0, 120.0]}))
    with pytest.raises(ModelError, match="Add y_mean and y_scale to the scaler; the labels suggest 150 and 27"):
        taken(here, "make", teacher_scaler="own.json")


def test_units_that_do_not_fit_the_labels_are_named(here, data):
    linear = nn.Linear(2, 1)
    data = shifted()
    scalers = data.scalers()
    with torch.no_grad():
        slope = np.linalg.lstsq(scalers.x.standardize(data.x), scalers.y.standardize(data.y), rcond=None)[0]
        linear.weight.copy_(torch.from_numpy(slope.T))
        linear.bias.zero_()
    torch.jit.script(nn.Sequential(linear)).save("m.pt")
    teacher = teacher_for(TeacherConfig(teacher_from="m.pt"), data)
    assert any("check --units standardized" in note for note in teacher.notes)
    quiet = teacher_for(TeacherConfig(teacher_from="m.pt", inputs="standardized"), data)
    assert not any("warning" in note.lower() for note in quiet.notes)
