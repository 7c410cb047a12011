"""Stage ``build``: an engine for each graph and back end, built on the machine that will run it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import RunConfig
from ..errors import GraphError, UserError
from ..run import RunFolder
from . import Progress, Stage

if TYPE_CHECKING:
    from ..engines import Backend, Manifest
    from ..engines.verify import Oracle

__all__ = ["STAGE", "graphs", "oracle_of"]

_VERIFY_ROWS = 1000  # held-out rows on which engines are compared with their graphs


def graphs(run: RunFolder) -> dict[str, Path]:
    """Return precision -> graph, from the stages export and quantize."""
    names = [*run.record("export")["outputs"], *(run.record("quantize") or {"outputs": {}})["outputs"]]
    return {Path(name).name.split(".")[1]: run.file(name) for name in names}


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    return {
        "build": config.build.model_dump(mode="json"),
        "options": {name: config.build.options(name) for name in config.build.backend},
    }


def oracle_of(run: RunFolder) -> Oracle:
    """Return what the run's graphs mean on its held-out rows, at most 1,000 of them."""
    from ..data import load_dataset
    from ..engines.verify import Oracle

    rows = load_dataset(run).rows("test")[0]
    return Oracle(rows[np.linspace(0, len(rows) - 1, min(len(rows), _VERIFY_ROWS)).astype(int)], graphs(run)["fp32"])


def _built(
    backend: Backend, graph: Path, folder: Path, options: dict[str, Any], oracle: Oracle
) -> tuple[Manifest, str | None]:
    """Build an engine that answers as its graph: ``(manifest, note or None)``.

    An engine that answers otherwise is built again with fewer optimizations. If that does not help, the folder is
    removed, so that nothing measures it, and a :class:`GraphError` says how far off it was.
    """
    from ..engines.verify import verify_engine

    manifest = backend.build(graph, folder, options)
    trusted = {"run_code_of_plan": True} if options.get("version_compatible") else {}  # it was built right here
    try:
        return verify_engine(folder, graph, oracle, **trusted), None
    except GraphError as error:
        refusal = error
    for plainer in backend.plainer(options) if hasattr(backend, "plainer") else ():
        manifest = backend.build(graph, folder, plainer)
        try:
            manifest = verify_engine(folder, graph, oracle)
        except GraphError:
            continue
        return manifest, f"{folder.name}: built with optimization '{plainer['optimization']}': {refusal.cause}"
    shutil.rmtree(folder, ignore_errors=True)
    raise refusal


def _work(run: RunFolder, config: RunConfig, progress: Progress) -> tuple[list[Path], dict[str, Any]]:
    from ..engines import get_backend

    paths: list[Path] = []
    engines: list[dict[str, Any]] = []
    if config.build.header and "native" not in config.build.backend:
        raise UserError(
            f"a header ('{config.build.header}') is made from a native engine, and the back end is {', '.join(config.build.backend)}.",
            "Add native to --backend, or give --header none.",
        )
    # Find the engines that can be built first: a refusal must not leave half a set behind.
    backends = {name: get_backend(name) for name in config.build.backend}
    for backend in backends.values():
        backend.require()
    left_out: list[str] = []
    repaired: list[str] = []
    oracle = oracle_of(run)
    headers: list[str] = []
    for name, backend in backends.items():
        for precision, graph in graphs(run).items():
            # A back end that supports only some precisions reports which of the run's graphs it leaves out.
            reason = backend.refuses(graph) if hasattr(backend, "refuses") else None
            if reason is not None:
                left_out.append(f"{name}.{precision}: {reason}")
                continue
            folder = run.file("engines", f"{name}.{precision}")
            options = config.build.options(name)
            if name == "tensorrt":
                options["timing_cache"] = str(run.file("timing.cache"))  # speeds up later builds, no effect on results
            try:
                manifest, note = _built(backend, graph, folder, options, oracle)
            except GraphError as error:
                left_out.append(f"{folder.name}: {error.cause.removeprefix(f'{folder.name}: ')}")
                continue
            paths.append(folder)
            repaired += [note] if note else []
            engines.append(
                {
                    "engine": folder.name,
                    "bytes": manifest.size_bytes,
                    "seconds": manifest.seconds,
                    "answers as its graph": "yes" if manifest.verified else "not run here",
                }
            )
            if options.get("header"):
                headers.append(f"{folder.name}: C header {run.relative(folder / (options['header'] + '.h'))}")
    if not engines:
        raise GraphError(
            f"no engine could be built: {'; '.join(left_out)}.", "Choose another back end, for example 'onnxruntime'."
        )
    return paths, {
        "engines": engines,
        **({"left_out": left_out} if left_out else {}),
        **({"headers": headers} if headers else {}),
        **({"repaired": repaired} if repaired else {}),
    }


STAGE = Stage("build", "build", ("export",), _inputs, _work, uses=("quantize",), machine_bound=True)
