"""``regkd-edge doctor``: what is installed, what is missing, and what follows."""

from __future__ import annotations

import importlib.util

import typer

from ... import doctor as examine
from ...io.text import Column, TextTable
from ..options import AsJson
from ..output import show


def register(app: typer.Typer) -> None:
    @app.command("doctor")
    def doctor(
        as_json: AsJson = False,
    ) -> None:
        """Report what this machine has, lacks and what does not fit together, with the commands that fix it.

        Example: `regkd-edge doctor`
        """
        trains = all(importlib.util.find_spec(name) for name in ("torch", "onnx", "onnxruntime", "sklearn"))
        found = examine.findings()
        shown = [Column("what", text=True), Column("state", text=True), Column("meaning", text=True)]
        show(
            "this machine",
            found,
            as_json=as_json,
            table=TextTable(shown, [[str(one[key]) for key in ("what", "state", "meaning")] for one in found]),
            notes=[f"{one['what']} is {one['state']}: {one['fix']}" for one in found if one["fix"]],
            next_command="regkd-edge demo" if trains else None,
        )
