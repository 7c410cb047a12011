"""Estimators of scikit-learn that are networks: linear models and MLPs, behind scalers, in torch with gradients.

The estimator itself goes on giving the answers; the network beside it gives gradients, and the fused core takes it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import ModelError
from ..scaling import scalers_in
from ..teacher import Teacher

__all__ = ["network_of", "with_network"]

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "logistic": nn.Sigmoid, "identity": nn.Identity}
_ROWS = 32  # on which a network is compared with its estimator


class _Affine(nn.Module):
    """``x * factor + shift``, columns by themselves."""

    def __init__(self, factor: np.ndarray, shift: np.ndarray):
        super().__init__()
        self.register_buffer("factor", torch.from_numpy(np.asarray(factor, dtype=np.float64)))
        self.register_buffer("shift", torch.from_numpy(np.asarray(shift, dtype=np.float64)))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor + self.shift


def network_of(estimator: Any) -> nn.Module | None:
    """The same estimator as a float64 network, or None for any other kind.

    Known are linear models (``coef_`` and ``intercept_``), ``MLPRegressor``, pipelines of scalers before them, and
    ``TransformedTargetRegressor`` with a scaler.
    """
    try:
        layers = _layers(estimator)
    except (AttributeError, TypeError, ValueError, ModelError):  # not fitted, sparse, or of other shapes
        return None
    return None if layers is None else nn.Sequential(*layers).double().eval()


def _layers(estimator: Any) -> list[nn.Module] | None:
    if not type(estimator).__module__.startswith("sklearn."):
        return None
    name = type(estimator).__name__
    if name == "Pipeline":
        parts = []
        for _, step in estimator.steps[:-1]:
            layer = None if step in (None, "passthrough") else _scaling(step)
            if step not in (None, "passthrough") and layer is None:
                return None
            parts += [] if layer is None else [layer]
        last = _layers(estimator.steps[-1][1])
        return None if last is None else [*parts, *last]
    if name == "TransformedTargetRegressor":
        inner, scaler = _layers(estimator.regressor_), estimator.transformer_
        found = scalers_in((scaler,), scaler.n_features_in_, 1) if inner is not None else None
        return None if found is None else [*inner, _Affine(found.x.scale, found.x.mean)]
    if name == "MLPRegressor":
        return _perceptron(estimator)
    # A prediction through a link (Poisson, Gamma, Tweedie) or of classes is not a linear map of the inputs.
    if hasattr(estimator, "coef_") and not hasattr(estimator, "_base_loss") and not hasattr(estimator, "classes_"):
        weight = np.atleast_2d(np.asarray(estimator.coef_, dtype=np.float64))
        return [_linear(weight, np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64), len(weight)))]
    return None


def _scaling(step: Any) -> nn.Module | None:
    if type(step).__name__ not in ("StandardScaler", "MinMaxScaler", "RobustScaler") or getattr(step, "clip", False):
        return None
    found = scalers_in((step,), step.n_features_in_, 1)
    return None if found is None else _Affine(1 / found.x.scale, -found.x.mean / found.x.scale)


def _perceptron(estimator: Any) -> list[nn.Module] | None:
    if estimator.out_activation_ != "identity":
        return None
    layers: list[nn.Module] = []
    for weight, bias in zip(estimator.coefs_, estimator.intercepts_):
        layers += [_linear(weight.T, bias), _ACTIVATIONS[estimator.activation]()]
    return layers[:-1]


def _linear(weight: np.ndarray, bias: np.ndarray) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.array(weight, dtype=np.float64)))
        layer.bias.copy_(torch.from_numpy(np.array(bias, dtype=np.float64)))
    return layer


def with_network(teacher: Teacher) -> Teacher:
    """Put the network of an estimator beside it, where there is one that answers random rows as the estimator does."""
    estimator = getattr(teacher.module, "function", None)
    network = None if estimator is None or teacher.values is not None else network_of(estimator)
    if network is None or not teacher.module.features:
        return teacher
    x = torch.randn(_ROWS, teacher.module.features, generator=torch.Generator().manual_seed(0)).double() * 3
    with torch.no_grad():
        try:
            theirs, ours = teacher.module(x), network(x)
        except (ModelError, RuntimeError):
            return teacher
    if theirs.shape != ours.shape or (theirs - ours).abs().max() > 1e-5 * (1 + theirs.abs().max()):
        return teacher  # float32 inside the estimator rounds to about 1e-7 of its answers
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    teacher.values, teacher.module, teacher.differentiable = teacher.module, network, True
    return teacher
