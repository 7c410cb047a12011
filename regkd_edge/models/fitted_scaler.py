"""The mean and scale of a fitted scaler of scikit-learn, of a pipeline of them, or of their attributes kept by hand.

What maps a value in any other way (``PCA`` and ``BayesianRidge`` have a mean too, ``PowerTransformer`` a scaler inside,
a ``MinMaxScaler`` may clip) has none, and is not taken for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np

__all__ = ["fitted_scaler", "is_fitted"]

_KEPT = ("mean_", "scale_", "min_", "center_", "max_abs_")


def is_fitted(value: Any) -> bool:
    """Whether this is an estimator, whose attributes mean what its class says, and not what their names say."""
    return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in ("fit", "get_params"))


def fitted_scaler(value: Any) -> tuple[np.ndarray, np.ndarray] | None:  # each [k], or one number where it has none
    """``(mean, scale)`` such that the scaler answers ``(x - mean) / scale``; None for what is not of that form.

    Parameters
    ----------
    value : estimator, object or mapping
        StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler (:mod:`sklearn.preprocessing`), or a Pipeline of them,
        in which a predictor may come last; or their attributes, ``mean_`` and ``scale_``, in an object or a mapping.
    """
    if isinstance(value, Mapping):
        value = SimpleNamespace(**{str(key): part for key, part in value.items() if isinstance(key, str)})
    if is_fitted(value) and isinstance(getattr(value, "steps", None), list):
        return _pipeline([step for _, step in value.steps])
    held = getattr(value, "__dict__", {})
    if "scale_" not in held or getattr(value, "clip", False) or (is_fitted(value) and hasattr(value, "predict")):
        return None
    found = {name: held.get(name) for name in _KEPT}
    try:
        numbers = {name: np.asarray(part, dtype=np.float64) for name, part in found.items() if part is not None}
    except (TypeError, ValueError):
        return None
    scale = numbers.get("scale_", np.ones(1))
    if "min_" in numbers:  # MinMaxScaler: x * scale_ + min_
        with np.errstate(divide="ignore", invalid="ignore"):  # the caller refuses what is not finite
            return -numbers["min_"] / scale, 1 / scale
    if "center_" in held:  # RobustScaler
        return numbers.get("center_", np.zeros_like(scale)), scale
    if "mean_" in held:  # StandardScaler: the mean is learnt without with_mean too
        mean = numbers.get("mean_") if held.get("with_mean", True) else None
        return (np.zeros_like(scale) if mean is None else mean), scale
    return (np.zeros_like(scale), scale) if "max_abs_" in held else None


def _pipeline(steps: list[Any]) -> tuple[np.ndarray, np.ndarray] | None:
    if steps and hasattr(steps[-1], "predict"):
        steps = steps[:-1]
    mean, scale, any_of_them = np.zeros(1), np.ones(1), False
    for step in steps:
        if step in (None, "passthrough"):
            continue
        found = fitted_scaler(step)
        if found is None:
            return None
        mean, scale, any_of_them = mean + scale * found[0], scale * found[1], True
    return (mean, scale) if any_of_them else None
