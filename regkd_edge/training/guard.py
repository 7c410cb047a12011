"""Whether a teacher is worth following: its error on held-out rows against the mean and against a linear model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..data import Dataset, Split
from ..data.stored import held_out_limit, is_stored
from ..errors import ModelError
from ..io.words import counted
from ..models import Teacher

__all__ = ["TargetCheck", "TeacherCheck", "better_than_its_teacher", "check_against_rows"]

_FEWEST = 8  # held-out rows that say anything
_SAID = 4  # targets in a line
_RIDGE = 1e-3  # of the standardised inputs


@dataclass(frozen=True)
class TargetCheck:
    """Figures of one target on held-out rows.

    Attributes
    ----------
    r2, linear_r2 : float
        Of the teacher, and of a linear model fitted to the training rows.
    worse_than_mean, worse_than_linear : bool
        By more than two standard errors of the difference.
    """

    name: str
    r2: float
    linear_r2: float
    worse_than_mean: bool
    worse_than_linear: bool


@dataclass(frozen=True)
class TeacherCheck:
    """A teacher on held-out rows, target by target: an error in one is not made up for by another."""

    rows: int
    targets: tuple[TargetCheck, ...]

    @property
    def problem(self) -> str | None:
        """What is wrong with the teacher, or None."""
        alone = len(self.targets) == 1
        # One of several targets may be noise, which no teacher predicts: there, chance does not count.
        bad = [t for t in self.targets if (t.r2 < 0 if alone else t.worse_than_mean)]
        if bad:
            figures = ", ".join((f"'{t.name}' " if not alone else "") + f"R2 {t.r2:.3g}" for t in bad)
            mean = f"the mean of the target{'s' * alone}"
            return f"answers worse than {mean} does ({figures} on {self.rows} validation rows)"
        bad = [t for t in self.targets if t.worse_than_linear]
        if bad:
            figures = ", ".join(
                (f"'{t.name}' " if not alone else "") + f"R2 {t.r2:.3g} against {t.linear_r2:.3g}" for t in bad
            )
            return f"is worse than a linear model ({figures} on {self.rows} validation rows)"
        return None

    def require(self, source: str) -> None:
        """Refuse a teacher that is not worth following; :class:`ModelError` says why and how to go on."""
        if self.problem is not None:
            raise ModelError(
                f"the teacher ({source}) {self.problem}: a student that follows it learns its errors.",
                "Train it longer, check its units (--units) and the columns, or go on with --accept-teacher.",
            )


def check_against_rows(dataset: Dataset, teacher: Teacher, rows: Split | None = None) -> TeacherCheck | None:
    """Judge a teacher on the validation rows; None where they are too few to tell.

    Parameters
    ----------
    rows : Split, optional
        The rows that may be looked at; by default those of the data set.
    """
    rows = rows or dataset.split
    if len(rows.validation) < _FEWEST:
        return None
    train = rows.train
    if is_stored(dataset.x):
        train = train[:: -(-len(train) // held_out_limit(dataset.d))]
    (x, y), (xv, yv) = ((dataset.x[i], dataset.y[i]) for i in (train, rows.validation))
    answers = teacher.predict(xv) if dataset.answers is None else dataset.answers[rows.validation]
    scale = np.where(y.std(0) > 0, y.std(0), 1.0)
    errors, linear, mean = (((a - yv) / scale) ** 2 for a in (answers, _linear(x, y, xv), yv.mean(0)))
    r2 = lambda e, k: float(1.0 - e[:, k].mean() / max(mean[:, k].mean(), 1e-12))
    checks = [
        TargetCheck(
            name,
            r2(errors, k),
            r2(linear, k),
            _larger(errors[:, k], mean[:, k]),
            _larger(errors[:, k], linear[:, k]),
        )
        for k, name in enumerate(dataset.table.target_names)
    ]
    return TeacherCheck(len(yv), tuple(checks))


def better_than_its_teacher(
    student: np.ndarray,  # [n, o] answers to held-out rows
    teacher: np.ndarray,
    y: np.ndarray,
    names: Sequence[str],
    *,
    labels: bool = False,
) -> str | None:
    """Return a note where a student is nearer to the labels of held-out rows than its teacher, else None.

    Its figures are the RMSE of each such target in its unit.

    Parameters
    ----------
    labels : bool
        Whether the student learnt from labels beside its teacher or in its place.
    """
    if len(y) < _FEWEST:
        return None
    ours, theirs = ((a - y) ** 2 for a in (student, teacher))
    nearer = [k for k in range(y.shape[1]) if _larger(theirs[:, k], ours[:, k])]
    if not nearer:
        return None
    figures = ", ".join(
        (f"'{names[k]}' " if y.shape[1] > 1 else "")
        + f"RMSE {ours[:, k].mean() ** 0.5:.4g} against {theirs[:, k].mean() ** 0.5:.4g}"
        for k in nearer[:_SAID]
    )
    figures += f", {counted(len(nearer) - _SAID, 'more target')}" if len(nearer) > _SAID else ""
    why = "a smaller network follows less of the noise that its teacher learnt"
    if labels:
        why = "it learns from the labels, where its teacher is not as near to them"
    return (
        f"the student is nearer to the labels of {len(y)} validation rows than its teacher ({figures}): {why}; "
        "a better teacher may give a better student still"
    )


def _larger(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether errors a [n] are larger than b [n] in the mean, by more than two standard errors."""
    gap = a - b
    return bool(gap.mean() > 2.0 * gap.std() / np.sqrt(len(gap)))


def _linear(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The answers of a ridge regression on standardised inputs."""
    mean, sd = x.mean(0), np.where(x.std(0) > 0, x.std(0), 1.0)
    z, zv = (x - mean) / sd, (at - mean) / sd
    if len(z) < z.shape[1]:  # the same answers from a matrix [n, n]: an image has more numbers than there are rows
        gram = z @ z.T + _RIDGE * len(z) * np.eye(len(z))
        return y.mean(0) + zv @ (z.T @ np.linalg.solve(gram, y - y.mean(0)))
    gram = z.T @ z + _RIDGE * len(z) * np.eye(z.shape[1])
    return y.mean(0) + zv @ np.linalg.solve(gram, z.T @ (y - y.mean(0)))
