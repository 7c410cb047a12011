"""Random splits into training, validation and test rows, and fractions of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import DataError

__all__ = ["Split", "split", "subset"]

_MINIMUM = {"training": 2, "validation": 1, "test": 1}


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of the three parts; they share no row."""

    train: np.ndarray  # [n_train] int64
    validation: np.ndarray  # [n_validation] int64
    test: np.ndarray  # [n_test] int64

    def counts(self) -> dict[str, int]:
        return {"train": len(self.train), "validation": len(self.validation), "test": len(self.test)}


def split(n: int, validation: float, test: float, seed: int) -> Split:
    """Split n rows at random (NumPy's PCG64 by ``seed``).

    Parameters
    ----------
    n : int
        Number of rows.
    validation, test : float
        Shares of the rows, rounded to whole rows, at least one each; the rest is for training.

    Raises
    ------
    DataError
        Fewer than 2 training rows, 1 validation row or 1 test row would be left; the message has the numbers.
    """
    n_validation, n_test = max(1, round(n * validation)), max(1, round(n * test))
    n_train = n - n_validation - n_test
    if n_train < _MINIMUM["training"]:
        raise DataError(
            f"{n} rows are too few: a split with validation {validation:g} and test {test:g} takes {n_validation} + {n_test} rows"
            f" and leaves {max(n_train, 0)} for training, expected at least {_MINIMUM['training']}.",
            "Give more rows, or smaller shares for validation and test.",
        )
    order = np.random.Generator(np.random.PCG64(seed)).permutation(n).astype(np.int64)
    return Split(order[n_test + n_validation :], order[n_test : n_test + n_validation], order[:n_test])


def subset(whole: Split, fraction: float, seed: int) -> Split:
    """Keep a share of the training and of the validation rows; the test rows stay.

    Smaller shares are contained in larger ones (10 % inside 25 %), so a series over fractions is comparable.

    Raises
    ------
    DataError
        The share is outside (0, 1], or leaves fewer than 2 training rows or 1 validation row.
    """
    if not 0 < fraction <= 1:
        raise DataError(f"fraction {fraction:g} is outside (0, 1].", "Give the share of the rows to keep, such as 0.1.")
    parts = {"training": whole.train, "validation": whole.validation}
    kept = {}
    for stream, (name, rows) in enumerate(parts.items()):
        count = round(fraction * len(rows))
        if count < _MINIMUM[name]:
            raise DataError(
                f"fraction {fraction:g} of {len(rows)} {name} rows leaves {count}, expected at least {_MINIMUM[name]}.",
                "Give a larger fraction or more rows.",
            )
        order = np.random.Generator(np.random.PCG64([seed, stream])).permutation(len(rows))
        kept[name] = rows[
            np.sort(order[:count])
        ]  # the prefix of one order is nested; sorted, the share 1 is the split itself
    return Split(kept["training"], kept["validation"], whole.test)
