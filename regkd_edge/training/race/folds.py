"""On which rows candidates are judged: the validation rows, or every row once where these are few."""

from __future__ import annotations

import numpy as np

from ..setting import Setting

__all__ = ["ENOUGH", "folds_of"]

ENOUGH = 300  # validation rows that tell candidates apart by themselves
_FOLDS = 3
_POINTS = 4_096  # around the rows: enough for the few thousand steps of a race


def folds_of(setting: Setting, count: int = _FOLDS) -> list[Setting]:
    """Return the settings to train candidates in, each with rows of its own to be judged on.

    With few validation rows the training and validation rows are parted into ``count``; each part is held out once, so
    every row that the student may see judges once.
    """
    train, held = setting.rows.train, setting.rows.validation
    if len(held) >= ENOUGH or len(train) + len(held) < 2 * _FOLDS:
        return [setting.with_points(_POINTS)]
    every = np.concatenate([train, held])
    order = np.random.default_rng([setting.seed, 5]).permutation(len(every))
    parts = np.array_split(order, count)
    return [setting.with_rows(every[np.setdiff1d(order, part)], every[np.sort(part)], _POINTS) for part in parts]
