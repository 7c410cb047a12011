"""Stage ``build``: an engine for each graph and back end, built on the machine that will run it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..errors import GraphError, UserError
from ..run import RunFolder
from . import Progress, Stage

__all__ = ["STAGE", "graphs"]


def graphs(run: RunFolder) -> dict[str, Path]:
    """Return precision -> graph, from the stages export and quantize."""
    names = [*run.record("export")["outputs"], *(run.record("quantize") or {"outputs": {}})["outputs"]]
    return {Path(name).name.split(".")[1]: run.file(name) for name in names}


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    return {
        "build": config.build.model_dump(mode="json"),
        "options": {name: config.build.options(name) for name in config.build.backend},
    }


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
            manifest = backend.build(graph, folder, options)
            paths.append(folder)
            engines.append({"engine": folder.name, "bytes": manifest.size_bytes, "seconds": manifest.seconds})
            if options.get("header"):
                headers.append(f"{folder.name}: C header {run.relative(folder / (options['header'] + '.h'))}")
    if not engines:
        raise GraphError(
            f"no engine could be built: {'; '.join(left_out)}", "Choose another back end, for example 'onnxruntime'."
        )
    return paths, {
        "engines": engines,
        **({"left_out": left_out} if left_out else {}),
        **({"headers": headers} if headers else {}),
    }


STAGE = Stage("build", "build", ("export",), _inputs, _work, uses=("quantize",), machine_bound=True)
