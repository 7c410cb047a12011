"""On which rows candidates are judged: the validation rows, or every row once where these are few."""

from __future__ import annotations

import numpy as np

from ..setting import Setting

__all__ = ["ENOUGH", "folds_of"]

ENOUGH = 300  # validation rows that tell candidates apart by themselves
_FOLDS = 3
_POINTS = 2_048  # around the rows: enough for the few thousand steps of a race


def folds_of(setting: Setting, count: int = _FOLDS) -> list[Setting]:
    """Return the settings to train candidates in, each with rows of its own to be judged on.

    With few validation rows the training and validation rows are parted into ``count``; each part is held out once, so
    every row that the student may see judges once. Copies of the same inputs are in one part, as they are on one side
    of the split: a student that has seen a label would know that of its copies.
    """
    train, held = setting.rows.train, setting.rows.validation
    if len(held) >= ENOUGH or len(train) + len(held) < 2 * _FOLDS:
        return [setting.with_points(_POINTS)]
    every = np.concatenate([train, held])
    parts = _parts(setting.dataset.x[every], count, setting.seed)
    order = np.concatenate(parts)
    return [setting.with_rows(every[np.setdiff1d(order, part)], every[np.sort(part)], _POINTS) for part in parts]


def _parts(x: np.ndarray, count: int, seed: int) -> list[np.ndarray]:  # [n, d] -> numbers of rows, by part
    """Part rows at random into about equal parts, copies together."""
    rng = np.random.default_rng([seed, 5])
    _, inverse, copies = np.unique(x, axis=0, return_inverse=True, return_counts=True)
    if len(copies) == len(x) or len(copies) < count:  # none, or too few kinds of rows to part
        return np.array_split(rng.permutation(len(x)), count)
    part, sizes = np.empty(len(copies), int), [0] * count
    for kind in rng.permutation(len(copies)):
        part[kind] = sizes.index(min(sizes))
        sizes[part[kind]] += int(copies[kind])
    return [np.flatnonzero(part[inverse.reshape(-1)] == i) for i in range(count)]
