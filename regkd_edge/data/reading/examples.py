"""What every reader of examples with a shape gives: arrays, windows of signals, images."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ...errors import DataError
from .frame import Frame

__all__ = ["Cut", "Examples", "element_names"]


@dataclass(frozen=True, eq=False)
class Cut:
    """Where windows come from.

    Parameters
    ----------
    recording : int64 array [N]
        Number of the recording of each window.
    start : int64 array [N]
        Its first sample.
    length : int
        Samples of a window.
    names : list of str, length R
        Of the recordings.
    samples : int64 array [R]
        How long they are.
    """

    recording: np.ndarray
    start: np.ndarray
    length: int
    names: list[str]
    samples: np.ndarray

    def take(self, rows: np.ndarray) -> Cut:
        """Those of some windows."""
        return replace(self, recording=self.recording[rows], start=self.start[rows])

    def joined(self, other: Cut) -> Cut:
        """These windows and those of other recordings."""
        return Cut(
            np.concatenate([self.recording, other.recording + len(self.names)]),
            np.concatenate([self.start, other.start]),
            self.length,
            [*self.names, *other.names],
            np.concatenate([self.samples, other.samples]),
        )


@dataclass(eq=False)
class Examples:
    """Examples of one shape, and the columns that stand beside them.

    Parameters
    ----------
    source : str
    x : array [N, *shape]
        Real numbers of any type; perhaps mapped into memory.
    beside : Frame
        N rows: targets, units and parts of the split.
    notes : list of str
        How they were read, and what is noteworthy about them.
    cut : Cut, optional
        Where they are windows.
    names : list of str, optional
        Of the files they come from.
    """

    source: str
    x: np.ndarray
    beside: Frame
    notes: list[str] = field(default_factory=list)
    cut: Cut | None = None
    names: list[str] | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example."""
        return tuple(int(n) for n in self.x.shape[1:])

    def take(self, rows: np.ndarray) -> None:
        """Keep some of them; :class:`DataError` if none is left."""
        if not len(rows):
            raise DataError(f"no example of '{self.source}' is left.", "Fill in the cells that are blank.")
        if len(rows) == len(self):
            return
        self.x = self.x[rows]
        self.beside.without_rows(~np.isin(np.arange(len(self.beside.values)), rows))
        self.cut = None if self.cut is None else self.cut.take(rows)
        self.names = None if self.names is None else [self.names[i] for i in rows]


def element_names(shape: tuple[int, ...]) -> list[str]:
    """Names of the elements of one example, in C order: ``x0.2.5`` for [0, 2, 5]."""
    return ["x" + ".".join(map(str, place)) for place in np.ndindex(shape)]
