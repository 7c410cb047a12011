"""Categories of a data frame that a boosted forest was fitted on: it counts them, and an array holds their values.

LightGBM and XGBoost number the categories of a pandas column and split on the numbers. Both keep the values of the
categories beside the trees, and neither looks at them when it is asked with an array: a value of 20 that was category 2
is then taken for category 20, and the answer is another one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ...errors import ModelError, NotAvailable

__all__ = ["asked_in_codes", "in_codes", "of_lightgbm", "of_xgboost"]

Categories = Mapping[int, Sequence[float]]  # column -> value of category 0, 1, ...


def in_codes(
    x: np.ndarray,  # [n, d]
    categories: Categories,
) -> np.ndarray:  # [n, d]
    """Rows with the numbers of the categories in place of their values;
    not-a-number for a value that is none of them."""
    x = x.copy()
    for j, values in categories.items():
        order = np.argsort(values)
        ordered = np.asarray(values, dtype=np.float64)[order]
        place = np.minimum(np.searchsorted(ordered, x[:, j]), len(ordered) - 1)
        x[:, j] = np.where(ordered[place] == x[:, j], order[place], np.nan)
    return x


def of_lightgbm(booster: Any, text: str | None = None) -> Categories:
    """Categories of a LightGBM booster; ``text``: its file, where that was read without its parameters.

    Raises
    ------
    ModelError
        Categories that are words, or of columns that the file does not name.
    """
    lists = getattr(booster, "pandas_categorical", None) or []
    if not lists:
        return {}
    infos = _line(text if text is not None else booster.model_to_string(), "feature_infos=").split()
    columns = [j for j, info in enumerate(infos) if not info.startswith("[") and info != "none"]
    if len(columns) != len(lists):
        raise ModelError(
            f"the LightGBM model was fitted on a data frame with {len(lists)} columns of categories, and splits on "
            f"{len(columns)}: which is which is not kept.",
            "Fit it on arrays with categorical_feature, or give a function of rows [n, d] that builds the data frame.",
        )
    names = booster.feature_name()
    return {j: _numbers("LightGBM", names[j], values) for j, values in zip(columns, lists)}


def of_xgboost(booster: Any) -> Categories:
    """Categories of an XGBoost booster; none where it was fitted on numbers. Errors as :func:`of_lightgbm`."""
    if "c" not in (booster.feature_types or []) or not hasattr(booster, "get_categories"):
        return {}
    try:
        listed = booster.get_categories(export_to_arrow=True).to_arrow()
    except ImportError:
        if not _listed(booster):
            return {}
        raise NotAvailable(
            "the categories of an XGBoost model are read by pyarrow, which is not installed.",
            "Run: pip install pyarrow.",
        ) from None
    return {
        j: _numbers("XGBoost", name, values.to_pylist())
        for j, (name, values) in enumerate(listed)
        if values is not None
    }


def _listed(booster: Any) -> bool:
    """Whether an XGBoost model stores the categories of a data frame; one that was fitted on codes does not."""
    found = json.loads(bytes(booster.save_raw("json")))["learner"]["gradient_booster"]
    return bool(found.get("gbtree", found).get("model", {}).get("cats", {}).get("enc"))


def asked_in_codes(function: Any) -> Callable[[np.ndarray], Any] | None:
    """How a fitted model of LightGBM or XGBoost in memory is asked with arrays of values; None for any other object."""
    library = type(function).__module__.partition(".")[0]
    try:
        if library == "lightgbm":
            categories = of_lightgbm(getattr(function, "booster_", function))
            return (lambda x: function.predict(in_codes(x, categories))) if categories else None
        if library == "xgboost":
            return _xgboost(function)
    except (ModelError, NotAvailable):
        raise
    except Exception:  # not fitted yet: the call says so
        return None
    return None


def _xgboost(function: Any) -> Callable[[np.ndarray], Any] | None:
    import xgboost

    alone = isinstance(function, xgboost.Booster)
    booster = function if alone else function.get_booster()
    kinds = booster.feature_types
    coded = bool(kinds) and "c" in kinds
    if not alone and not coded:
        return None
    categories = of_xgboost(booster)
    best = None if alone else getattr(function, "best_iteration", None) if booster.attr("best_iteration") else None
    options = {"feature_types": kinds, "enable_categorical": True} if coded else {}

    def predict(x: np.ndarray) -> np.ndarray:
        rows = xgboost.DMatrix(in_codes(x, categories), **options)
        return booster.predict(rows, iteration_range=(0, best + 1 if best is not None else 0), validate_features=False)

    return predict


def _numbers(kind: str, name: str, values: Sequence[Any]) -> list[float]:
    if any(isinstance(value, str) or value is None for value in values):
        shown = ", ".join(repr(value) for value in list(values)[:3])
        raise ModelError(
            f"the {kind} model was fitted on the words of column '{name}' ({shown}), and rows are numbers here.",
            "Give a function of rows [n, d] that makes the words of the column's codes and asks the model; in a run, a "
            "factory that returns it (--factory file.py:NAME).",
        )
    return [float(value) for value in values]


def _line(text: str, key: str) -> str:
    return next((line[len(key) :] for line in text.splitlines() if line.startswith(key)), "")
