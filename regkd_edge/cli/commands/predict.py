"""``regkd-edge predict``: the answers of an engine, a student or a teacher to the rows of a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ...prediction import predict_file
from ..options import AsJson, Trust
from ..output import show


def register(app: typer.Typer) -> None:
    @app.command("predict")
    def predict(
        model: Annotated[
            Path, typer.Argument(metavar="RUN|ENGINE", help="A run folder, or an engine folder.", show_default=False)
        ],
        data: Annotated[
            Path,
            typer.Argument(metavar="DATA", help="The rows or examples: whatever --data takes.", show_default=False),
        ],
        out: Annotated[
            Optional[Path],
            typer.Option("--out", metavar="FILE", help="CSV to write. [default: the screen]", show_default=False),
        ] = None,
        by: Annotated[
            Optional[str],
            typer.Option(
                "--by",
                metavar="NAME",
                help="Which model of a run answers: teacher, student, or an engine. [default: the recommended engine, "
                "else the first one, else the student]",
                show_default=False,
            ),
        ] = None,
        trust: Trust = False,
        as_json: AsJson = False,
    ) -> None:
        """Answer the rows of a file in raw units; its columns are found by the names of the training's inputs.

        Example: `regkd-edge predict runs/diabetes new.csv --out answers.csv`
        """
        done = predict_file(model, data, out, by, trust=trust)
        if out is None:
            print(done.csv(), end="")
            return
        show(
            f"answers of {done.by}",
            done.summary(),
            as_json=as_json,
            notes=[f"wrote {len(done.answers):,} rows to {out}"],
        )
