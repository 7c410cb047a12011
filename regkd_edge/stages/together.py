"""A part of a stage that several processes train: the first one announces it, the others take part."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .. import api
from ..config import RunConfig
from ..run import RunFolder

__all__ = ["Task", "announce", "dismiss", "take_part"]


@dataclass(frozen=True)
class Task:
    """A network of a run: what a process needs to train it with the first one.

    Parameters
    ----------
    folder : str
        The run folder, as an absolute path; every process reads it, the first one writes.
    part : str
        ``teacher``, or a part of the stage ``distill``.
    """

    folder: str
    config: RunConfig
    part: str


def announce(run: RunFolder, config: RunConfig, part: str) -> None:
    """Tell the other processes, if there are any, what is trained next."""
    here = api.processes()
    if here.size > 1:
        here.send(Task(str(Path(run.path).resolve()), config, part))


def dismiss() -> None:
    """Tell the other processes, if there are any, that nothing is left to train: they end, and free their cores."""
    api.processes().dismiss()


def take_part(task: Task) -> None:
    """Train with the first process; the result is left to it.

    Raises
    ------
    RunFolderError
        The folder cannot be read here.
    """
    from . import distill, teacher

    run = RunFolder.open(task.folder)
    if task.part == "teacher":
        teacher.train(run, task.config)
    else:
        distill.train_part(run, task.config, task.part)
