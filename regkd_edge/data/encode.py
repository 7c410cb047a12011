"""Words become numbers: a category of k words becomes k inputs of 0 or 1."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from .reading import Frame
from .typed import named_option

__all__ = ["Category", "expand", "to_codes", "with_codes"]

_MOST = 256  # words of a category: each becomes an input


@dataclass(frozen=True)
class Category:
    """The words of one column, in the order of their codes."""

    name: str
    words: tuple[str, ...]

    @classmethod
    def of(cls, source: str, name: str, cells: Iterable[str]) -> Category:
        """The words in the cells of a column of ``source``, in their order; :class:`DataError` for too many."""
        words = tuple(sorted({cell.strip() for cell in cells} - {""}))
        if len(words) > _MOST:
            raise DataError(
                f"column '{name}' of '{source}' holds {len(words):,} words, expected at most {_MOST} of a category.",
                f"Add: {named_option('drop', [name])}",
            )
        return cls(name, words)

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs that the words become: ``kind=A``."""
        return [f"{self.name}={word}" for word in self.words]

    def codes(self, cells: Sequence[str]) -> list[float]:
        """The code of each cell, not-a-number for a blank one."""
        codes = {word: float(code) for code, word in enumerate(self.words)}
        return [codes.get(cell.strip(), np.nan) for cell in cells]


def to_codes(frame: Frame, name: str, like: Sequence[Category] | None = None) -> Category:
    """Replace the words of a column by their codes 0, 1, ...; blank cells stay not-a-number.

    Raises
    ------
    DataError
        Too many words, or one that the category of the same name in ``like`` does not have.
    """
    category = Category.of(frame.source, name, frame.texts[name])
    known = next((other for other in like or () if other.name == name), None)
    if known is not None:
        unknown = [word for word in category.words if word not in known.words]
        if unknown:
            raise DataError(
                f"column '{name}' of '{frame.source}' holds '{unknown[0]}', which the training rows do not have.",
                f"Expected one of: {', '.join(known.words[:20])}.",
            )
        category = known
    frame.values[:, frame.names.index(name)] = category.codes(frame.texts[name])
    del frame.odd[name]
    return category


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


def with_codes(
    names: Sequence[str], categories: Sequence[Category]
) -> tuple[list[str], Callable[[np.ndarray], np.ndarray]]:
    """Undo :func:`expand`: names before it, and a function that gives the columns [n, d] of its columns [n, k]."""
    words = {category.inputs[0]: category for category in categories}
    before: list[str] = []
    parts: list[slice] = []
    j = 0
    while j < len(names):
        category = words.get(names[j])
        before.append(category.name if category else names[j])
        parts.append(slice(j, j + (len(category.words) if category else 1)))
        j = parts[-1].stop

    def undone(x: np.ndarray) -> np.ndarray:
        whole = [x[:, p] if n == names[p.start] else x[:, p].argmax(axis=1)[:, None] for n, p in zip(before, parts)]
        return np.concatenate(whole, axis=1)

    return before, undone if words else lambda x: x
