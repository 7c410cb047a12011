"""DistilledRegressor keeps scikit-learn's habits."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import regkd_edge as rk

SMALL = rk.DistilledRegressor(
    "mlp:16:relu", "mlp:16:relu", recipe="mimic", steps=300, options={"evaluate_every": 100}, validation=0.2
)


@parametrize_with_checks([SMALL])
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def rows(n=150, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3)) * [1, 10, 0.1]
    return x, 2 * x[:, 0] + 0.1 * x[:, 1]


def test_a_forest_that_is_not_fitted_is_cloned_and_fitted():
    x, y = rows()
    forest = RandomForestRegressor(20, random_state=0)
    model = rk.DistilledRegressor(forest, "mlp:16:tanh", recipe="mimic", steps=1500).fit(x, y)
    assert not hasattr(forest, "estimators_")
    fitted = RandomForestRegressor(20, random_state=0).fit(x, y)
    np.testing.assert_array_equal(model.teacher_.predict(x)[:, 0], fitted.predict(x))
    assert model.score(x, y) > 0.9


def test_two_targets_come_back_as_two_columns():
    x, y = rows()
    model = rk.DistilledRegressor("mlp:16:relu", "mlp:8:relu", recipe="mimic", steps=200).fit(x, np.stack([y, -y], 1))
    assert model.predict(x).shape == (len(x), 2)


def test_it_is_searched_over_and_sits_in_a_pipeline():
    x, y = rows()
    search = GridSearchCV(
        make_pipeline(StandardScaler(), rk.DistilledRegressor("mlp:8:relu", recipe="mimic", steps=100)),
        {"distilledregressor__student": ["mlp:4:relu", "mlp:8:relu"]},
        cv=2,
    ).fit(x, y)
    assert search.best_estimator_.predict(x).shape == y.shape
