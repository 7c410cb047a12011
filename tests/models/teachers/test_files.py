"""Teachers from files: programs of torch, estimators and forests; each answers as the object that was saved."""

from __future__ import annotations

import contextlib
import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from regkd_edge.errors import DataError, ModelError
from regkd_edge.models import check_teacher, load_teacher, save_teacher
from regkd_edge.models.teachers.run import from_folder

from .conftest import Residual, perceptron


def taken(path, data, **options):
    teacher = load_teacher(path, **options)
    check_teacher(teacher, data)
    return teacher


def of_module(module, x):
    parameter = next(module.parameters())
    with torch.no_grad():
        return module(torch.from_numpy(x).to(parameter.dtype)).double().numpy()


@pytest.mark.parametrize("net", [perceptron, Residual])
@pytest.mark.parametrize("batch", ["free", "fixed"])
def test_an_exported_program(data, net, batch):
    module = net().eval()
    shapes = ({0: torch.export.Dim("rows")},) if batch == "free" else None
    torch.export.save(torch.export.export(module, (torch.randn(3, 4),), dynamic_shapes=shapes), "m.pt2")
    teacher = taken("m.pt2", data)
    assert np.allclose(teacher.predict(data.x), of_module(module, data.x), atol=1e-6)
    assert teacher.differentiable and (teacher.mlp is not None) == (net is perceptron and batch == "free")
    assert any("at a time and is called once for each" in note for note in teacher.notes) == (batch == "fixed")
    with pytest.raises(DataError, match="3 columns, expected 4"):
        teacher.predict(data.x[:, :3])


class Evil:
    """A pickle that runs code when it is loaded."""

    def __reduce__(self):
        return (open, ("ran", "w"))


def test_a_pickle_inside_of_an_exported_program_is_not_loaded(here):
    """torch.export.load itself falls back to loading whatever it finds."""
    torch.export.save(torch.export.export(perceptron().eval(), (torch.randn(3, 4),)), "sound.pt2")
    evil = {"torch.save": io.BytesIO(), "pickle": io.BytesIO(pickle.dumps(Evil()))}
    torch.save(Evil(), evil["torch.save"])
    tried = 0
    with zipfile.ZipFile("sound.pt2") as sound:
        stored = {name: sound.read(name) for name in sound.namelist()}
    for name in [n for n in stored if "/data/" in n and not n.endswith(".json")]:
        for content in evil.values():
            with zipfile.ZipFile("evil.pt2", "w") as changed:
                for other, kept in stored.items():
                    changed.writestr(other, content.getvalue() if other == name else kept)
            with contextlib.suppress(ModelError):  # of a damaged file it may say so, or read a weight as plain bytes
                load_teacher("evil.pt2")
            tried += 1
            assert not Path("ran").exists(), name
    assert tried >= 2


def test_sample_inputs_that_are_a_pickle_are_named(here):
    torch.export.save(torch.export.export(perceptron().eval(), (torch.randn(3, 4),)), "sound.pt2")
    evil = io.BytesIO()
    torch.save(Evil(), evil)
    with zipfile.ZipFile("sound.pt2") as sound, zipfile.ZipFile("evil.pt2", "w") as changed:
        for name in sound.namelist():
            changed.writestr(name, evil.getvalue() if "sample_inputs" in name else sound.read(name))
    with pytest.raises(ModelError, match="pickle of more than tensors.*run code of the file.*--trust"):
        load_teacher("evil.pt2")


@pytest.mark.parametrize("name", ["m.pt", "m.ts"])
def test_a_torchscript_program(data, name):
    module = Residual().eval()
    torch.jit.trace(module, torch.randn(2, 4)).save(name)
    teacher = taken(name, data)
    assert np.array_equal(teacher.predict(data.x), of_module(module, data.x)) and teacher.differentiable
    paths, summary = save_teacher("kept", teacher, data)
    assert np.array_equal(from_folder("kept").predict(data.x), teacher.predict(data.x))
    assert "gradients, by PyTorch" in summary["loaded"]


def test_a_whole_pickled_module_and_weights_alone(data):
    torch.save(perceptron(), "whole.pt")
    with pytest.raises(ModelError, match="run code of the file.*--trust"):
        load_teacher("whole.pt")
    assert "fused core" in taken("whole.pt", data, trust=True).summary()
    torch.save(perceptron().state_dict(), "weights.pt")
    with pytest.raises(ModelError, match="weights without their network.*--factory package.module:factory --weights"):
        load_teacher("weights.pt")


@pytest.mark.parametrize("name", ["x.json", "x.ubj"])
def test_xgboost(data, name):
    xgboost = pytest.importorskip("xgboost")
    x, y = data.x, data.y[:, 0]
    forest = xgboost.XGBRegressor(n_estimators=50, early_stopping_rounds=2, n_jobs=1)
    forest.fit(x[:60], y[:60], eval_set=[(x[60:], y[60:])], verbose=False).save_model(name)
    assert forest.best_iteration < 49  # the wrapper answers with these trees alone
    teacher = taken(name, data)
    assert np.array_equal(teacher.predict(x)[:, 0], forest.predict(x).astype(float))
    assert teacher.widths == (4, 1) and not teacher.differentiable
    if name == "x.json":  # a file that claims a later round as its best one
        text = Path(name).read_text().replace(f'"best_iteration":"{forest.best_iteration}"', '"best_iteration":"99"')
        Path(name).write_text(text)
        with pytest.raises(ModelError, match="its best round is 99, and it holds"):
            load_teacher(name)


def test_xgboost_with_categories(data):
    xgboost = pytest.importorskip("xgboost")
    types = ["c", "q", "q", "q"]
    forest = xgboost.XGBRegressor(n_estimators=5, n_jobs=1, enable_categorical=True, feature_types=types)
    forest.fit(data.x, data.y[:, 0]).save_model("x.json")
    assert np.array_equal(taken("x.json", data).predict(data.x)[:, 0], forest.predict(data.x).astype(float))


def test_lightgbm(data):
    lightgbm = pytest.importorskip("lightgbm")
    forest = lightgbm.LGBMRegressor(n_estimators=5, verbose=-1, n_jobs=1).fit(data.x, data.y[:, 0])
    forest.booster_.save_model("l.txt")
    assert np.array_equal(taken("l.txt", data).predict(data.x)[:, 0], forest.predict(data.x))


def test_the_line_of_a_forest_says_its_trees_and_leaves(data):
    """Counted by hand: every tree of depth 1 that splits has two leaves."""
    skops = pytest.importorskip("skops.io")
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    boosted = GradientBoostingRegressor(n_estimators=4, max_depth=1)
    models = {
        "3 trees with 6 leaves": make_pipeline(StandardScaler(), RandomForestRegressor(3, max_depth=1)),
        "4 trees with 8 leaves": TransformedTargetRegressor(boosted, transformer=StandardScaler()),
        "2 trees with 4 leaves": HistGradientBoostingRegressor(max_iter=2, max_leaf_nodes=2),
        "8 trees with 16 leaves": MultiOutputRegressor(boosted),
    }
    for says, model in models.items():
        several = "8 trees" in says
        model.fit(data.x, np.column_stack([data.y[:, 0], data.x[:, 0]]) if several else data.y[:, 0])
        skops.dump(model, "f.skops")
        teacher = load_teacher("f.skops")
        assert (
            f"4 inputs, {'2 outputs' if several else '1 output'}, {says}, raw units, values only" in teacher.summary()
        )
        assert teacher.parameters_count is None  # a dash in tables, not 0
    assert "no torch parameters" in load_teacher(lambda x: x[:, 0]).summary()
    assert "no torch parameters" in load_teacher(RandomForestRegressor()).summary()  # not fitted


def test_the_line_of_a_boosted_forest_says_its_trees_and_leaves(data):
    y = data.y[:, 0]
    xgboost, lightgbm = pytest.importorskip("xgboost"), pytest.importorskip("lightgbm")
    xgboost.XGBRegressor(n_estimators=3, max_depth=1, n_jobs=1).fit(data.x, y).save_model("x.json")
    forest = lightgbm.LGBMRegressor(n_estimators=5, num_leaves=2, verbose=-1, n_jobs=1).fit(data.x, y)
    forest.booster_.save_model("l.txt")
    assert ", 3 trees with 6 leaves, " in load_teacher("x.json").summary()
    assert ", 5 trees with 10 leaves, " in load_teacher("l.txt").summary()
    assert ", 5 trees with 10 leaves, " in load_teacher(forest).summary()


def test_catboost_with_categories(data):
    catboost = pytest.importorskip("catboost")
    mixed = data.x.astype(object)
    mixed[:, 0] = data.x[:, 0].astype(int)
    forest = catboost.CatBoostRegressor(iterations=5, verbose=0, cat_features=[0], thread_count=1)
    forest.fit(mixed, data.y[:, 0]).save_model("c.cbm")
    teacher = taken("c.cbm", data)
    assert np.allclose(teacher.predict(data.x)[:, 0], forest.predict(mixed))
    network = teacher.standardized(data.scalers())
    assert network(torch.randn(20, 4) * 5).shape == (20, 1)  # codes between two categories would be refused


def pipeline(x, y):
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RandomForestRegressor(3, random_state=0)).fit(x, y)


def test_skops_and_pickles(data):
    skops = pytest.importorskip("skops.io")
    model = pipeline(data.x, data.y[:, 0])
    skops.dump(model, "m.skops")
    with open("m.pkl", "wb") as stream:
        pickle.dump(model, stream)
    expected = model.predict(data.x)
    assert np.array_equal(taken("m.skops", data).predict(data.x)[:, 0], expected)
    with pytest.raises(ModelError, match="loading a pickle runs code of the file.*skops.*--trust"):
        load_teacher("m.pkl")
    teacher = taken("m.pkl", data, trust=True)
    assert np.array_equal(teacher.predict(data.x)[:, 0], expected)
    save_teacher("kept", teacher, data)
    with pytest.raises(ModelError, match="--trust"):
        from_folder("kept")
    assert np.array_equal(from_folder("kept", trust=True).predict(data.x)[:, 0], expected)


def test_a_pipeline_that_reads_columns_by_name(data):
    pandas = pytest.importorskip("pandas")
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    frame = pandas.DataFrame(data.x, columns=data.table.feature_names)
    columns = ColumnTransformer([("code", OneHotEncoder(), ["a0"])], remainder="passthrough")
    model = make_pipeline(columns, Ridge()).fit(frame, data.y[:, 0])
    teacher = taken(model, data)
    assert np.array_equal(teacher.predict(data.x)[:, 0], model.predict(frame))
    assert np.array_equal(teacher.predict(frame)[:, 0], model.predict(frame))


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("m.h5", b"x", "a Keras file.*Export it to ONNX"),
        ("m.engine", b"x", "a TensorRT engine.*ONNX"),
        ("m.xyz", b"x", "not a teacher of a kind"),
        ("m.json", b'{"a": 1}', "not a teacher of a kind"),
        ("m.onnx", b"hello", "not a readable ONNX file"),
        ("m.pt2", b"hello", "not a torch.export program"),
        ("m.skops", b"hello", "not a readable skops file|skops"),
        ("m.txt", b"tree\nversion=9\n", "lightgbm|LightGBM"),
    ],
)
def test_other_files_are_refused_by_their_kind(here, name, content, says):
    (here / name).write_bytes(content)
    with pytest.raises(Exception, match=says) as caught:
        load_teacher(name)
    assert type(caught.value).__module__ == "regkd_edge.errors"


def test_no_such_file():
    with pytest.raises(ModelError, match="no teacher 'none.onnx'"):
        load_teacher("none.onnx")


def test_the_copy_in_a_run_is_the_file_that_was_described(data):
    torch.jit.script(nn.Linear(4, 1)).save("m.pt")
    save_teacher("kept", taken("m.pt", data), data)
    with open("kept/source.pt", "ab") as stream:
        stream.write(b"x")
    with pytest.raises(Exception, match="is not the file that 'model.json' describes"):
        from_folder("kept")
