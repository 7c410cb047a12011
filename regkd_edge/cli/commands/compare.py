"""``regkd-edge compare``: the models and engines of several runs in one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..options import AsJson
from ..output import show
from ..tables import whole_name


def register(app: typer.Typer) -> None:
    @app.command("compare")
    def compare(
        folders: Annotated[
            list[Path], typer.Argument(metavar="RUN", help="Run folders, at least two.", show_default=False)
        ],
        as_json: AsJson = False,
    ) -> None:
        """Print the models and engines of several runs in one table, and whether their held-out rows are the same.

        Example: `regkd-edge compare runs/relu runs/tanh`
        """
        from ...report.comparison import compare_runs, comparison_table

        rows, notes = compare_runs(folders)
        whole = whole_name(sorted({row["target"] for row in rows}))
        show("runs compared", rows, as_json=as_json, notes=[*whole, *notes], table=comparison_table(rows))
