"""The scaler of a teacher is found under the names that people give it, in the places where they keep it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import BayesianRidge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, PowerTransformer, RobustScaler, StandardScaler
from torch import nn

from regkd_edge.errors import ModelError
from regkd_edge.models.scaling import find_scalers, read_scalers, scalers_in, statistic_of

M, S = [1.0, 2.0, 3.0], [0.5, 2.0, 4.0]
ROWS = np.random.default_rng(0).normal(M, S, (50, 3))
LABELS = ROWS.sum(1, keepdims=True)


@pytest.mark.parametrize(
    ("name", "statistic"),
    [
        ("x_mean", ("x", "mean")),
        ("X_SCALE", ("x", "scale")),
        ("input_std", ("x", "scale")),
        ("featureMean", ("x", "mean")),
        ("target_sigma", ("y", "scale")),
        ("denormalizer.mean", ("y", "mean")),
        ("ystd", ("y", "scale")),
        ("mean_", (None, "mean")),
        ("var_", (None, "var")),
        ("x_scaler_mean", ("x", "mean")),
        ("1.running_mean", None),
        ("bn.running_var", None),
        ("layer.weight", None),
        ("x_mean_head", None),
        ("x", None),
    ],
)
def test_names_of_statistics(name, statistic):
    assert statistic_of(name) == statistic


class Buffers(nn.Module):
    def __init__(self):
        super().__init__()
        for name, value in {"x_mean": M, "x_std": S, "y_mean": [7.0], "y_std": [9.0]}.items():
            self.register_buffer(name, torch.tensor(value))


STANDARD, TARGET = StandardScaler().fit(ROWS), StandardScaler().fit(LABELS)


@pytest.mark.parametrize(
    "content",
    [
        {"x_mean": M, "x_scale": S, "y_mean": 7.0, "y_scale": 9.0},
        {"X_MEAN": M, "X_STD": S, "Y_MEAN": [7.0], "Y_STD": [9.0], "LR": 0.1},
        {"x": {"mean": M, "scale": S}, "y": {"mean": 7.0, "std": 9.0}},
        {
            "input_scaler": {"mean_": M, "scale_": S, "var_": [0, 0, 0]},
            "target_scaler": {"mean_": [7.0], "scale_": [9.0]},
        },
        {
            "x_mean": torch.tensor(M),
            "x_var": torch.tensor(S) ** 2,
            "y_mean": torch.tensor(7.0),
            "y_std": torch.tensor(9.0),
        },
        Buffers(),
        SimpleNamespace(x_mean=M, x_std=S, y_mean=7.0, y_std=9.0),
    ],
)
def test_places_and_names(content):
    found = scalers_in(content, 3, 1)
    assert np.allclose(found.x.mean, M) and np.allclose(found.x.scale, S)
    assert found.y.mean == [7.0] and found.y.scale == [9.0]


_KINDS = {
    "standard": StandardScaler,
    "range": MinMaxScaler,
    "largest": MaxAbsScaler,
    "robust": RobustScaler,
    "without a mean": lambda: StandardScaler(with_mean=False),  # it learns one all the same
    "without a scale": lambda: StandardScaler(with_std=False),
    "two in a pipeline": lambda: make_pipeline(RobustScaler(), "passthrough", MinMaxScaler(feature_range=(-1, 1))),
}


@pytest.mark.parametrize("kind", _KINDS.values(), ids=_KINDS)
def test_scalers_of_scikit_learn(kind):
    inputs, targets = kind().fit(ROWS), kind().fit(LABELS)
    for content in ((inputs, targets), {"x_scaler": inputs, "y_scaler": targets}):
        found = scalers_in(content, 3, 1)
        assert np.allclose(found.x.standardize(ROWS), inputs.transform(ROWS))
        assert np.allclose(found.y.standardize(LABELS), targets.transform(LABELS))
    by_hand = [vars(inputs), {"x": vars(inputs)}] if not hasattr(inputs, "steps") else []
    for content in ((inputs,), inputs, *by_hand):
        alone = scalers_in(content, 3, 1)
        assert np.allclose(alone.x.standardize(ROWS), inputs.transform(ROWS)) and alone.y.scale == [1.0]


def test_the_scalers_before_a_predictor_are_those_of_the_pipeline():
    whole = make_pipeline(StandardScaler(), BayesianRidge()).fit(ROWS, LABELS.ravel())
    assert np.allclose(scalers_in(whole, 3, 1).x.standardize(ROWS), whole[:-1].transform(ROWS))


@pytest.mark.parametrize(
    "made",
    [PCA(3), BayesianRidge(), PowerTransformer(), MinMaxScaler(clip=True), make_pipeline(StandardScaler(), PCA(3))],
    ids=lambda made: type(made).__name__,
)
def test_what_is_no_mean_and_scale_is_not_taken_for_one(made):
    """Each of them has a mean or a scale among its attributes, which alone would answer something else."""
    made.fit(ROWS, LABELS.ravel())
    for content in ((made,), made, {"x_scaler": made}):
        assert scalers_in(content, 3, 1) is None


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("scale", [{"var_": [s * s for s in S]}, {"std_": S}])
def test_a_scale_in_another_form_is_not_taken_for_none(scale, nested):
    content = {"mean_": M, **scale}
    found = scalers_in({"x": content} if nested else content, 3, 1)
    assert np.allclose(found.x.mean, M) and np.allclose(found.x.scale, S)


@pytest.mark.parametrize(
    "targets",
    [
        {"y_mean": 7.0},
        {"y_std": [9.0]},
        {"y_mean": [7.0, 8.0], "y_std": [9.0, 9.0]},
        {"y_scaler": PowerTransformer().fit(LABELS)},
        {"target_scaler": {"lambdas": [1.0]}},
        {"y_mean": 7.0, "y_std": -1.0},
    ],
)
def test_statistics_of_the_targets_that_cannot_be_used_are_refused(targets):
    with pytest.raises(ModelError, match=f"'{next(iter(targets))}'.* for the targets"):
        scalers_in({"x_mean": M, "x_std": S, **targets}, 3, 1)
    with pytest.raises(ModelError, match="for the targets"):
        scalers_in((STANDARD, PowerTransformer().fit(LABELS)), 3, 1)


@pytest.mark.parametrize(
    "content", [{}, {"x_mean": M}, {"x_mean": M[:2], "x_std": S[:2]}, {"x_mean": M, "x_std": [1, -1, 1]}, 3]
)
def test_what_is_no_scaler_of_these_inputs(content):
    assert scalers_in(content, 3, 1) is None


def test_statistics_of_inputs_and_targets_in_one_place_are_told_apart_by_their_names():
    """With as many targets as inputs, the length does not say whose statistics they are."""
    values = {"x_mean": [1.0, 2.0], "x_std": [3.0, 4.0], "y_mean": [5.0, 6.0], "y_std": [7.0, 8.0]}
    [(found, _)] = [find_scalers([("a file", {"stats": values})], 2, 2)]
    assert found.x.mean.tolist() == [1.0, 2.0] and found.y.scale.tolist() == [7.0, 8.0]


def test_files(tmp_path):
    values = {"x_mean": M, "x_scale": S, "y_mean": [7.0], "y_scale": [9.0]}
    (tmp_path / "s.json").write_text(json.dumps(values))
    np.savez(tmp_path / "s.npz", **values)
    torch.save({k: torch.tensor(v) for k, v in values.items()}, tmp_path / "s.pt")
    (tmp_path / "deep.json").write_text(json.dumps({"stats": values, "epochs": 3}))
    for name in ("s.json", "s.npz", "s.pt", "deep.json"):
        found = read_scalers(tmp_path / name, 3, 1)
        assert found.x.mean.tolist() == M and found.y.scale.tolist() == [9.0], name
    with pytest.raises(ModelError, match="holds no scaler of 4 inputs .it holds 'x_mean'"):
        read_scalers(tmp_path / "s.json", 4, 1)
    with pytest.raises(ModelError, match="no scaler file"):
        read_scalers(tmp_path / "none.json", 3, 1)


def test_a_pickled_scaler_needs_trust(tmp_path):
    import joblib

    joblib.dump((STANDARD, TARGET), tmp_path / "s.joblib")
    with pytest.raises(ModelError, match="loading a pickle runs code of the file.*--trust"):
        read_scalers(tmp_path / "s.joblib", 3, 1)
    assert np.allclose(read_scalers(tmp_path / "s.joblib", 3, 1, trust=True).x.mean, STANDARD.mean_)
