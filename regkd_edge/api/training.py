"""Teachers and students: loaded, trained, distilled."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import DistillConfig, TeacherConfig
from ..config.contradictions.loaded import require_labels
from ..config.problems import whole_or
from ..data import Dataset, as_rows, dataset_of
from ..data.arrays import require_room, require_shape, shape_of
from ..errors import DataError, TeacherWarning
from .noticed import warn_of

if TYPE_CHECKING:
    from ..data import Table
    from ..models import Student, Teacher
    from ..training.guard import TeacherCheck
    from ..training.loop import Progress

__all__ = ["described_rows", "distill", "judge_teacher", "load_teacher", "train_teacher"]


def load_teacher(source: Any, **options: Any) -> Teacher:
    """Return a teacher from a torch module, a regressor, a callable, a run folder, a file or a factory.

    Parameters
    ----------
    source : Teacher, nn.Module, regressor, callable, str or path
        A function takes float64 arrays [n, d] in raw units and returns [n, o] or [n].
    options
        Those of :func:`regkd_edge.models.teachers.load_teacher`: ``weights``, ``units``, ``scalers``, ``output``,
        ``trust``, ``feature_names``, ``target_names``.

    Raises
    ------
    ModelError
        A source that cannot be a teacher, or a module in training mode whose layers behave differently there.
    RunFolderError
        A folder that is not a run, or has no teacher.
    """
    from ..models import load_teacher as load

    return load(source, **options)


def train_teacher(
    x: Any,  # [n, d]
    y: Any = None,  # [n, o] or [n]
    teacher: str = "mlp:256,256:relu",
    *,
    validation: float | tuple[Any, Any] = 0.15,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
    input_shape: Sequence[int] | None = None,
    config: TeacherConfig | None = None,
    **options: Any,
) -> Teacher:
    """Train a network on labels and return it as a teacher.

    Parameters
    ----------
    x, y : array-like, torch tensor or data frame, [n, d] and [n, o] or [n]
        Rows and labels in raw units, images and signals as [n, *shape]; or x alone as a
        :class:`~regkd_edge.data.Dataset`.
    teacher : str
        Spec of the network, ``mlp:WIDTHS:ACTIVATION`` or another of :mod:`regkd_edge.models.families`.
    validation : float or (x, y)
        Share of the rows that selects the best epoch and stops the training, or rows of their own.
    seed : int
        Of the split, the initial weights and the order of the rows.
    progress : callable, optional
        ``progress(step, total, losses, validation)``: the mean losses since the last call, and ``target_rmse``, the
        RMSE of each target in its unit on the validation rows, with ``validation_rmse``, pooled over them.
    checkpoint : path, optional
        A folder for the resumable state: after an interruption the same call continues with the same bits.
    input_shape : sequence of int, optional
        Shape of a row that is an image or a signal, where x is [n, d].
    config : TeacherConfig, optional
        All options at once; else ``options`` are its fields (``epochs``, ``batch``, ``lr``, ``patience``, ...).

    Returns
    -------
    Teacher
        Its ``trained`` has the curves of the losses and whatever else a run folder keeps.

    Raises
    ------
    DataError
        Rows that cannot be used.
    UserError
        An unknown or contradictory option, or a training that diverged.
    """
    from ..training import train_teacher as train

    config = whole_or(config, TeacherConfig, {"teacher": teacher}, options)
    data = _labelled(x, y, validation, seed, input_shape)
    trained = train(data, config, seed, progress=progress, checkpoint=checkpoint)
    return trained.as_teacher(f"trained here, {config.teacher}", data)


def distill(
    teacher: Any,
    x: Any = None,  # [n, d]
    y: Any = None,  # [n, o] or [n]
    *,
    student: str = "mlp:32,32:relu",
    validation: float | tuple[Any, Any] = 0.15,
    seed: int = 0,
    progress: Progress | None = None,
    checkpoint: str | Path | None = None,
    input_shape: Sequence[int] | None = None,
    base_alone: bool = False,
    config: DistillConfig | None = None,
    **options: Any,
) -> Student:
    """Distil a teacher into a small student and return it.

    Parameters
    ----------
    teacher : Teacher, or whatever :func:`load_teacher` takes
    x : array-like, torch tensor or data frame, [n, d], optional
        Rows in raw units, few of them if need be, images and signals as [n, *shape]; or a
        :class:`~regkd_edge.data.Dataset`. Without rows give ``describe=`` or ``like=``: the student then learns on
        synthetic inputs that the teacher answers.
    y : [n, o] or [n], optional
        Labels. Without them the student follows the teacher alone.
    student : str
        Spec of the network, ``mlp:WIDTHS:ACTIVATION``, ``conv2d:8x3,16d3/2,flat,32:relu``, ``gru:32``; the forms are
        those of :mod:`regkd_edge.models.families`.
    validation : float or (x, y)
        Share of the rows that selects the best state, or rows of their own.
    seed : int
        Of the split, the initial weights and the noise.
    progress, checkpoint, input_shape
        As in :func:`train_teacher`.
    base_alone : bool
        Train the same student by its base alone, for comparison: same rows, initial weights, steps and selection; no
        terms, and no synthetic points beside rows.
    config : DistillConfig, optional
        All options at once; else ``options`` are its fields (``recipe``, ``terms``, ``steps``, ``w_gm``, ...).

    Warns
    -----
    TeacherWarning
        The teacher is worse than the mean of the targets, or than a linear model, on the validation rows; or these are
        too few to tell. It is the first of the student's notes too.

    Raises
    ------
    DataError
        Rows that cannot be used.
    ModelError
        A teacher that does not fit the rows.
    RecipeError
        An objective that this teacher or these rows do not allow.
    UserError
        An unknown or contradictory option, or a training that diverged.
    """
    from ..training import baseline
    from ..training import distill as train

    teacher = load_teacher(teacher)
    config = whole_or(config, DistillConfig, {"student": student, **({"no_data": True} if x is None else {})}, options)
    if x is None and not config.no_data:
        raise DataError("distill was given no rows.", "Give x, or no_data=True with describe= or like=.")
    if x is None:
        data = _described(teacher, config, seed, input_shape)
    else:
        data = _dataset_of(teacher, config, x, y, validation, seed, input_shape)
    warning = None if base_alone or config.no_data else _about_teacher(teacher, data)
    if warning is not None and not isinstance(x, Dataset):
        warnings.warn(warning, TeacherWarning, stacklevel=2)
    done = (baseline if base_alone else train)(data, teacher, config, seed, progress=progress, checkpoint=checkpoint)
    done.notes = done.notes if warning is None else [f"WARNING: {warning}", *done.notes]
    return done.as_student(data)


def judge_teacher(teacher: Teacher, data: Dataset) -> TeacherCheck | None:
    """Judge a teacher on the validation rows of a data set, against their mean and against a linear model.

    Returns
    -------
    TeacherCheck or None
        ``problem`` says what is wrong with it, or is None; ``require()`` refuses such a teacher. None where the rows
        are too few to tell.
    """
    from ..training.guard import check_against_rows

    return check_against_rows(data, teacher)


def _about_teacher(teacher: Teacher, data: Dataset) -> str | None:
    """What is wrong with a teacher that a student is about to follow, or that nothing can tell; None: it is good."""
    if not data.table.labelled:
        return None
    check = judge_teacher(teacher, data)
    if check is None:
        return f"{len(data.split.validation)} validation rows are too few to tell whether the teacher is any good"
    return (
        None if check.problem is None else f"the teacher {check.problem}: a student that follows it learns its errors"
    )


def described_rows(
    teacher: Teacher, config: DistillConfig, seed: int, input_shape: Sequence[int] | None = None
) -> Table:
    """Return a table for a student that has none (``no_data``): inputs as described, the teacher's answers as targets.

    It serves the reports: every RMSE on it is a distance from the teacher. The student sees none of its rows.
    ``input_shape``: that of a row that is an image or a signal.
    """
    from ..training import described_rows as described

    return described(teacher, config, seed, None if input_shape is None else tuple(input_shape))


def _labelled(x: Any, y: Any, validation: Any, seed: int, shape: Sequence[int] | None) -> Dataset:
    if isinstance(x, Dataset):
        return x
    if y is None:
        raise DataError("y is missing: a network is trained on labels.", "Give y [n, o] or [n].")
    require_room(x)
    data = dataset_of(x, y, validation=validation, seed=seed, input_shape=shape)
    warn_of(data)
    return data


def _dataset_of(
    teacher: Teacher,
    config: DistillConfig,
    x: Any,
    y: Any,
    validation: Any,
    seed: int,
    shape: Sequence[int] | None,
) -> Dataset:
    """The rows of a student, with the teacher's answers in place of labels where there are none."""
    from ..models import check_teacher
    from ..models.teachers.checks import require_finite

    if isinstance(x, Dataset):
        check_teacher(teacher, x)
        return x
    labelled = y is not None
    if not labelled:
        require_labels(config.base)
    require_room(x)
    frame = hasattr(x, "columns")
    if shape is not None and not frame and len(shape_of(x)) == 2:
        rows, _ = as_rows(x)
        require_shape(shape, rows.shape[1], "x")
        x = rows.reshape(len(rows), *shape)
    data = dataset_of(
        x,
        y if labelled else require_finite(teacher, teacher.predict(x)),
        labelled=labelled,
        validation=validation,
        seed=seed,
        feature_names=teacher.feature_names if frame else None,
        target_names=None
        if labelled and (hasattr(y, "columns") or getattr(y, "name", None) is not None)
        else teacher.target_names,
        input_shape=shape,
    )
    warn_of(data)
    check_teacher(teacher, data)
    return data


def _described(teacher: Teacher, config: DistillConfig, seed: int, shape: Sequence[int] | None) -> Dataset:
    """A table of inputs as described with the teacher's answers: what reports on a student without data stand on."""
    from ..data import split

    table = described_rows(teacher, config, seed, shape)
    return Dataset(table, split(len(table), 0.15, 0.15, seed))
