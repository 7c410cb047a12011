"""Forests that were fitted on the categories of a data frame answer rows of values as they answer the frame."""

from __future__ import annotations

import numpy as np
import pytest

import regkd_edge as rk
from regkd_edge.config import DataConfig
from regkd_edge.data import Dataset, prepare
from regkd_edge.errors import ModelError
from regkd_edge.models import check_teacher

pytest.importorskip("torch")
pandas = pytest.importorskip("pandas")

VALUES = np.array([45.0, 5.0, 25.0, 15.0])  # whose order is not that of the effects


def frame(words=None):
    rng = np.random.default_rng(0)
    code, a = rng.integers(0, 4, 400), rng.normal(size=400)
    x = np.column_stack([a, VALUES[code]])
    y = np.array([9.0, -4.0, 1.0, 6.0])[code] + a
    table = pandas.DataFrame(x, columns=["a", "kind"])
    kinds = table["kind"].astype(int) if words is None else pandas.Series(np.array(words)[code])
    table["kind"] = kinds.astype("category")
    return x, y, table


def lightgbm(table, y, path=None):
    lightgbm = pytest.importorskip("lightgbm")
    model = lightgbm.LGBMRegressor(n_estimators=30, verbose=-1, min_child_samples=5).fit(table, y)
    if path is not None:
        model.booster_.save_model(path)
    return model


def xgboost(table, y, path=None):
    xgboost = pytest.importorskip("xgboost")
    pytest.importorskip("pyarrow")  # which reads the categories
    model = xgboost.XGBRegressor(n_estimators=30, max_depth=3, enable_categorical=True, tree_method="hist").fit(
        table, y
    )
    if path is not None:
        model.save_model(path)
    return model


@pytest.mark.parametrize(("fit", "name"), [(lightgbm, "t.txt"), (xgboost, "t.json")])
def test_values_of_categories_are_answered_as_in_the_frame(tmp_path, fit, name):
    x, y, table = frame()
    model = fit(table, y, tmp_path / name)
    right = model.predict(table)
    assert np.std(right) > 3  # the categories matter
    for source in (model, tmp_path / name):
        assert np.abs(rk.load_teacher(source).predict(x)[:, 0] - right).max() < 1e-5


@pytest.mark.parametrize(("fit", "name"), [(lightgbm, "t.txt"), (xgboost, "t.json")])
def test_categories_that_are_words_are_named(tmp_path, fit, name):
    _, y, table = frame(["red", "green", "blue", "grey"])
    model = fit(table, y, tmp_path / name)
    for source in (model, tmp_path / name):
        with pytest.raises(ModelError, match=r"fitted on the words of column 'kind'.*function of rows \[n, d\]"):
            rk.load_teacher(source)

    def in_words(rows):  # the remedy
        kinds = pandas.Categorical.from_codes(rows[:, 1].astype(int), table["kind"].cat.categories)
        return model.predict(pandas.DataFrame({"a": rows[:, 0], "kind": kinds}))

    rows = np.column_stack([table["a"], table["kind"].cat.codes])
    right = model.predict(table)
    assert np.std(right) > 3 and np.allclose(rk.load_teacher(in_words).predict(rows)[:, 0], right, atol=1e-5)


def test_a_booster_of_xgboost_in_memory_is_asked_with_arrays():
    xgboost = pytest.importorskip("xgboost")
    x, y, _ = frame()
    booster = xgboost.train({"max_depth": 3}, xgboost.DMatrix(x, y), 20)
    assert np.array_equal(rk.load_teacher(booster).predict(x)[:, 0], booster.predict(xgboost.DMatrix(x)))


def test_an_estimator_of_other_columns_is_refused_where_it_comes_from_a_factory(tmp_path, monkeypatch):
    from regkd_edge.config import DataConfig, TeacherConfig
    from regkd_edge.data import Dataset, prepare
    from regkd_edge.models.teachers import teacher_for

    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "turned.py").write_text(
        "import numpy as np, pandas as pd\nfrom sklearn.linear_model import LinearRegression\n"
        "def make():\n    x = np.random.default_rng(0).normal(size=(60, 2))\n"
        "    return LinearRegression().fit(pd.DataFrame(x, columns=['b', 'a']), x[:, 0])\n"
    )
    rows = np.random.default_rng(1).normal(size=(60, 2))
    (tmp_path / "t.csv").write_text("a,b,y\n" + "".join(f"{a},{b},{a}\n" for a, b in rows))
    dataset = Dataset(*prepare(DataConfig(data=str(tmp_path / "t.csv"), target=["y"]), 0))
    with pytest.raises(ModelError, match="columns are in a different order: b, a; the data have a, b"):
        teacher_for(TeacherConfig(factory="turned:make", trust=True), dataset)


def test_what_writes_into_its_rows_does_not_change_them():
    torch = pytest.importorskip("torch")

    class Doubles(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = torch.nn.Parameter(torch.ones(1, dtype=torch.float64))

        def forward(self, x):
            return x.mul_(2).sum(1, keepdim=True) * self.w

    def doubles(x):
        x *= 2
        return x.sum(1)

    x = np.random.default_rng(0).normal(size=(20, 3))
    for teacher in (rk.load_teacher(doubles), rk.load_teacher(Doubles())):
        before = x.copy()
        assert np.allclose(teacher.predict(x)[:, 0], 2 * before.sum(1)) and np.array_equal(x, before)


def prepared(x, y, **options):
    np.savetxt("levels.csv", np.column_stack([x, y]), delimiter=",", header="x0,x1,y", comments="")
    config = DataConfig(data="levels.csv", target=["y"], **options)
    return Dataset(*prepare(config, 0))


def test_a_column_of_levels_that_are_codes_to_the_teacher_is_named(tmp_path, monkeypatch):
    """Levels such as 0.1 to 1.0 look like readings; a category of a fitted encoder is met exactly or not at all."""
    monkeypatch.chdir(tmp_path)
    rng, levels = np.random.default_rng(0), np.arange(11) / 10
    x = np.column_stack([rng.choice(levels, 300), rng.normal(size=300)])

    def strict(rows):
        if not np.isin(rows[:, 0], levels).all():
            raise ValueError("unknown category")
        return rows.sum(1)

    with pytest.raises(ModelError, match=r"fails on points beside them.*unknown category.*--categorical x0$"):
        rk.distill(strict, x, student="mlp:4:relu", recipe="mimic", steps=10)
    coded = prepared(x, strict(x), categorical=["x0"])
    check_teacher(rk.load_teacher(strict), coded)
