"""What the commands share: open or make the run, put the given flags into its configuration, do stages, show the
end.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..config import PATHS, RunConfig
from ..config.sources import absolute_source
from ..errors import UserError
from ..run import STAGES, RunFolder
from ..stages import Done, perform
from .output import progress_bar

__all__ = ["Session", "absolute_paths", "start"]


@dataclass
class Session:
    """A locked run folder with its configuration, and what this call did to it."""

    run: RunFolder
    config: RunConfig
    force: bool
    progress: Any
    ran: list[str]

    def do(self, *stages: str) -> list[Done]:
        """Perform stages in their order."""
        done = []
        for stage in stages:
            done.append(perform(self.run, self.config, stage, self.progress, force=self.force))
            if done[-1].ran:
                self.ran.append(stage)
        return done


def absolute_paths(changes: dict[str, Any], base: Path | None = None) -> dict[str, Any]:
    """``changes`` with the paths in it absolute; a relative one is looked for beside ``base`` first, then in the
    current folder. So a later command may be typed in another folder.
    """
    from ..data import BUNDLED

    result = dict(changes)
    for field in PATHS:
        value = result.get(field)
        if not value or value in BUNDLED or (field.startswith("distill.") and value in ("standard", "none")):
            continue
        if field.startswith("teacher."):
            result[field] = value if value == "table" else absolute_source(value, base)
            continue
        path = Path(value).expanduser()
        if base is not None and (base / path).exists():
            path = base / path
        result[field] = os.path.abspath(path)
    return result


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
        Dotted fields of the flags that were given; written to run.yaml once they are found valid.
    config : RunConfig, optional
        The whole configuration in place of what run.yaml holds.

    A folder that this call made is removed again when it was refused before any training: the refused flag would stay
    in its run.yaml otherwise, since there is no configuration before it to go back to.
    """
    new = not Path(folder).exists()
    if config is not None:
        run = RunFolder.create(folder, config)
    elif create and not (Path(folder) / "run.yaml").is_file():
        run = RunFolder.create(folder, RunConfig().updated(absolute_paths(changes)))
    else:
        run = RunFolder.open(folder)
    with run.lock():  # a call that does not get it must not touch the folder: it may be the holder's new run
        try:
            with progress_bar(as_json) as progress:
                if config is not None:
                    yield Session(run, config, force, progress, [])
                    return
                before = run.config()
                config = before.updated(absolute_paths(changes))
                run.write_config(config)
                try:
                    yield Session(run, config, force, progress, [])
                except UserError:
                    run.write_config(before)  # a refused flag must not stay and be refused again by the next command
                    raise
        except UserError:
            trained = run.file("checkpoint").exists() or any(run.record(stage) for stage in STAGES if stage != "data")
            if new and not trained:
                shutil.rmtree(run.path, ignore_errors=True)
            raise
