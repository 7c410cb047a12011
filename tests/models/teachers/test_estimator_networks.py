"""Linear models and MLPs of scikit-learn go to the fused core; the estimator itself gives the answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.linear_model import LassoCV, LinearRegression, PoissonRegressor, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, PolynomialFeatures, RobustScaler, StandardScaler
from sklearn.svm import SVR

from regkd_edge.models import check_teacher, load_teacher, save_teacher

from .conftest import table

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def mlp(activation, **options):
    return MLPRegressor(hidden_layer_sizes=(6, 5), activation=activation, max_iter=30, random_state=0, **options)


@pytest.mark.parametrize(
    ("model", "spec"),
    [
        (Ridge(), "a linear map"),
        (make_pipeline(StandardScaler(), LinearRegression()), "a linear map"),
        (make_pipeline(MinMaxScaler(), LassoCV(cv=3)), "a linear map"),
        (make_pipeline(StandardScaler(), mlp("relu")), "mlp:6,5:relu"),
        (make_pipeline(RobustScaler(), mlp("tanh")), "mlp:6,5:tanh"),
        (make_pipeline(StandardScaler(), mlp("logistic")), "mlp:6,5:tanh"),  # (1 + tanh(z / 2)) / 2
        (TransformedTargetRegressor(make_pipeline(StandardScaler(), mlp("relu")), transformer=StandardScaler()),
        "mlp:6,5:relu"),
    ],
)  # fmt: skip
def test_networks(model, spec):
    data = table()
    model.fit(data.x, data.y[:, 0])
    teacher = load_teacher(model)
    check_teacher(teacher, data)
    assert f"fused core (as {spec})" in teacher.summary() and teacher.differentiable
    assert np.array_equal(teacher.predict(data.x)[:, 0], model.predict(data.x))
    scalers = data.scalers()
    answers = teacher.standardized(scalers)(torch.from_numpy(scalers.x.standardize(data.x)).float())
    assert np.allclose(scalers.y.restore(answers.numpy())[:, 0], model.predict(data.x), atol=1e-4)


@pytest.mark.parametrize(
    "model",
    [
        make_pipeline(PolynomialFeatures(), Ridge()),
        make_pipeline(MinMaxScaler(clip=True), Ridge()),
        PoissonRegressor(),
        KNeighborsRegressor(),
        SVR(kernel="rbf"),
        TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
    ],
)
def test_everything_else_answers_values(model):
    data = table()
    model.fit(data.x, np.abs(data.y[:, 0]))
    teacher = load_teacher(model)
    check_teacher(teacher, data)
    assert "values only" in teacher.summary()
    assert np.array_equal(teacher.predict(data.x)[:, 0], model.predict(data.x))


def test_several_targets_and_a_factory_in_a_run(here):
    from regkd_edge.config import TeacherConfig
    from regkd_edge.models import teacher_for

    from .conftest import dataset

    (here / "plant_linear.py").write_text(
        "import numpy as np\nfrom sklearn.linear_model import Ridge\n"
        "x = np.random.default_rng(0).normal(size=(50, 4))\n"
        "def make():\n    return Ridge().fit(x, x[:, :2])\n"
    )
    x = np.random.default_rng(1).normal(size=(60, 4))
    data, config = dataset(x, x[:, :2]), TeacherConfig(factory="plant_linear.py:make")
    teacher = teacher_for(config, data)
    save_teacher("kept", teacher, data)
    again = teacher_for(config, data, "kept")
    assert np.array_equal(again.predict(x), teacher.predict(x)) and again.mlp is not None
