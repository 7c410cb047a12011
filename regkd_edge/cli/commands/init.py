"""``regkd-edge init``: a YAML file with every field, its default and what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...config.template import commented_yaml
from ...errors import UserError
from ...io.command import command_line
from ...io.files import write_atomic
from ..options import AsJson
from ..output import show


def register(app: typer.Typer) -> None:
    @app.command("init")
    def init(
        file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="The file to write.")] = Path("run.yaml"),
        force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
        as_json: AsJson = False,
    ) -> None:
        """Write a YAML file with every field of a run, commented: its default, what it means, what it may be.

        Example: `regkd-edge init mine.yaml`
        """
        if file.exists() and not force:
            raise UserError(f"'{file}' exists.", "Choose another name, or add --force to replace it.")
        with write_atomic(file) as temporary:
            temporary.write_text(commented_yaml(), encoding="utf-8")
        show(
            f"wrote {file}",
            (),
            as_json=as_json,
            notes=[f"Fill in data.data and data.target in {file}; every other field may be left out."],
            next_command=command_line("run", file),
        )
