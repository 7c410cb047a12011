"""``regkd-edge check``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ...errors import GraphError
from ...io.command import command_line
from ..options import AsJson, Platform, TensorRTVersion
from ..output import show


def register(app: typer.Typer) -> None:
    @app.command("check")
    def check(
        folder: Annotated[
            Path, typer.Argument(metavar="RUN", help="The run folder, or one ONNX file.", show_default=False)
        ],
        platform: Platform,
        tensorrt: TensorRTVersion = None,
        as_json: AsJson = False,
    ) -> None:
        """Report what TensorRT on a platform would refuse in the run's graphs, without the device and without a GPU.

        Where the package tensorrt-rtx is installed, NVIDIA's own parser and builder check the graphs too.
        Exits with 1 when a graph would be refused.

        Example: `regkd-edge check runs/diabetes --platform jetson-orin`
        """
        from ...engines.precheck import check_graphs
        from ...run import RunFolder
        from ...stages import require_fresh
        from ...stages.build import graphs

        if folder.suffix == ".onnx" and not folder.exists():
            raise GraphError(f"no ONNX file '{folder}'.", "Give a graph from a run's onnx folder, or the run itself.")
        if folder.is_file():
            found = check_graphs({folder.name: folder}, platform, tensorrt)
        else:
            run = RunFolder.open(folder)
            if run.record("export") is None:
                require_fresh(run, run.config(), "check", ["export"])
            found = check_graphs(graphs(run), platform, tensorrt)
        show(
            f"{folder} on {platform}",
            found.rows,
            as_json=as_json,
            run=str(folder),
            ran=["check"],
            notes=found.notes,
            next_command=None if found.refused else command_line("bundle", folder, "--platform", platform),
        )
        if found.refused:
            raise typer.Exit(1)
