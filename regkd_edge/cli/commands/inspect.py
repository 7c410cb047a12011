"""``regkd-edge inspect``: what an artefact is, and what is in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...inspection import inspect as examine
from ..options import AsJson
from ..output import show


def register(app: typer.Typer) -> None:
    @app.command("inspect")
    def inspect(
        file: Annotated[
            Path,
            typer.Argument(
                metavar="FILE", help="A run, an engine folder, a graph, a bundle, a model folder.", show_default=False
            ),
        ],
        as_json: AsJson = False,
    ) -> None:
        """Print what a file or folder is, and what is in it; hashes are checked, nothing is run.

        Example: `regkd-edge inspect runs/demo/engines/native.int8`
        """
        kind, facts = examine(file)
        rows = [{"what": key, "value": "unknown" if value is None else str(value)} for key, value in facts.items()]
        show(f"{kind} {file}", rows, as_json=as_json)
