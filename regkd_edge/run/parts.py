"""Stages of parts: which of them are fresh, doing those that are not, and dropping what a change made wrong."""

from __future__ import annotations

import contextlib
import time
from typing import Any

from ..config import RunConfig
from ..errors import RunFolderError, UserError
from ..io.files import digest, file_hash
from .folder import RunFolder
from .stage import Done, Stage, StageProgress
from .state import may_write, write_state

__all__ = ["part_problem", "perform_parts", "prune_parts"]


def part_problem(run: RunFolder, config: RunConfig, stage: Stage, part: str) -> str | None:
    """Return why a part must be done, or None if it is what its inputs would give and its files are as written."""
    entry = run.state().get(stage.name, {})
    record = entry.get("parts", {}).get(part)
    if record is None:
        return f"stale: {part} is missing"
    if record["fingerprint"] != _fingerprint(run, config, stage, part):
        return f"stale: the inputs or options of {part} changed"
    for name in record["outputs"]:
        path = run.file(name)
        if not path.exists():
            return f"stale: {name} is missing"
        if file_hash(path) != entry["outputs"].get(name):
            return f"stale: {name} was changed after it was written"
    return None


def perform_parts(
    run: RunFolder, config: RunConfig, stage: Stage, progress: StageProgress, machine: str, force: bool
) -> Done:
    """Do the requested parts that are missing or stale; keep the others that
    are right and remove those that are not."""
    entry = run.state().get(stage.name, {"outputs": {}})
    recorded = entry.get("parts", {})
    here = entry.get("machine", machine) == machine
    fresh = {part: recorded[part] for part in recorded if here and part_problem(run, config, stage, part) is None}
    requested = stage.parts.names(run, config)
    todo = [part for part in requested if force or part not in fresh]
    parts = {part: fresh[part] for part in fresh if part not in todo}
    kept = [part for part in parts if part not in requested]
    if not todo and len(fresh) == len(recorded) and run.record(stage.name) is not None:
        return Done(stage.name, False, entry["summary"], kept)
    # Until all is done the stage counts as missing; its old outputs stay recorded, to be removed.
    outputs = dict(entry["outputs"])
    begun = {"fingerprint": None, "machine": machine, "outputs": outputs, "parts": parts}
    started = time.monotonic()
    write_state(run.path, {**run.state(), stage.name: begun})
    try:
        for part, paths, summary in stage.parts.work(run, config, progress, todo) if todo else ():
            written = {run.relative(path): file_hash(path) for path in paths}
            wrong = [name for name in written if not may_write(stage.name, name)]
            assert not wrong, f"add to OUTPUTS['{stage.name}']: {', '.join(wrong)}"
            outputs |= written
            fingerprint = _fingerprint(run, config, stage, part)
            parts[part] = {"fingerprint": fingerprint, "outputs": sorted(written), "summary": summary}
            write_state(run.path, {**run.state(), stage.name: begun})
    except UserError:
        # Refused before it wrote anything, e.g. for a missing file: the earlier result is still valid.
        if "fingerprint" in entry and all(run.is_as_recorded(*item) for item in entry["outputs"].items()):
            with contextlib.suppress(RunFolderError):  # a full disk: it counts as missing, no more is lost
                write_state(run.path, {**run.state(), stage.name: entry})
        raise
    ordered = {part: parts[part] for part in (*requested, *kept)}
    return Done(
        stage.name,
        True,
        (record := _write(run, config, stage, ordered, outputs, machine, started))["summary"],
        kept,
        run.remove(set(outputs) - set(record["outputs"])),
    )


def prune_parts(run: RunFolder, config: RunConfig, stage: Stage) -> list[str]:
    """Drop the parts of a later stage that a change before it made wrong; return the names that were removed."""
    entry = run.state()[stage.name]
    recorded = entry.get("parts", {})
    fresh = {part: recorded[part] for part in recorded if part_problem(run, config, stage, part) is None}
    if not fresh:
        return run.discard(stage.name)
    if len(fresh) == len(recorded):
        return []
    record = _write(run, config, stage, fresh, entry["outputs"], entry.get("machine", ""), None)
    return run.remove(set(entry["outputs"]) - set(record["outputs"]))


def _fingerprint(run: RunFolder, config: RunConfig, stage: Stage, part: str) -> str | None:
    try:
        inputs = stage.parts.inputs(run, config, part)
    except RunFolderError:  # what it was made from is gone
        return None
    return None if inputs is None else digest(inputs)


def _write(
    run: RunFolder,
    config: RunConfig,
    stage: Stage,
    parts: dict[str, dict[str, Any]],
    outputs: dict[str, str],
    machine: str,
    started: float | None,
) -> dict[str, Any]:
    before = run.state().get(stage.name, {})
    summaries = {part: record["summary"] for part, record in parts.items()}
    record = {
        "fingerprint": digest({part: record["fingerprint"] for part, record in parts.items()}),
        "machine": machine,
        "outputs": {name: outputs[name] for record in parts.values() for name in record["outputs"]},
        "parts": parts,
        "seconds": before.get("seconds", 0.0) if started is None else round(time.monotonic() - started, 3),
        "finished": before.get("finished") if started is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "summary": stage.parts.summary(run, config, summaries),
    }
    write_state(run.path, {**run.state(), stage.name: record})
    return record
