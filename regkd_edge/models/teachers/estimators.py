"""Teachers from the files of scikit-learn (skops), XGBoost, LightGBM and CatBoost; pickles only when trusted."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ModelError, NotAvailable
from ...io.arrays import inflated_problem
from ...io.reading import read_json
from ..asking import reason_of
from .categories import in_codes, of_lightgbm, of_xgboost
from .probe import crash_of, without_parameters
from .tree_shape import require_sound_trees

__all__ = ["BOOSTERS", "PICKLES", "read_booster", "read_estimator"]

PICKLES = (".pkl", ".pickle", ".joblib", ".dill")
#: Suffixes of the libraries' own files; what lies in a .json or .txt is told by its content.
BOOSTERS = {".ubj": "xgboost", ".xgb": "xgboost", ".cbm": "catboost", ".lgb": "lightgbm"}


def library(name: str, purpose: str, package: str | None = None) -> Any:
    """Import an optional library; :class:`NotAvailable` says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NotAvailable(
            f"{purpose} needs {package or name}, which cannot be imported ({error}).",
            f"Run: pip install {package or name}",
        ) from None


def read_estimator(path: str | Path, *, trust: bool = False) -> Any:
    """A fitted estimator from a skops file, or from a pickle (``.pkl``, ``.joblib``) with ``trust``.

    Raises
    ------
    ModelError
        A pickle without ``trust``, types that skops does not know, or a damaged file.
    NotAvailable
        The library is not installed.
    """
    path = Path(path)
    if path.suffix.lower() == ".skops":
        return _skops(path, trust)
    if path.suffix.lower() not in PICKLES:
        raise ModelError(
            f"'{path}' is of no kind that is known here ({path.suffix or 'no suffix'}).",
            "Give ONNX, .pt2, TorchScript, safetensors, skops, XGBoost .json or .ubj, LightGBM .txt, CatBoost .cbm.",
        )
    if not trust:
        raise ModelError(
            f"'{path}' is a pickle, and loading a pickle runs code of the file.",
            "Save it with skops.io.dump or in the library's own format; or add --trust if you made that file yourself.",
        )
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        joblib = importlib.import_module("joblib")
        return joblib.load(path)  # reads plain pickles too
    except Exception as error:  # unpickling raises whatever foreign classes raise
        raise ModelError(
            f"unpickling '{path}' failed: {type(error).__name__}: {error}.",
            "Use the versions of the libraries that it was saved with, or save it with skops.",
        ) from None


def _skops(path: Path, trust: bool) -> Any:
    io = library("skops.io", "a .skops file", "skops")
    problem = inflated_problem(path)
    if problem is not None:
        raise ModelError(f"'{path}' is not a readable skops file: {problem}.", "Save it again with skops.io.dump.")
    try:
        unknown = list(io.get_untrusted_types(file=path))
        foreign = [name for name in unknown if not _class_of_a_library(name)]
        if foreign and not trust:
            raise ModelError(
                f"'{path}' holds types that skops does not know: {', '.join(foreign[:6])}.",
                "Add --trust if you made that file yourself.",
            )
        model = io.load(path, trusted=unknown)
        require_sound_trees(model, path)
        return model
    except ModelError:
        raise
    except Exception as error:  # a damaged archive, a missing class, another version of scikit-learn
        raise ModelError(
            f"'{path}' is not a readable skops file: {type(error).__name__}: {error}.",
            "Save it again with skops.io.dump.",
        ) from None


def _class_of_a_library(name: str) -> bool:
    """Whether a type of a skops file is a class of scikit-learn or a boosting library, such as its trees."""
    module, _, attribute = name.rpartition(".")
    if name == "numpy.dtype":  # binning has it, and it runs nothing
        return True
    if module.split(".")[0] not in ("sklearn", "xgboost", "lightgbm"):
        return False
    try:
        found = getattr(importlib.import_module(module), attribute)
        return isinstance(found, type) and found.__module__.split(".")[0] == module.split(".")[0]
    except (ImportError, AttributeError):
        return False


def booster_of(path: Path) -> str | None:
    """``xgboost``, ``lightgbm`` or ``catboost`` where the file is one of theirs, else None."""
    known = BOOSTERS.get(path.suffix.lower())
    if known is not None:
        return known
    try:
        with open(path, "rb") as stream:
            head = stream.read(4096)
    except OSError:
        return None
    if head.startswith(b"CBM1"):
        return "catboost"
    if head.startswith((b"tree\n", b"tree\r\n")):
        return "lightgbm"
    text = head.lstrip()
    if text.startswith(b"{") and (b'"learner"' in head or path.suffix.lower() == ".json"):
        if b'"learner"' in head:
            return "xgboost"
        content = read_json(path, "Give the file that XGBoost saved.")
        return "xgboost" if isinstance(content, dict) and "learner" in content else None
    return None


class Booster:
    """A boosted forest from its own file: ``predict`` on float64 arrays [n, d], with the names it was trained with."""

    def __init__(self, kind: str, model: Any, features: int | None, names: list[str] | None, predict: Any):
        self.kind, self.model, self.predict = kind, model, predict
        if features:
            self.n_features_in_ = features
        self.names = names


def read_booster(path: str | Path) -> Booster:
    """A forest that XGBoost, LightGBM or CatBoost saved in its own format.

    Raises
    ------
    ModelError
        A file of none of them, or a damaged one, or a model for classes.
    NotAvailable
        The library is not installed.
    """
    path = Path(path)
    kind = booster_of(path)
    if kind is None:
        raise ModelError(
            f"'{path}' is not a file of XGBoost, LightGBM or CatBoost.", "Give the file that its save_model wrote."
        )
    library(kind, f"the file '{path.name}'")
    problem = crash_of(kind, path)
    if problem is not None:
        raise ModelError(f"{kind} cannot read '{path}': {problem}.", "Save the model again with its save_model.")
    try:
        return {"xgboost": _xgboost, "lightgbm": _lightgbm, "catboost": _catboost}[kind](path)
    except (ModelError, NotAvailable):
        raise
    except Exception as error:  # the library's own errors
        raise ModelError(
            f"{kind} cannot read '{path}': {reason_of(error)}.", "Save the model again with its save_model."
        ) from None


def _xgboost(path: Path) -> Booster:
    xgboost = library("xgboost", "an XGBoost file")
    booster = xgboost.Booster()
    booster.load_model(str(path))
    booster.set_param({"nthread": 0})
    # The scikit-learn wrapper predicts with the best iteration of early stopping, the booster itself with all of them.
    best = booster.attr("best_iteration") if booster.attr("scikit_learn") else None
    rounds = (0, int(best) + 1) if best is not None else (0, 0)
    if rounds[1] > booster.num_boosted_rounds():
        raise ValueError(f"its best round is {best}, and it holds {booster.num_boosted_rounds()} rounds")

    kinds = booster.feature_types
    codes = {"feature_types": kinds, "enable_categorical": True} if kinds and "c" in kinds else {}
    categories = of_xgboost(booster)

    def predict(x: np.ndarray) -> np.ndarray:
        rows = xgboost.DMatrix(in_codes(x, categories), **codes)
        return booster.predict(rows, iteration_range=rounds, validate_features=False)

    return Booster("XGBoost", booster, int(booster.num_features()), booster.feature_names, predict)


def _lightgbm(path: Path) -> Booster:
    lightgbm = library("lightgbm", "a LightGBM file")
    text = path.read_text(encoding="utf-8")
    booster = lightgbm.Booster(model_str=without_parameters(text))
    categories = of_lightgbm(booster, text)
    names = booster.feature_name()
    named = names if names and not all(name == f"Column_{i}" for i, name in enumerate(names)) else None
    ask = (lambda x: booster.predict(in_codes(x, categories))) if categories else booster.predict
    return Booster("LightGBM", booster, booster.num_feature(), named, ask)


def _catboost(path: Path) -> Booster:
    catboost = library("catboost", "a CatBoost file")
    model = catboost.CatBoost()
    model.load_model(str(path), format="json" if path.suffix.lower() == ".json" else "cbm")
    codes = list(model.get_cat_feature_indices())
    names = model.feature_names_
    named = names if names and not all(name == str(i) for i, name in enumerate(names)) else None

    def predict(x: np.ndarray) -> np.ndarray:
        if not codes:
            return model.predict(x)
        mixed = x.astype(object)  # CatBoost takes categories as whole numbers or text, never as floats
        for j in codes:
            mixed[:, j] = [int(v) if float(v).is_integer() else str(v) for v in x[:, j]]
        return model.predict(mixed)

    return Booster("CatBoost", model, len(names) if names else None, named, predict)
