"""The level of a unit: what all rows of a machine or a patient share beside what their inputs say.

Neighbours betray a unit where few columns separate it from the others. A network that is given its number learns its
level all the same, as a mean of the unit's other rows does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

__all__ = ["errors_of_levels"]

_COLUMNS, _ROWS_EACH = 40, 20  # columns that explain the target: at most, and rows for each


def errors_of_levels(
    z: np.ndarray,  # [n, d] standardised, without the column that names the unit
    number: np.ndarray,  # [n] the value of that column
    units: np.ndarray,  # [n] int64
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Return ``errors(y [n, o], folds [n]) -> [n, o]``: the squared error of each row, predicted from other folds.

    The prediction is a parabola in every column and in the number of the unit, which may be a count of something, and
    the mean of what is left in the unit's rows, as far as there are any.
    """
    u = (number - number.mean()) / (number.std() or 1.0)

    def errors(y: np.ndarray, folds: np.ndarray) -> np.ndarray:
        found = np.empty_like(y)
        for k, column in enumerate(y.T):
            alike = np.abs((column - column.mean()) @ z)
            best = z[:, np.argsort(-alike, kind="stable")[: min(_COLUMNS, len(z) // _ROWS_EACH)]]
            features = np.column_stack([np.ones(len(z)), best, best**2, u, u**2])
            for fold in np.unique(folds):
                seen, held = folds != fold, folds == fold
                solved, *_ = np.linalg.lstsq(features[seen], column[seen], rcond=1e-8)
                left = column[seen] - features[seen] @ solved
                count = np.bincount(units[seen], minlength=units.max() + 1)
                level = np.bincount(units[seen], left, minlength=units.max() + 1) / (count + 1)
                found[held, k] = (column[held] - features[held] @ solved - level[units[held]]) ** 2
        return found

    return errors
