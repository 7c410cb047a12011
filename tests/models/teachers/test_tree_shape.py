"""Forests of every kind are read; one whose tree leads out of itself is refused before anything follows it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from regkd_edge.errors import ModelError
from regkd_edge.models.teachers.estimators import read_booster, read_estimator
from regkd_edge.models.teachers.tree_shape import lightgbm_problem, tree_problem, xgboost_problem

RNG = np.random.default_rng(0)
X = np.column_stack([RNG.normal(size=(300, 3)), RNG.integers(0, 6, 300)])
Y = X[:, 0] - X[:, 1] ** 2 + 5 * np.isin(X[:, 3], [1, 4])


@pytest.mark.parametrize(
    ("left", "right", "feature", "says"),
    [
        ([1, -1, -1], [2, -1, -1], [0, 9, 9], None),
        ([1, -1, -1], [3, -1, -1], [0, 0, 0], "a child is node 3 of 3"),
        ([1, -1, -1], [-1, -1, -1], [0, 0, 0], "a child is node -1 of 3"),
        ([1, 0, -1], [2, -1, -1], [0, 0, 0], "a child is node 0 of 3"),
        ([1, 3, -1, -1, -1], [2, 1, -1, -1, -1], [0] * 5, "two of its nodes have one child"),
        ([1, -1, -1], [2, -1, -1], [4, 0, 0], "a node asks for input 4 of 4"),
        ([1, -1, -1], [2, -1, -1], [-1, 0, 0], "a node asks for input -1 of 4"),
        ([1, -1], [2, -1, -1], [0, 0, 0], "its lists have 2, 3 and 3 entries"),
    ],
)
def test_nodes_lead_where_they_should(left, right, feature, says):
    assert tree_problem(left, right, feature, 4) == says


def xgboost_models():
    xgboost = pytest.importorskip("xgboost")
    rows = xgboost.DMatrix(X, Y, feature_types=["q", "q", "q", "c"], enable_categorical=True)
    common = {"max_depth": 4, "nthread": 1}
    yield xgboost.train({**common, "max_cat_to_onehot": 1}, rows, 5), rows
    yield xgboost.train({**common, "booster": "dart"}, rows, 3), rows
    plain = xgboost.DMatrix(X, Y)
    yield xgboost.train({"booster": "gblinear", "nthread": 1}, plain, 3), plain
    yield xgboost.train({**common, "gamma": 5.0, "tree_method": "exact"}, plain, 3), plain  # pruned nodes
    both = xgboost.DMatrix(X, np.column_stack([Y, -Y]))
    yield xgboost.train({**common, "multi_strategy": "multi_output_tree", "tree_method": "hist"}, both, 3), both


@pytest.mark.parametrize("suffix", [".json", ".ubj"])
def test_forests_of_xgboost_are_read(tmp_path, suffix):
    for number, (booster, rows) in enumerate(xgboost_models()):
        path = tmp_path / f"m{number}{suffix}"
        booster.save_model(path)
        assert np.array_equal(read_booster(path).predict(X), booster.predict(rows)), number


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("left_children", 2**20, "a child is node 1048576 of"),
        ("split_indices", 4, "a node asks for input 4 of 4"),
        ("categories_sizes", 10**6, "a node asks for categories beyond its"),
        ("categories_nodes", 10**6, "categories belong to a node that it does not have"),
    ],
)
def test_a_damaged_tree_of_xgboost_is_refused(tmp_path, field, value, says):
    booster, _ = next(xgboost_models())
    model = json.loads(bytes(booster.save_raw("json")))
    for tree in model["learner"]["gradient_booster"]["model"]["trees"]:
        if tree[field]:
            tree[field][0] = value
    assert says in xgboost_problem(model, 4)
    path = tmp_path / "m.json"
    path.write_text(json.dumps(model))
    with pytest.raises(ModelError, match="xgboost cannot read"):
        read_booster(path)


def test_a_tree_of_xgboost_that_adds_to_no_output_is_refused(tmp_path):
    booster, _ = next(xgboost_models())
    model = json.loads(bytes(booster.save_raw("json")))
    path = tmp_path / "m.json"
    for output in (-1, 1, 10**9):
        model["learner"]["gradient_booster"]["model"]["tree_info"][2] = output
        path.write_text(json.dumps(model))
        with pytest.raises(ModelError, match="its 5 trees do not belong to its 1 outputs"):
            read_booster(path)


def test_forests_of_lightgbm_are_read_and_a_damaged_tree_is_refused(tmp_path):
    lightgbm = pytest.importorskip("lightgbm")
    common = {"verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, "cat_smooth": 1, "min_data_per_group": 5}
    for more in ({}, {"linear_tree": True}, {"boosting": "dart"}, {"max_depth": 1}, {"min_data_in_leaf": 1000}):
        rows = lightgbm.Dataset(X, Y, categorical_feature=[3] if "linear_tree" not in more else "auto")
        booster = lightgbm.train({**common, **more}, rows, 4)
        path = tmp_path / "m.txt"
        booster.save_model(path)
        assert np.array_equal(read_booster(path).predict(X), booster.predict(X)), more
        if not more:
            whole = path.read_text()
    change = lambda key, value: "\n".join(
        f"{key}={value} {line.partition(' ')[2]}" if line.startswith(f"{key}=") else line for line in whole.split("\n")
    )
    for key, value, says in (
        ("left_child", 99, "a child is node 99 of"),
        ("left_child", -99, "a child is node -99 of"),
        ("split_feature", 4, "a node asks for input 4 of 4"),
        ("cat_boundaries", 9, "its categories end before they begin"),
    ):
        assert says in lightgbm_problem(change(key, value)), key
        path.write_text(change(key, value))
        with pytest.raises(ModelError, match=r"lightgbm cannot read .* is damaged"):
            read_booster(path)


def test_trees_of_scikit_learn_are_read_and_a_damaged_one_is_refused(tmp_path):
    skops = pytest.importorskip("skops.io")
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingRegressor, RandomForestRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    path = tmp_path / "m.skops"
    forests = (
        make_pipeline(StandardScaler(), RandomForestRegressor(3)),
        TransformedTargetRegressor(GradientBoostingRegressor(n_estimators=3)),
        HistGradientBoostingRegressor(max_iter=3, categorical_features=[3]),
    )
    for model in forests:
        skops.dump(model.fit(X, Y), path)
        assert np.array_equal(read_estimator(path, trust=True).predict(X), model.predict(X))
    nodes = forests[2]._predictors[1][0].nodes
    for field, value in (("left", 2**31), ("feature_idx", 4), ("feature_idx", -1)):
        kept, nodes[field][0] = nodes[field][0], value
        skops.dump(forests[2], path)
        with pytest.raises(ModelError, match=r"tree 1 is damaged: a (child is node 2147483648|node asks for input)"):
            read_estimator(path, trust=True)
        nodes[field][0] = kept
    sets = nodes["bitset_idx"].copy()
    nodes["bitset_idx"] = 10**6
    skops.dump(forests[2], path)
    with pytest.raises(ModelError, match="tree 1 is damaged: a node asks for categories that it does not have"):
        read_estimator(path, trust=True)
    nodes["bitset_idx"] = sets
    forest = forests[0][-1]
    forest.estimators_[2].tree_.children_right[0] = 10**6
    skops.dump(forests[0], path)
    with pytest.raises(ModelError, match="tree 2 is damaged: a child is node 1000000 of"):
        read_estimator(path, trust=True)
