"""What a stage of a run is: what it needs, what decides its result, and the work that gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import RunConfig
from .folder import RunFolder

__all__ = ["Done", "Parts", "StageProgress", "Stage"]

#: Called as ``progress(label, step, total, losses, validation)`` during long work; ``validation`` has ``target_rmse``,
#: of each target in its unit, and ``validation_rmse``, pooled.
StageProgress = Callable[[str, int, int, dict[str, float], "dict[str, Any] | None"], None]


@dataclass(frozen=True)
class Parts:
    """The results of a stage that stand each for itself: a graph per precision, an engine, an engine's figures.

    A part that is not requested any more stays as long as it is what its own inputs would give; a part that was
    finished before an interruption is not done again.

    Parameters
    ----------
    names : callable(run, config) -> list of str
        The parts that the configuration requests.
    inputs : callable(run, config, part) -> dict or None
        Everything that decides one part, with the hashes of what it reads; None if there can be no such part.
    work : callable(run, config, progress, parts) -> iterator of (part, paths, summary)
        Does the parts given; each is recorded as soon as it is yielded.
    summary : callable(run, config, summaries) -> dict
        The summary of the stage, from those of its parts.
    """

    names: Callable[[RunFolder, RunConfig], list[str]]
    inputs: Callable[[RunFolder, RunConfig, str], dict[str, Any] | None]
    work: Callable[[RunFolder, RunConfig, StageProgress, list[str]], Iterator[tuple[str, list[Path], dict[str, Any]]]]
    summary: Callable[[RunFolder, RunConfig, dict[str, dict[str, Any]]], dict[str, Any]]


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Parameters
    ----------
    name : str
        Its key in state.json.
    command : str
        The CLI command that runs it.
    needs : tuple of str
        Stages that must be done and fresh before.
    inputs : callable(run, config) -> dict, optional
        Everything that decides the result, besides the outputs of ``needs``.
    work : callable(run, config, progress) -> (paths, summary), optional
        Writes the outputs atomically and returns them with a JSON-able summary.
    parts : Parts, optional
        In place of ``inputs`` and ``work``.
    uses : tuple of str
        Stages whose outputs are used if they have been done, and must then be fresh.
    machine_bound : bool
        Whether the result belongs to the machine it was made on (an engine, a latency).
    """

    name: str
    command: str
    needs: tuple[str, ...]
    inputs: Callable[[RunFolder, RunConfig], dict[str, Any]] | None = None
    work: Callable[[RunFolder, RunConfig, StageProgress], tuple[list[Path], dict[str, Any]]] | None = None
    parts: Parts | None = None
    uses: tuple[str, ...] = ()
    machine_bound: bool = False

    def upstream(self, run: RunFolder) -> tuple[str, ...]:
        """Return ``needs``, and those of ``uses`` that have been done."""
        return self.needs + tuple(name for name in self.uses if run.record(name) is not None)


@dataclass(frozen=True)
class Done:
    """The result of performing a stage.

    Attributes
    ----------
    stage : str
    ran : bool
        False if the stage was up to date.
    summary : dict
    kept : list of str
        Parts that were not requested and are still right.
    removed : list of str
        Files and folders of this and later stages that the change made wrong.
    """

    stage: str
    ran: bool
    summary: dict[str, Any] = field(default_factory=dict)
    kept: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
