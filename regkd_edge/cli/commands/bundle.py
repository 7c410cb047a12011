"""``regkd-edge bundle``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ...io.command import command_line
from ..options import AsJson, Platform, TensorRTVersion, Trust
from ..output import show
from ..tables import bundled_graphs


def register(app: typer.Typer) -> None:
    @app.command("bundle")
    def bundle(
        folder: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.", show_default=False)],
        platform: Platform,
        out: Annotated[
            Optional[Path],
            typer.Option("--out", metavar="FILE", help="The archive. [default: RUN.TARGET.tar.gz]", show_default=False),
        ] = None,
        evaluate_on: Annotated[
            str,
            typer.Option(
                "--evaluate-on",
                metavar="held-out|synthetic",
                help="What engines are judged on: held-out rows, or synthetic rows with the teacher's answers.",
            ),
        ] = "held-out",
        max_rows: Annotated[
            int,
            typer.Option(
                "--max-rows", metavar="INT", min=1, help="Maximum held-out rows, or the number of synthetic rows."
            ),
        ] = 1000,
        tensorrt: TensorRTVersion = None,
        sign: Annotated[
            Optional[Path],
            typer.Option(
                "--sign",
                metavar="KEY",
                help="Sign the bundle with this private Ed25519 key (PEM). [default: not signed]",
                show_default=False,
            ),
        ] = None,
        trust: Trust = False,
        wheel: Annotated[
            Optional[Path],
            typer.Option(
                "--wheel",
                metavar="FILE",
                help="Put this wheel of regkd-edge, built for the device, into the bundle. [default: none]",
                show_default=False,
            ),
        ] = None,
        as_json: AsJson = False,
    ) -> None:
        """Write one archive with everything the device needs: graphs, expected answers, rows, native engines, hashes.

        Example: `regkd-edge bundle runs/diabetes --platform jetson-orin`
        """
        from ...bundle import make_bundle
        from ...io.files import file_hash
        from ...run import RunFolder

        run = RunFolder.open(folder)
        with run.lock():
            path, content = make_bundle(
                run,
                platform,
                out,
                evaluate_on=evaluate_on,
                max_rows=max_rows,
                tensorrt=tensorrt,
                key=sign,
                trust=trust,
                wheel=wheel,
            )
        notes = [
            f"{path}: {path.stat().st_size:,} bytes, SHA-256 {file_hash(path)}",
            f"judged on {content['rows']['count']:,} {content['rows']['kind']} rows; "
            f"checked for TensorRT {content['target']['checked_for']}",
            "not signed: add --sign KEY, and the device can verify who made it"
            if sign is None
            else f"signed with {sign}",
            *(f"left out: {reason}" for reason in content["left_out"]),
        ]
        show(
            f"bundle for {platform}",
            **bundled_graphs(content),
            as_json=as_json,
            run=str(folder),
            ran=["bundle"],
            notes=notes,
            next_command=command_line("deploy", Path(path.name)) + "  # on the device",
        )
