"""Stages of a run: one module per stage, each with what it depends on and what it writes.

A stage knows three things: the stages before it, its *inputs* (everything that decides its result, as JSON-able values
and hashes) and its *work*. From these :func:`perform` tells done from stale, and refuses to build on a stale stage.
"""

from __future__ import annotations

import contextlib
import importlib
import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..errors import RunFolderError
from ..io.command import command_line
from ..io.files import digest, file_hash
from ..io.regular import file_problem
from ..run import STAGES, RunFolder

__all__ = [
    "Done",
    "Progress",
    "Stage",
    "external_hash",
    "get",
    "machine_name",
    "perform",
    "require_fresh",
    "stale_reason",
]

#: Called as ``progress(label, step, total, losses, validation_rmse)`` during long work.
Progress = Callable[[str, int, int, dict[str, float], "float | None"], None]


@dataclass(frozen=True)
class Stage:
    """One step of a run.

    Parameters
    ----------
    name : str
        Its key in state.json.
    command : str
        The command of the CLI that does it.
    needs : tuple of str
        Stages that must be done and fresh first.
    inputs : callable(run, config) -> dict
        Everything that decides the result, besides the outputs of ``needs``.
    work : callable(run, config, progress) -> (paths, summary)
        Writes the outputs atomically and returns them with a JSON-able summary.
    uses : tuple of str
        Stages whose outputs are used if they have been done, and must be fresh then.
    machine_bound : bool
        Whether the result belongs to the machine it was made on (an engine, a latency).
    """

    name: str
    command: str
    needs: tuple[str, ...]
    inputs: Callable[[RunFolder, RunConfig], dict[str, Any]]
    work: Callable[[RunFolder, RunConfig, Progress], tuple[list[Path], dict[str, Any]]]
    uses: tuple[str, ...] = ()
    machine_bound: bool = False

    def upstream(self, run: RunFolder) -> tuple[str, ...]:
        """Return ``needs``, and those of ``uses`` that have been done."""
        return self.needs + tuple(name for name in self.uses if run.record(name) is not None)


@dataclass(frozen=True)
class Done:
    """The result of :func:`perform`; ``ran`` is False when the stage was up to date."""

    stage: str
    ran: bool
    summary: dict[str, Any] = field(default_factory=dict)


def get(name: str) -> Stage:
    """Return the stage of that name, importing its module on first use."""
    return importlib.import_module(f"{__name__}.{name}").STAGE


def _rests_on(later: str, name: str) -> bool:
    stage = get(later)
    return any(need == name or _rests_on(need, name) for need in stage.needs + stage.uses)


def _inputs(stage: Stage, run: RunFolder, config: RunConfig) -> dict[str, Any]:
    return {**stage.inputs(run, config), "upstream": {need: run.outputs_hash(need) for need in stage.upstream(run)}}


def stale_reason(run: RunFolder, config: RunConfig, name: str, *, here: bool = False) -> str | None:
    """Return why stage ``name`` is not done and fresh, or None. A stale stage before it makes it stale.

    ``here``: a result bound to another machine counts as stale (an engine to be run; not a latency to be reported).
    """
    stage = get(name)
    if run.record(name) is None:
        return "missing"
    for need in stage.upstream(run):
        reason = stale_reason(run, config, need)
        if reason is not None:
            return f"stale: '{need}' is {reason}"
    if here and stage.machine_bound and run.record(name).get("machine") != machine_name():
        return f"made on another machine ({run.record(name).get('machine')})"
    return run.missing_or_stale(name, digest(_inputs(stage, run, config)))


def perform(run: RunFolder, config: RunConfig, name: str, progress: Progress, *, force: bool = False) -> Done:
    """Run a stage if it is missing, stale or forced; refuse if a stage it needs is missing or stale.

    If its outputs changed, what later stages made from the old ones is discarded.
    """
    stage = get(name)
    require_fresh(run, config, stage.command, stage.upstream(run), here=stage.machine_bound)
    before = run.known_outputs(name)
    ran, summary = run.run_stage(
        name,
        _inputs(stage, run, config),
        lambda: stage.work(run, config, progress),
        machine=machine_name() if stage.machine_bound else "",
        force=force,
    )
    with contextlib.suppress(OSError):  # absent, or it holds the state of an interrupted training
        run.file("checkpoint").rmdir()
    if before != run.record(name)["outputs"]:
        for later in STAGES[STAGES.index(name) + 1 :]:
            if _rests_on(later, name):
                run.discard(later)
    return Done(name, ran, summary)


def require_fresh(run: RunFolder, config: RunConfig, command: str, names: Iterable[str], *, here: bool = False) -> None:
    """Refuse ``command`` if one of the stages ``names``, or one below them, is missing or stale.

    The remedy is the command of the first one in the chain: the others cannot be fixed before it.
    ``here``: a result of ``names`` that is bound to another machine counts as stale.

    Raises
    ------
    RunFolderError
    """
    if run.file("bundle.json").is_file() and not run.state():
        raise RunFolderError(
            f"'{run.path}' is an unpacked bundle: its stages ran where it was made, and 'deploy' does the rest here.",
            f"Run: {command_line('deploy', run.path)} (--backend, --batches, --samples as needed); its report is {run.file('report.html')}.",
        )
    names = set(names)
    needed = names.union(*(_below(run, name) for name in names))
    reasons = {name: stale_reason(run, config, name, here=here and name in names) for name in STAGES if name in needed}
    lacking = [name for name, reason in reasons.items() if reason is not None]
    if not lacking:
        return
    commands = list(dict.fromkeys(_command(config, name) for name in lacking))
    then = f" (then: {', '.join(commands[1:])})" if len(commands) > 1 else ""
    unnamed = " --data FILE --target NAME" if lacking[0] == "data" and config.data.source is None else ""
    raise RunFolderError(
        f"'{command}' needs the stage '{lacking[0]}' of '{run.path}', which is {reasons[lacking[0]]}{then}.",
        f"Run: {command_line(commands[0], run.path)}{unnamed}",
    )


def _below(run: RunFolder, name: str) -> set[str]:
    upstream = set(get(name).upstream(run))
    return upstream.union(*(_below(run, need) for need in upstream))


def _command(config: RunConfig, name: str) -> str:
    """What to type for a stage; a teacher that exists already is taken in by ``distill``."""
    brought = config.teacher.brought
    return "distill" if brought and name in ("data", "teacher") else get(name).command


def external_hash(run: RunFolder, stage: str, path: str) -> str:
    """Return the hash of a file outside the run that a stage reads.

    If the file is gone but the stage has recorded it (the run folder was copied to another machine), the recorded
    hash is used: what was made from the file is in the folder.
    """
    if Path(path).exists():
        problem = file_problem(path)  # refused by the stage that reads it: it may be a pipe, or as large as a disk
        return file_hash(path) if problem is None else problem
    record = run.record(stage) or {}
    return record.get("summary", {}).get("external", {}).get(str(path), "absent")


def machine_name() -> str:
    """Return the identity of this machine: system, architecture and the board's or processor's model."""
    model = ""
    for source, key in (("/proc/device-tree/model", None), ("/proc/cpuinfo", "model name")):
        try:
            text = Path(source).read_text(errors="replace")
        except OSError:
            continue
        lines = [text] if key is None else [line.split(":", 1)[1] for line in text.splitlines() if line.startswith(key)]
        if lines:
            model = lines[0].strip(" \t\0\n")
            break
    return " ".join(part for part in (platform.system(), platform.machine(), model or platform.processor()) if part)
