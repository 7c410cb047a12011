"""Kinds of input columns (continuous, whole, binary, categorical or constant) and their observed values.

Synthetic points (from samplers, perturbation, ascent, calibration) must keep codes, counts and categories valid:
:meth:`Columns.restrict` moves them to points that can occur.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from ..errors import DataError
from .seen import Seen
from .stored import StoredRows, is_stored, moments_of

__all__ = ["Columns", "Kind"]

#: constant: one value. binary: two values. whole: whole numbers. categorical: codes without an order.
Kind = Literal["continuous", "whole", "binary", "categorical", "constant"]

_REPEATS = 4  # minimum rows per distinct value for a set of values to count as complete
_EXACT = 2.0**53  # beyond, every float64 is whole, so wholeness carries no information


@dataclass(frozen=True, eq=False)
class Columns:
    """Kinds and observed values of d input columns, raw units.

    Parameters
    ----------
    names : tuple of str, length d
    kinds : tuple of Kind, length d
    low, high : float64 arrays [d]
        Smallest and largest observed value.
    values : tuple of (tuple of float, or None), length d
        The observed values in increasing order where they are few: always for constant, binary and categorical
        columns, for others when at most 64 values repeat (a continuous column of few levels is one such). None: any
        value from ``low`` to ``high`` may occur, whole ones only in a whole column.
    groups : tuple of tuples of int
        Columns that are the one-hot encoding of one category: exactly one of them is 1 in every row.
    """

    names: tuple[str, ...]
    kinds: tuple[Kind, ...]
    low: np.ndarray  # [d]
    high: np.ndarray  # [d]
    values: tuple[tuple[float, ...] | None, ...]
    groups: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def detect(
        cls,
        x: np.ndarray | StoredRows,  # [N, d] raw units
        names: Sequence[str],
        whole: Sequence[str] = (),
        categorical: Sequence[str] = (),
        groups: Sequence[Sequence[int]] = (),
    ) -> Columns:
        """Infer the kinds from the rows; ``whole`` and ``categorical`` name columns whose kind is declared.

        Raises
        ------
        DataError
            No rows, an unknown name, a name declared twice, or a value that is not whole in a column declared whole.
        """
        x = x if is_stored(x) else np.asarray(x, dtype=np.float64)
        if x.ndim != 2 or len(x) == 0 or x.shape[1] != len(names):
            raise DataError(f"column kinds need rows [N, {len(names)}] with N of at least 1, got {x.shape}.")
        _check_declared(names, whole, categorical)
        seen = Seen.of(x, listed=[j for j, name in enumerate(names) if name in categorical])
        kinds, values = [], []
        for j, name in enumerate(names):
            kind, listed = _kind(name, seen, j, name in whole, name in categorical)
            kinds.append(kind)
            values.append(listed)
        return cls(
            tuple(names),
            tuple(kinds),
            seen.low,
            seen.high,
            tuple(values),
            tuple(tuple(int(j) for j in g) for g in groups),
        )

    @classmethod
    def of_tensors(
        cls,
        x: np.ndarray,  # [N, d] raw units
        names: Sequence[str],
    ) -> Columns:
        """Kinds of the numbers of images and signals: whole where every number of every row is whole (counts of a
        converter, pixels), else continuous. No value is listed: what one pixel showed says little about it.
        """
        if x.ndim != 2 or len(x) == 0 or x.shape[1] != len(names):
            raise DataError(f"column kinds need rows [N, {len(names)}] with N of at least 1, got {x.shape}.")
        found = moments_of(x)
        low, high = found.low, found.high
        whole = found.whole and max(abs(low.min()), abs(high.max())) < _EXACT
        kind: Kind = "whole" if whole else "continuous"
        return cls(tuple(names), (kind,) * len(names), low, high, (None,) * len(names))

    def __len__(self) -> int:
        return len(self.names)

    def tied(
        self,
        channel: np.ndarray,  # [d] whole numbers
    ) -> Columns:
        """Return the same with one range per channel, over all its columns; listed values are dropped."""
        low, high = self.low.copy(), self.high.copy()
        for c in np.unique(channel):
            low[channel == c], high[channel == c] = self.low[channel == c].min(), self.high[channel == c].max()
        kinds = tuple("continuous" if kind == "constant" else kind for kind in self.kinds)
        if any(kind in ("binary", "categorical") for kind in kinds) or self.groups:
            return Columns(self.names, self.kinds, low, high, self.values, self.groups)
        if all(kind == "whole" for kind, before in zip(kinds, self.kinds) if before != "constant"):
            kinds = tuple("whole" if "whole" in kinds else kind for kind in kinds)
        return Columns(self.names, kinds, low, high, (None,) * len(self))

    def observed(
        self,
        x: np.ndarray | StoredRows,  # [n, d] raw units
    ) -> Columns:
        """Return the same kinds with the ranges and values of other rows, such as the training rows alone."""
        x = x if is_stored(x) else np.asarray(x, dtype=np.float64)
        every = [j for j, values in enumerate(self.values) if values is not None]
        seen = Seen.of(x, listed=every, asked=every)
        values = tuple(None if found is None else tuple(found.tolist()) for found in seen.values)
        return Columns(self.names, self.kinds, seen.low, seen.high, values, self.groups)

    @property
    def discrete(self) -> np.ndarray:  # bool [d]
        """Columns that are not continuous: a point between two of their values cannot occur."""
        return np.array([kind != "continuous" for kind in self.kinds], dtype=bool)

    def restrict(
        self,
        x: np.ndarray,  # [n, d] raw units
    ) -> np.ndarray:  # [n, d] float64
        """Return the nearest points that can occur; continuous columns are unchanged.

        Columns with listed values take the nearest one, whole columns without a list the nearest whole number
        within the range. Of a one-hot group, the column with the largest value becomes 1 and the others 0.
        """
        x = np.array(x, dtype=np.float64)
        grouped = {j for group in self.groups for j in group}
        free = [j for j, kind in enumerate(self.kinds) if kind != "continuous" and j not in grouped]
        whole = [j for j in free if self.values[j] is None]
        if whole:
            x[:, whole] = np.clip(np.rint(x[:, whole]), self.low[whole], self.high[whole])
        for j in free:
            if self.values[j] is not None:
                x[:, j] = _nearest(np.array(self.values[j]), x[:, j])
        for group in self.groups:
            index = list(group)
            chosen = np.argmax(x[:, index], axis=1)
            x[:, index] = np.arange(len(index)) == chosen[:, None]
        return x

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dict; float64 survives the round trip through JSON exactly."""
        return {
            "names": list(self.names),
            "kinds": list(self.kinds),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "values": [None if v is None else list(v) for v in self.values],
            "groups": [list(group) for group in self.groups],
        }

    @classmethod
    def from_dict(cls, stored: Any) -> Columns:
        """Build from the result of :meth:`to_dict`; anything else is a :class:`DataError`."""
        try:
            names, kinds = [str(n) for n in stored["names"]], [str(k) for k in stored["kinds"]]
            low, high = (np.array(stored[key], dtype=np.float64) for key in ("low", "high"))
            values = [None if v is None else tuple(float(one) for one in v) for v in stored["values"]]
            groups = [tuple(int(j) for j in group) for group in stored.get("groups", [])]
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise DataError(f"stored column kinds are malformed ({type(error).__name__}: {error}).") from None
        d = len(names)
        whole = len(kinds) == len(values) == d and low.shape == high.shape == (d,)
        if not whole or not set(kinds) <= set(get_args(Kind)):
            raise DataError(f"stored column kinds are malformed: expected {d} of each kind, range and list of values.")
        finite = np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()
        listed = all(v is None or (len(v) > 0 and np.isfinite(v).all() and list(v) == sorted(v)) for v in values)
        if not (finite and listed and all(group and all(0 <= j < d for j in group) for group in groups)):
            raise DataError("stored column kinds are malformed: a range, a list of values or a group is impossible.")
        return cls(tuple(names), tuple(kinds), low, high, tuple(values), tuple(groups))


def _check_declared(names: Sequence[str], whole: Sequence[str], categorical: Sequence[str]) -> None:
    for flag, declared in (("--whole", whole), ("--categorical", categorical)):
        for name in declared:
            if name not in names:
                raise DataError(
                    f"{flag} names '{name}', which is not an input.", f"The inputs are: {', '.join(names)}."
                )
    both = sorted(set(whole) & set(categorical))
    if both:
        raise DataError(f"'{both[0]}' is declared whole and categorical.", "Declare it once.")


def _kind(name: str, seen: Seen, j: int, whole: bool, categorical: bool) -> tuple[Kind, tuple[float, ...] | None]:
    low, high, found = seen.low[j], seen.high[j], seen.values[j]
    if low == high:
        return "constant", (float(low),)
    is_whole = bool(max(abs(low), abs(high)) < _EXACT and seen.whole[j])
    if whole and not is_whole:
        odd = high if seen.whole[j] else seen.odd[j]
        raise DataError(
            f"input '{name}' is declared whole but holds {odd:g}.", "Remove it from --whole, or correct that value."
        )
    listed = None if found is None else tuple(found.tolist())
    if categorical:
        return "categorical", listed
    if listed is not None and len(listed) == 2 and (is_whole or seen.count >= 2 * _REPEATS):
        return "binary", listed
    repeated = listed is not None and seen.count >= _REPEATS * len(listed)
    return "whole" if is_whole else "continuous", listed if repeated else None


def _nearest(values: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Return the element of sorted ``values`` nearest to each entry; the smaller one of a tie."""
    above = np.clip(np.searchsorted(values, column), 1, max(len(values) - 1, 1))
    upper = values[np.minimum(above, len(values) - 1)]
    lower = values[above - 1]
    return np.where(column - lower <= upper - column, lower, upper)
