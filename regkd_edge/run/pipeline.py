"""What in a run is done, what is stale, and doing it: decided here and nowhere else.

The functions take ``get``, which gives the stage of a name: the stages themselves are in a room above.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..errors import RunFolderError
from ..io.command import command_line
from ..io.files import digest, file_hash, folder_hash
from ..io.regular import file_problem
from .folder import RunFolder
from .parts import part_problem, perform_parts, prune_parts
from .stage import Done, Stage, StageProgress
from .state import STAGES

__all__ = ["external_hash", "machine_name", "perform", "require_fresh", "stale_reason"]

Get = Callable[[str], Stage]


def stale_reason(
    get: Get,
    run: RunFolder,
    config: RunConfig,
    name: str,
    *,
    here: bool = False,
    known: dict[str, str | None] | None = None,
) -> str | None:
    """Return why stage ``name`` is not done and fresh, or None. A stale stage before it makes it stale.

    ``here``: a result bound to another machine counts as stale (an engine to be run; not a latency to be reported).
    ``known``: what is wrong with a stage's own files, filled as they are hashed; give the same dictionary to several
    calls, and each file is read once.
    """
    known = {} if known is None else known
    stage = get(name)
    record = run.record(name)
    if record is None:
        return "missing"
    for need in stage.upstream(run):
        reason = stale_reason(get, run, config, need, known=known)
        if reason is not None:
            return f"stale: '{need}' is {reason}"
    if here and stage.machine_bound and record.get("machine") != machine_name():
        return f"made on another machine ({record.get('machine')})"
    if name not in known:
        known[name] = _own_reason(stage, run, config, record)
    return known[name]


def _own_reason(stage: Stage, run: RunFolder, config: RunConfig, record: dict[str, Any]) -> str | None:
    if stage.parts is None:
        return run.missing_or_stale(stage.name, digest(_inputs(stage, run, config)))
    parts = dict.fromkeys((*stage.parts.names(run, config), *record.get("parts", {})))
    reasons = (part_problem(run, config, stage, part) for part in parts)
    return next((reason for reason in reasons if reason is not None), None)


def perform(
    get: Get, run: RunFolder, config: RunConfig, name: str, progress: StageProgress, *, force: bool = False
) -> Done:
    """Run a stage if it is missing, stale or forced; refuse if a stage it needs is missing or stale.

    If its outputs changed, what later stages made from the old ones is removed; what they made from others is kept.
    """
    stage = get(name)
    require_fresh(get, run, config, stage.command, stage.upstream(run), here=stage.machine_bound)
    before = run.known_outputs(name)
    machine = machine_name() if stage.machine_bound else ""
    if stage.parts is not None:
        done = perform_parts(run, config, stage, progress, machine, force)
    else:
        ran, summary, removed = run.run_stage(
            name,
            _inputs(stage, run, config),
            lambda: stage.work(run, config, progress),
            machine=machine,
            force=force,
        )
        done = Done(name, ran, summary, removed=removed)
    with contextlib.suppress(OSError):  # absent, or it holds the state of an interrupted training
        run.file("checkpoint").rmdir()
    if before != run.record(name)["outputs"]:
        for later in STAGES[STAGES.index(name) + 1 :]:
            if _rests_on(get, later, name):
                done.removed.extend(_prune(get(later), run, config))
    return done


def _prune(stage: Stage, run: RunFolder, config: RunConfig) -> list[str]:
    """Remove what is no longer right of a later stage; return the names."""
    if stage.name not in run.state():
        return []
    if stage.parts is not None:
        return prune_parts(run, config, stage)
    try:
        fresh = run.missing_or_stale(stage.name, digest(_inputs(stage, run, config))) is None
    except RunFolderError:  # a stage that it was made from is gone
        fresh = False
    return [] if fresh else run.discard(stage.name)


def _rests_on(get: Get, later: str, name: str) -> bool:
    stage = get(later)
    return any(need == name or _rests_on(get, need, name) for need in stage.needs + stage.uses)


def _inputs(stage: Stage, run: RunFolder, config: RunConfig) -> dict[str, object]:
    return {**stage.inputs(run, config), "upstream": {need: run.outputs_hash(need) for need in stage.upstream(run)}}


def require_fresh(
    get: Get, run: RunFolder, config: RunConfig, command: str, names: Iterable[str], *, here: bool = False
) -> None:
    """Refuse ``command`` if one of the stages ``names``, or one below them, is missing or stale.

    The remedy is the command of the first one in the chain: the others cannot be fixed before it.
    ``here``: a result of ``names`` that is bound to another machine counts as stale.

    Raises
    ------
    RunFolderError
    """
    if run.file("bundle.json").is_file():
        raise RunFolderError(
            f"'{run.path}' is an unpacked bundle: its stages ran where it was made, and 'deploy' does the rest here.",
            f"Run: {command_line('deploy', run.path)} (--backend, --batches, --samples as needed); its report is "
            f"{run.file('report.html')}.",
        )
    names = set(names)
    needed = names.union(*(_below(get, run, name) for name in names))
    known: dict[str, str | None] = {}
    reasons = {
        name: stale_reason(get, run, config, name, here=here and name in names, known=known)
        for name in STAGES
        if name in needed
    }
    lacking = [name for name, reason in reasons.items() if reason is not None]
    if not lacking:
        return
    commands = list(dict.fromkeys(_command(get, config, name) for name in lacking))
    then = f" (then: {', '.join(commands[1:])})" if len(commands) > 1 else ""
    unnamed = " --data FILE --target NAME" if lacking[0] == "data" and config.data.data is None else ""
    raise RunFolderError(
        f"'{command}' needs the stage '{lacking[0]}' of '{run.path}', which is {reasons[lacking[0]]}{then}.",
        f"Run: {command_line(commands[0], run.path)}{unnamed}",
    )


def _below(get: Get, run: RunFolder, name: str) -> set[str]:
    upstream = set(get(name).upstream(run))
    return upstream.union(*(_below(get, run, need) for need in upstream))


def _command(get: Get, config: RunConfig, name: str) -> str:
    """Return the command to type for a stage; ``distill`` imports a teacher that exists already."""
    brought = config.teacher.brought
    return "distill" if brought and name in ("data", "teacher") else get(name).command


def external_hash(run: RunFolder, stage: str, path: str) -> str:
    """Return the hash of a file outside the run that a stage reads.

    If the file is gone but the stage has recorded it (the run folder was copied to another machine), the recorded
    hash is used: what was made from the file is in the folder.
    """
    if Path(path).exists():
        if Path(path).is_dir():
            return folder_hash(path)
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
