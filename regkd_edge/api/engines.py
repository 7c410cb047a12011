"""From a graph to an engine that is loaded."""

from __future__ import annotations

import os
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..config import BuildConfig
from ..data import as_rows
from ..errors import GraphError
from ..graph.file import Graph
from ..io.files import temporary_folder
from ..io.words import described
from .inputs import row_shape_of

if TYPE_CHECKING:
    from ..engines import Manifest
    from ..engines.engine import Engine
    from ..models import Student

__all__ = ["build", "load_engine", "manifest_of", "require_backend", "why_not"]


def build(
    graph: Graph | Student | str | Path,
    backend: str = "onnxruntime",
    *,
    path: str | Path | None = None,
    threads: int | None = None,
    check: Any = None,  # [n, d]
    fp32: Graph | str | Path | None = None,
    config: BuildConfig | None = None,
    **options: Any,
) -> Engine:
    """Build a graph for this machine, compare the engine with the graph, and return it.

    The engine is loaded when it is first used: some back ends build on machines that cannot run them.

    Parameters
    ----------
    graph : Graph, Student or path
        ONNX, as :meth:`Student.export <regkd_edge.models.Student.export>` and :func:`quantize` write it; a student is
        exported first.
    backend : str
        onnxruntime, native, tensorrt or tensorrt-rtx.
    path : path, optional
        The folder to write. Without it the engine is kept in a temporary folder as long as the object lives.
    threads : int, optional
        Threads of one request, for back ends on the CPU.
    check : [n, d], optional
        Rows in raw units on which the engine is compared with its graph; random rows within the inputs' spread when
        absent.
    fp32 : Graph or path, optional
        The FP32 graph of the same student, which says how far a lower precision is from it anyway.
    config : BuildConfig, optional
        Options of the back ends; ``options`` are the back end's own, and win.

    Returns
    -------
    Engine
        Its ``note`` says what had to be repaired, or is None.

    Raises
    ------
    GraphError
        The back end does not take the graph, or its engine does not answer as the graph.
    NotAvailable
        The runtime or the device is not on this machine.
    """
    from ..engines.engine import Engine, build_engine
    from ..engines.verify import Oracle

    kept = exported = None
    if hasattr(graph, "export"):
        exported = temporary_folder()
        graph = graph.export(Path(exported.name, "fp32.onnx"))
    elif not isinstance(graph, (str, os.PathLike)):
        raise GraphError(
            f"{described(graph)} cannot be built, expected a graph.", "Give a Graph, a Student, or an ONNX file."
        )
    if path is None:
        kept = temporary_folder()
        path = Path(kept.name, f"{backend}.{getattr(graph, 'precision', Path(graph).stem)}")
    options = {**(config.options(backend) if config is not None else {}), **options}
    oracle = None if check is None else Oracle(as_rows(check, shape=row_shape_of(graph), what="check")[0], fp32)
    with exported or nullcontext():
        _, note = build_engine(graph, backend, path, options, oracle)
    engine = Engine(path, threads, load=False)
    engine.note, engine._kept = note, kept
    return engine


def load_engine(path: str | Path, threads: int | None = None, **settings: Any) -> Engine:
    """Load the engine of a folder that :func:`build`, ``regkd-edge build`` or ``deploy`` wrote. Needs no torch.

    Parameters
    ----------
    path : path
        The folder of the engine.
    threads : int, optional
        Threads of one request, for back ends on the CPU.
    settings
        Further settings of its back end, such as ``spinning`` of ONNX Runtime.

    Raises
    ------
    RunFolderError
        The manifest is missing or corrupt, or the engine file is not the one that it describes.
    NotAvailable
        The runtime or the device is not on this machine.
    """
    from ..engines.engine import Engine

    return Engine(path, threads, **settings)


def manifest_of(folder: str | Path) -> Manifest:
    """Return what the engine of a folder is and what it was built from, without loading it."""
    from ..engines import read_manifest

    return read_manifest(folder)


def require_backend(backend: str) -> None:
    """Raise :class:`~regkd_edge.errors.NotAvailable` with the cause and the remedy
    where a back end cannot be used here.
    """
    from ..engines import get_backend

    get_backend(backend).require()


def why_not(
    folder: str | Path,
    graph: Graph | str | Path,
    *,
    check: Any,  # [n, d]
    fp32: Graph | str | Path | None = None,
    run_code_of_plan: bool = False,
) -> str | None:
    """Return why the engine of a folder cannot be measured here, or None.

    An engine that was built on a machine that could not run it is compared with its graph first.

    Parameters
    ----------
    folder, graph
        The engine, and the graph it was built from.
    check, fp32
        As in :func:`build`.
    run_code_of_plan : bool
        Whether code from a version-compatible plan may run.
    """
    from ..engines import get_backend, read_manifest
    from ..engines.verify import Oracle, verify_engine

    manifest = read_manifest(folder)
    backend = get_backend(manifest.backend)
    reason: str | None = backend.cannot_run() if hasattr(backend, "cannot_run") else None
    if reason is None and manifest.verified is None:
        trusted = run_code_of_plan and manifest.options.get("version_compatible")
        try:
            oracle = Oracle(as_rows(check, shape=manifest.input_shape, what="check")[0], fp32)
            verify_engine(folder, graph, oracle, **({"run_code_of_plan": True} if trusted else {}))
        except GraphError as error:
            reason = error.cause
    return reason
