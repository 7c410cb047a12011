"""Words become numbers: a category of k words becomes k inputs of 0 or 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .reading import Frame
from .typed import named_option

__all__ = ["Category", "expand", "to_codes"]

_MOST = 256  # words of a category: each becomes an input


@dataclass(frozen=True)
class Category:
    """The words of one column, in the order of their codes."""

    name: str
    words: tuple[str, ...]

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs that the words become: ``kind=A``."""
        return [f"{self.name}={word}" for word in self.words]


def to_codes(frame: Frame, name: str, like: Sequence[Category] | None = None) -> Category:
    """Replace the words of a column by their codes 0, 1, ...; blank cells stay not-a-number.

    Raises
    ------
    DataError
        Too many words, or one that the category of the same name in ``like`` does not have.
    """
    cells = [cell.strip() for cell in frame.texts[name]]
    words = tuple(sorted(set(cells) - {""}))
    if len(words) > _MOST:
        raise DataError(
            f"column '{name}' of '{frame.source}' holds {len(words):,} words, expected at most {_MOST} of a category.",
            f"Add: {named_option('drop', [name])}",
        )
    known = next((category for category in like or () if category.name == name), None)
    if known is not None:
        unknown = [word for word in words if word not in known.words]
        if unknown:
            raise DataError(
                f"column '{name}' of '{frame.source}' holds '{unknown[0]}', which the training rows do not have.",
                f"Expected one of: {', '.join(known.words[:20])}.",
            )
        words = known.words
    codes = {word: float(code) for code, word in enumerate(words)}
    frame.values[:, frame.names.index(name)] = [codes.get(cell, np.nan) for cell in cells]
    del frame.odd[name]
    return Category(name, words)


def expand(
    x: np.ndarray,  # [N, d], codes in the columns of the categories
    names: Sequence[str],
    categories: Sequence[Category],
) -> tuple[np.ndarray, list[str], list[tuple[int, ...]]]:
    """Inputs with the words as columns of 0 and 1, their names, and which of them belong together."""
    by_name = {category.name: category for category in categories}
    if not by_name:
        return x, list(names), []
    parts, wide, groups = [], [], []
    for j, name in enumerate(names):
        category = by_name.get(name)
        if category is None:
            parts.append(x[:, j : j + 1])
            wide.append(name)
            continue
        parts.append((x[:, j : j + 1] == np.arange(len(category.words))).astype(np.float64))
        groups.append(tuple(range(len(wide), len(wide) + len(category.words))))
        wide += category.inputs
    return np.ascontiguousarray(np.concatenate(parts, axis=1)), wide, groups
