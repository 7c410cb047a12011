"""Teachers that are not torch networks: a scikit-learn regressor, or any function on arrays.

They return values and have no gradient. PM works, ABM picks among random points, GM is refused (or uses central
differences on request), and the adversarial generator is refused, each with a message.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...errors import ModelError, UserError
from ...io.words import counted
from ..asking import reason_of
from ..outputs import Outputs
from .categories import asked_in_codes
from .forest_size import size_of_estimator

__all__ = ["ArrayFunction"]


class ArrayFunction(nn.Module):
    """A function on float64 arrays [n, d] -> [n, o] (or [n]) as a module without parameters.

    Parameters
    ----------
    function : callable, or an object with ``predict``
        A fitted scikit-learn regressor, a simulator, a remote service. What was fitted on a data frame with named
        columns (``feature_names_in_``) is asked with one.
    """

    differentiable = False
    dtype = torch.float64

    def __init__(self, function: Callable[[np.ndarray], Any] | Any):
        super().__init__()
        ask = asked_in_codes(function)
        in_frames = ask is None  # the numbers of categories are no data frame
        ask = ask or getattr(function, "predict", function)
        if not callable(ask) or isinstance(function, type):
            kind = (
                f"the class {function.__name__}"
                if isinstance(function, type)
                else f"{str(function)[:40]!r} ({type(function).__name__})"
            )
            raise ModelError(
                f"{kind} cannot be a teacher.", "Give a function on arrays, or a fitted object with predict(x)."
            )
        if _is_classifier(function):
            raise ModelError(
                f"a {type(function).__name__} is a classifier: its answers are labels of classes.",
                "Give a regressor, or a function of its probabilities, such as lambda x: model.predict_proba(x)[:, 1].",
            )
        self.function, self.ask = function, ask
        self.features = _features(function)
        names = getattr(function, "feature_names_in_", None)
        self.input_names = [str(name) for name in names] if names is not None else None
        self.frame = _frame(names) if names is not None and in_frames else None
        self.outputs = Outputs(type(function).__name__)

    def forward(self, x: Tensor) -> Tensor:  # [n, d] -> [n, o]
        rows = x.detach().double().cpu().numpy().copy()  # the user's function may write into them
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="X does not have valid feature names")
                answer = self.ask(rows if self.frame is None else self.frame(rows))
            if not isinstance(answer, (dict, tuple)) and not isinstance(answer, Tensor):
                if np.iscomplexobj(answer):
                    raise TypeError("the answers are complex numbers")
                if np.asarray(answer).dtype == np.bool_:
                    raise TypeError("the answers are True or False, expected numbers")
                answer = np.asarray(answer, dtype=np.float64)
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # the user's own function: whatever it raises is the cause
            raise ModelError(
                f"the teacher ({type(self.function).__name__}) failed on {counted(len(rows), 'row')}: "
                f"{type(error).__name__}: {reason_of(error)}.",
                "It is given rows as float64 [n, d], all at once, and returns [n, o] or [n]: fix it, or fit it first."
                if self.frame is None
                else "It was fitted on a data frame: give a function of rows [n, d] that builds that; in a run, a "
                "factory that returns it (--factory file.py:NAME).",
            ) from error
        if isinstance(answer, np.ndarray):
            y = answer[:, None] if answer.ndim == 1 else answer
            if y.ndim > 2 or len(np.atleast_1d(y)) != len(rows):
                y = self.outputs(torch.from_numpy(answer), len(rows)).numpy()
        else:
            y = self.outputs(answer, len(rows)).double().cpu().numpy()
        y = y.reshape(len(rows), -1) if y.ndim == 0 and len(rows) == 1 else y
        return torch.from_numpy(np.ascontiguousarray(y)).to(x)

    @property
    def size(self) -> str | None:
        """What is in it, where it is a forest: "30 trees with 1,234 leaves"."""
        return size_of_estimator(self.function)

    def extra_repr(self) -> str:
        return type(self.function).__name__


def _features(function: Any) -> int | None:
    """The number of inputs, where a fitted estimator knows it."""
    try:
        count = getattr(function, "n_features_in_", None)
    except Exception:  # a property of an estimator that is not fitted
        return None
    return int(count) if isinstance(count, (int, np.integer)) else None


def _is_classifier(function: Any) -> bool:
    base = sys.modules.get("sklearn.base")  # where it is not loaded, this is none of its estimators
    try:
        return base is not None and hasattr(function, "predict") and bool(base.is_classifier(function))
    except Exception:  # an object of one's own that has no tags
        return False


def _frame(names: Any) -> Callable[[np.ndarray], Any] | None:
    """Arrays as data frames with these columns; None without pandas."""
    try:
        import pandas
    except ImportError:
        return None
    columns = [str(name) for name in names]
    return lambda rows: pandas.DataFrame(rows, columns=columns) if rows.shape[1] == len(columns) else rows
