"""``regkd-edge doctor``: what is there, what is missing, and what that means."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import doctor as examine
from .output import show


def register(app: typer.Typer) -> None:
    @app.command("doctor")
    def doctor(
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    ) -> None:
        """Say what this machine has: the extension and its halves, libraries, back ends, devices.

        Example: `regkd-edge doctor`
        """
        show("this machine", examine.findings(), as_json=as_json, next_command="regkd-edge demo")
