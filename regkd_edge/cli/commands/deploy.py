"""``regkd-edge deploy``: the one command on the device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from ...io.text import significant
from ..options import AsJson
from ..output import show
from ..screen import say, settings
from ..tables import measured


def register(app: typer.Typer) -> None:
    @app.command("deploy")
    def deploy(
        archive: Annotated[
            Path, typer.Argument(metavar="BUNDLE", help="The archive of 'regkd-edge bundle'.", show_default=False)
        ],
        folder: Annotated[
            Optional[Path],
            typer.Argument(
                metavar="FOLDER",
                help="The working folder. [default: the archive's name without its extension]",
                show_default=False,
            ),
        ] = None,
        backend: Annotated[
            Optional[str],
            typer.Option(
                "--backend",
                metavar="A,B,...",
                help="tensorrt, onnxruntime, native. [default: all that this machine supports]",
                show_default=False,
            ),
        ] = None,
        batches: Annotated[
            Optional[str],
            typer.Option(
                "--batches", metavar="A,B,...", help="Batch sizes to time. [default: the bundle's]", show_default=False
            ),
        ] = None,
        samples: Annotated[
            Optional[int],
            typer.Option(
                "--samples",
                metavar="INT",
                help="Timed requests per batch size. [default: the bundle's]",
                show_default=False,
            ),
        ] = None,
        warmup: Annotated[
            Optional[int],
            typer.Option(
                "--warmup",
                metavar="INT",
                help="Untimed requests before the measurement. [default: the bundle's]",
                show_default=False,
            ),
        ] = None,
        threads: Annotated[
            Optional[int],
            typer.Option(
                "--threads",
                metavar="INT",
                help="ONNX Runtime: threads per request. [default: the bundle's]",
                show_default=False,
            ),
        ] = None,
        verify: Annotated[
            Optional[Path],
            typer.Option(
                "--verify",
                metavar="PUBKEY",
                help="Refuse a bundle that is not signed by this public Ed25519 key (PEM).",
                show_default=False,
            ),
        ] = None,
        run_code_of_plan: Annotated[
            bool,
            typer.Option(
                "--run-code-of-plan", help="TensorRT: load version-compatible plans, which executes code from them."
            ),
        ] = False,
        as_json: AsJson = False,
    ) -> None:
        """Build a bundle's engines on this machine, compare their outputs with the expected ones, time them, report.

        Exits with 1 when an engine's outputs differ from its graph's.

        Example: `regkd-edge deploy diabetes.jetson-orin.tar.gz`
        """
        from ... import bundle

        def told(text: str) -> None:
            if not as_json and not settings.quiet:
                say(text, dim=True)

        names = None if backend is None else [name.strip() for name in backend.split(",") if name.strip()]
        done = bundle.deploy(
            archive,
            folder,
            backends=names,
            batches=batches,
            samples=samples,
            warmup=warmup,
            threads=threads,
            verify=verify,
            run_code_of_plan=run_code_of_plan,
            progress=told,
        )
        notes = (
            [_verdict(one) for one in done.verified] + [f"not built: {reason}" for reason in done.left_out] + done.notes
        )
        if done.recommended:
            notes.append(f"recommended: {done.recommended['name']} ({done.recommended['why']})")
        notes.append(f"report: {done.run.file('report.html')}")
        show(
            f"{archive.name} on this machine",
            **measured(done.run),
            as_json=as_json,
            run=str(done.run.path),
            ran=["deploy"],
            notes=notes,
        )
        if not done.passed:
            raise typer.Exit(1)


def _verdict(one: dict) -> str:
    if one["difference"] is None:
        return f"{one['name']}: FAILED, its outputs are not finite"
    said = "its outputs match its graph's" if one["passed"] else "FAILED, its outputs differ from its graph's"
    figures = "; ".join(
        f"{t['name']}: RMS difference {significant(t['difference'], 3)}, allowed {significant(t['allowed'], 3)}, RMSE "
        f"{significant(t['rmse'], 4)}, expected {significant(t['expected_rmse'], 4)}"
        for t in one["targets"]
    )
    return f"{one['name']}: {said} ({figures})"
