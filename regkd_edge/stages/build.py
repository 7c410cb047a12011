"""Stage ``build``: an engine for each graph and back end, made on the machine it will run on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..errors import GraphError, UserError
from ..run import RunFolder
from . import Progress, Stage

__all__ = ["STAGE", "graphs", "options_for"]


def graphs(run: RunFolder) -> dict[str, Path]:
    """Precision -> graph, of the stages export and quantize."""
    names = [*run.record("export")["outputs"], *(run.record("quantize") or {"outputs": {}})["outputs"]]
    return {Path(name).name.split(".")[1]: run.file(name) for name in names}


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    return {
        "build": config.build.model_dump(mode="json"),
        "options": {name: options_for(config, name) for name in config.build.backend},
    }


def options_for(config: RunConfig, backend: str) -> dict[str, Any]:
    """The options of a back end that a configuration asks for."""
    options: dict[str, Any] = {"header": config.build.header} if backend == "native" and config.build.header else {}
    if backend not in ("tensorrt", "tensorrt-rtx"):
        return options
    fields = (
        ("tf32",)
        if backend == "tensorrt-rtx"
        else (
            "workspace_mib",
            "optimization_level",
            "tf32",
            "version_compatible",
            "hardware_compatible",
            "refit",
            "dla",
        )
    )
    options |= {field: getattr(config.build, field) for field in fields}
    if config.build.profile is not None:
        options |= dict(zip(("min_batch", "opt_batch", "max_batch"), (config.build.profile * 3)[:3]))
    return options


def _work(run: RunFolder, config: RunConfig, progress: Progress) -> tuple[list[Path], dict[str, Any]]:
    from ..engines import get_backend

    paths: list[Path] = []
    engines: list[dict[str, Any]] = []
    if config.build.header and "native" not in config.build.backend:
        raise UserError(
            f"a header ('{config.build.header}') is made of a native engine, and the back end is {', '.join(config.build.backend)}.",
            "Add native to --backend, or say --header none.",
        )
    # The engines that can be made are looked for first: a refusal must not leave half a set behind.
    backends = {name: get_backend(name) for name in config.build.backend}
    for backend in backends.values():
        backend.require()
    left_out: list[str] = []
    headers: list[str] = []
    for name, backend in backends.items():
        for precision, graph in graphs(run).items():
            # A back end that takes some precisions only says which of the run's graphs it leaves out.
            reason = backend.refuses(graph) if hasattr(backend, "refuses") else None
            if reason is not None:
                left_out.append(f"{name}.{precision}: {reason}")
                continue
            folder = run.file("engines", f"{name}.{precision}")
            options = options_for(config, name)
            if name == "tensorrt":
                options["timing_cache"] = str(run.file("timing.cache"))  # speeds a later build up, decides nothing
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
