"""A scikit-learn regressor that is a distilled student: fit a teacher where one is missing, distil it, predict."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted, validate_data

__all__ = ["DistilledRegressor"]


class DistilledRegressor(RegressorMixin, BaseEstimator):
    """Distil a teacher into a small network, with the habits of scikit-learn.

    Parameters
    ----------
    teacher : Teacher, torch module, regressor, callable or str, default="mlp:256,256:relu"
        What is distilled. A fitted regressor, a module or a callable answers as it is; a regressor that is not fitted
        is cloned and fitted on the rows first; a spec is trained on them (:func:`regkd_edge.train_teacher`).
        Cross-validation clones what it is given, and the clone of a fitted regressor is not fitted: to keep it as it is
        in every fold, give ``regkd_edge.load_teacher(regressor)`` or scikit-learn's ``FrozenEstimator(regressor)``.
    student : str, default="mlp:32,32:relu"
        Spec of the network to train.
    recipe : str or None, default=None
        Name in the catalogue of recipes; None leaves the choice to :func:`regkd_edge.distill`.
    steps : int or None, default=None
        Training steps; None leaves them to :func:`regkd_edge.distill`.
    validation : float, default=0.15
        Share of the rows that selects the best state.
    options : dict or None, default=None
        Further fields of the configuration, e.g. ``{"terms": ["pm"], "w_gm": 0.1}``.
    random_state : int, RandomState instance or None, default=0
        Seed of the split, the initial weights and the noise.

    Attributes
    ----------
    teacher_ : Teacher
        What was distilled.
    student_ : Student
        The network: ``student_.export("student.onnx")`` writes it.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, where the rows were a data frame with names

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from regkd_edge import DistilledRegressor
    >>> x, y = load_diabetes(return_X_y=True)
    >>> model = DistilledRegressor("mlp:32:relu", "mlp:8:relu", recipe="mimic", steps=300).fit(x, y)
    >>> model.predict(x[:2]).shape
    (2,)
    """

    def __init__(
        self,
        teacher: Any = "mlp:256,256:relu",
        student: str = "mlp:32,32:relu",
        *,
        recipe: str | None = None,
        steps: int | None = None,
        validation: float = 0.15,
        options: dict[str, Any] | None = None,
        random_state: Any = 0,
    ):
        self.teacher = teacher
        self.student = student
        self.recipe = recipe
        self.steps = steps
        self.validation = validation
        self.options = options
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> DistilledRegressor:
        """Fit the teacher where it is not fitted yet, and distil it on X [n, d] and y [n] or [n, o].

        Raises
        ------
        ValueError
            Rows that cannot be used (scikit-learn's own checks), or fewer than 4 of them.
        """
        from .api import distill

        given_rows = X
        X, y = validate_data(self, X, y, multi_output=True, y_numeric=True, dtype=np.float64, ensure_min_samples=4)
        y = np.asarray(y, dtype=np.float64)
        self._one_target = y.ndim == 1
        seed = self._seed()
        # A pipeline that picks columns by their names is fitted on the frame that has them.
        self.teacher_ = self._fitted_teacher(given_rows if hasattr(given_rows, "columns") else X, y, seed)
        given = {"recipe": self.recipe, "steps": self.steps, **(self.options or {})}
        self.student_ = distill(
            self.teacher_,
            X,
            y,
            student=self.student,
            validation=self.validation,
            seed=seed,
            **{key: value for key, value in given.items() if value is not None},
        )
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Return the student's answers, [n] for one target, else [n, o]."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        answers = self.student_.predict(X)
        return answers[:, 0] if self._one_target else answers

    def _seed(self) -> int:
        from sklearn.utils import check_random_state

        if isinstance(self.random_state, (int, np.integer)):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31 - 1))

    def _fitted_teacher(self, X: np.ndarray, y: np.ndarray, seed: int) -> Any:
        from .api import load_teacher, train_teacher

        teacher = self.teacher
        if isinstance(teacher, str) and teacher.startswith("mlp:"):
            return train_teacher(X, y, teacher, validation=self.validation, seed=seed)
        if isinstance(teacher, BaseEstimator):
            try:
                check_is_fitted(teacher)
            except NotFittedError:
                teacher = clone(teacher).fit(X, y)
        return load_teacher(teacher)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = False
        return tags
