"""Steps shared by the commands: open or create the run, apply the given flags, run the stages, show the result."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config import PATHS, RunConfig
from ..config.contradictions.sections import across_sections
from ..config.sources import absolute_source
from ..errors import UserError
from ..run import STAGES, RunFolder
from ..run.consented import remember_consent, remember_student
from ..stages import Done, perform
from ..stages.distill import refuse_unfit_teacher
from .kept import kept_note
from .logs import log, logged
from .progress import Watch, progress_bar
from .screen import say

__all__ = ["Session", "absolute_paths", "start"]

_REFUSALS = (UserError, OSError, MemoryError)  # what ends a command with one line

# Stage -> the fields of the configuration that only it, and what is made from it, depends on.
_OPTIONS = {
    "data": ("data", "seed"),
    "teacher": ("teacher", "seed"),
    "distill": ("distill", "seed"),
    "export": ("export_batch",),
    "quantize": ("quantize",),
    "build": ("build",),
    "bench": ("bench",),
}


@dataclass
class Session:
    """A locked run folder with its configuration and the stages that this call ran."""

    run: RunFolder
    config: RunConfig
    force: bool
    progress: Watch
    ran: list[str]
    before: RunConfig | None = None  # what the call found
    given: dict[str, Any] = field(default_factory=dict)  # dotted fields of the flags

    def kept(self, *sections: str) -> list[str]:
        """Return a note on the options of ``sections`` that earlier calls gave and that still apply."""
        return kept_note(self.before, self.config, self.given, *sections)

    def do(self, *stages: str) -> list[Done]:
        """Run stages in order; say what was kept and, at the end, which files are gone: one that a later stage wrote
        again is not."""
        done: list[Done] = []
        try:
            for stage in stages:
                self.progress.stage(stage)
                self.progress.targets, self.progress.synthetic = _targets(self.run), self.config.distill.no_data
                began = time.monotonic()
                log.debug("stage %s", stage)
                done.append(perform(self.run, self.config, stage, self.progress, force=self.force))
                if done[-1].ran:
                    self.ran.append(stage)
                    log.info("stage %s: done in %.1f s", stage, time.monotonic() - began)
                else:
                    log.info("stage %s: up to date", stage)
                if done[-1].kept:
                    say(f"kept, still right: {', '.join(done[-1].kept)}", dim=True)
        finally:
            gone = [name for one in done for name in one.removed if not os.path.lexists(self.run.file(name))]
            if gone:
                say(f"removed, made from what changed: {', '.join(dict.fromkeys(gone))}", dim=True)
        return done

    def take_in(self) -> list[Done]:
        """Run the stages of the data and of a teacher that exists already; one that the recipe cannot use is refused
        before the run has it."""
        refuse_unfit_teacher(self.run, self.config, data=False)
        done = self.do("data")
        refuse_unfit_teacher(self.run, self.config, data=True)
        return [*done, *self.do("teacher")]


def _targets(run: RunFolder) -> list[str]:
    """Return the names of the targets, in whose units validation errors are said."""
    return (run.record("data") or {}).get("summary", {}).get("targets") or []


def absolute_paths(changes: dict[str, Any], base: Path | None = None) -> dict[str, Any]:
    """Return ``changes`` with absolute paths; a relative path is looked up beside ``base``, then in the
    current folder. A later command can thus run from another folder.
    """
    from ..data import BUNDLED

    result = dict(changes)
    for name in PATHS:
        value = result.get(name)
        if not value or value in BUNDLED or (name.startswith("distill.") and value in ("standard", "none")):
            continue
        if name.startswith("teacher."):
            result[name] = value if value == "table" else absolute_source(value, base)
            continue
        path = Path(value).expanduser()
        if base is not None and (base / path).exists():
            path = base / path
        result[name] = os.path.abspath(path)
    return result


def _that_held(before: RunConfig, config: RunConfig, ran: list[str]) -> RunConfig:
    """Return what remains of a refused call's options: those of the stages that it finished.

    Without them these results would be stale at once, and the proposed command would make them from other options.
    """
    kept = before.model_copy(update={name: getattr(config, name) for stage in ran for name in _OPTIONS.get(stage, ())})
    return config if across_sections(kept) else kept


@contextmanager
def start(
    folder: Path,
    changes: dict[str, Any],
    force: bool,
    as_json: bool,
    *,
    create: bool = False,
    config: RunConfig | None = None,
) -> Iterator[Session]:
    """Hold the run's lock with the given flags in its configuration.

    Parameters
    ----------
    folder : Path
        The run folder. It must exist unless ``create`` or ``config`` is given.
    changes : dict
        Dotted fields of the given flags; written to run.yaml once they are valid.
    config : RunConfig, optional
        The whole configuration, in place of run.yaml's.

    A folder that this call created is removed again, with those above it that it made, if the call is refused before
    any training: otherwise the refused flag would stay in its run.yaml, since no earlier configuration exists to
    restore.
    """
    new = [path for path in (Path(folder), *Path(folder).parents) if not path.exists()]  # innermost first
    first = config
    if config is None and create and not (Path(folder) / "run.yaml").is_file():
        first = RunConfig().updated(absolute_paths(changes))  # a mistake in it is said before a folder is made
    run = RunFolder.open(folder) if first is None else RunFolder.prepare(folder)
    with run.lock():  # without the lock the folder must not be touched: another command may be at work in it
        try:
            before = run.config() if config is None and run.file("run.yaml").is_file() else None
            config = first if before is None else before.updated(absolute_paths(changes))
            run.write_config(config)
            if changes or config.teacher.trust:
                remember_consent(config.teacher, run.path / "teacher")
                remember_student(config)
            with logged(run.path), progress_bar(as_json) as progress:
                session = Session(run, config, force, progress, [], before, changes)
                try:
                    yield session
                except _REFUSALS:
                    if before is not None:  # a refused flag must not stay, or the next command would refuse it again
                        run.write_config(_that_held(before, config, session.ran))
                    raise
        except _REFUSALS:
            trained = run.file("checkpoint").exists() or any(run.record(stage) for stage in STAGES if stage != "data")
            if new and not trained:
                shutil.rmtree(run.path, ignore_errors=True)
                with suppress(OSError):  # one of them is in use by now
                    for parent in new[1:]:
                        parent.rmdir()
            raise
