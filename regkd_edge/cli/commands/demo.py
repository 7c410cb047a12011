"""``regkd-edge demo``: the whole pipeline on scanned digits, with a tenth of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...config import RunConfig
from ..options import AsJson
from .run import whole

#: Digits as a regression on their value (the image experiment of Zhou & Chiam 2023); the student sees a tenth of
#: the rows.
DEMO = {"data": {"data": "digits"}, "distill": {"fraction": 0.1}, "build": {"backend": ["onnxruntime", "native"]}}


def register(app: typer.Typer) -> None:
    @app.command("demo")
    def demo(
        folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")] = Path("runs/demo"),
        force: Annotated[bool, typer.Option("--force", help="Run every stage again even if it is up to date.")] = False,
        as_json: AsJson = False,
    ) -> None:
        """Run the whole pipeline on real data in under two minutes: scanned digits, a student from a tenth of the rows.

        Example: `regkd-edge demo runs/demo`
        """
        whole(RunConfig.from_dict(DEMO), folder, force, as_json)
