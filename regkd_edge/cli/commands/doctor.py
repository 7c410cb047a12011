"""``regkd-edge doctor``: what is installed, what is missing, and what follows."""

from __future__ import annotations

import importlib.util

import typer

from ... import doctor as examine
from ..options import AsJson
from ..output import show


def register(app: typer.Typer) -> None:
    @app.command("doctor")
    def doctor(
        as_json: AsJson = False,
    ) -> None:
        """Report what this machine has: the extension and its halves, libraries, back ends, devices.

        Example: `regkd-edge doctor`
        """
        trains = all(importlib.util.find_spec(name) for name in ("torch", "onnx", "onnxruntime", "sklearn"))
        show("this machine", examine.findings(), as_json=as_json, next_command="regkd-edge demo" if trains else None)
