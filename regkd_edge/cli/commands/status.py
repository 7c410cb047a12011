"""``regkd-edge status``: which stages of a run are done, which are stale and why, and what to type next."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ...io.command import command_line
from ...run import STAGES, RunFolder
from ...stages import get, stale_reason
from ..options import AsJson
from ..output import readable, show


def register(app: typer.Typer) -> None:
    @app.command("status")
    def status(
        folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.", show_default=False)],
        as_json: AsJson = False,
    ) -> None:
        """Print which stages of a run are done, which are stale and why, and the next command.

        Example: `regkd-edge status runs/demo`
        """
        run = RunFolder.open(folder)
        config = run.config()
        rows: list[dict[str, Any]] = []
        following = None
        known: dict[str, str | None] = {}  # every file is hashed once
        for name in STAGES:
            reason = stale_reason(run, config, name, here=True, known=known)
            record = run.record(name) or {}
            rows.append(
                {
                    "stage": name,
                    "state": "done" if reason is None else reason,
                    "finished": record.get("finished"),
                    "seconds": record.get("seconds"),
                    "files": len(record.get("outputs", {})) or None,
                }
            )
            if reason is not None and following is None:
                following = command_line(get(name).command, run.path)
        if not as_json:
            rows = [row | {"finished": readable(row["finished"])} for row in rows]
        show(f"stages of {run.path}", rows, as_json=as_json, run=str(run.path), ran=STAGES, next_command=following)
