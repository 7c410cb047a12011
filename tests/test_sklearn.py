"""DistilledRegressor keeps scikit-learn's habits."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn.base import clone
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


def test_a_pipeline_that_picks_columns_by_name_is_fitted_on_the_frame_and_kept_where_it_is_frozen():
    pandas = pytest.importorskip("pandas")
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LinearRegression
    from sklearn.preprocessing import OneHotEncoder

    rng = np.random.default_rng(0)
    x = pandas.DataFrame({"kind": rng.integers(0, 3, 150), "gap": rng.normal(size=150)})
    y = np.array([0.0, 5.0, -3.0])[x["kind"]] + x["gap"]
    pipeline = make_pipeline(make_column_transformer((OneHotEncoder(), ["kind"])), LinearRegression())
    short = {"student": "mlp:8:relu", "recipe": "mimic", "steps": 200}
    fitted = rk.DistilledRegressor(pipeline, **short).fit(x, y)
    by_kind = y.groupby(x["kind"]).mean()
    np.testing.assert_allclose(fitted.teacher_.predict(x)[:, 0], by_kind[x["kind"]], rtol=1e-5, atol=1e-5)

    # Fitted on other labels: the clone of every fold keeps these answers, it is not fitted anew.
    kept = rk.load_teacher(pipeline.fit(x, 7 * y))
    cloned = clone(rk.DistilledRegressor(kept, **short)).fit(x, y)
    np.testing.assert_array_equal(cloned.teacher_.predict(x), kept.predict(x))
