"""Stage ``build``: an engine for each graph and back end, built on the machine that will run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import RunConfig
from ..errors import GraphError, UserError
from ..graph.file import Graph
from ..run import RunFolder
from . import Parts, Stage, StageProgress

if TYPE_CHECKING:
    from ..engines.verify import Oracle

__all__ = ["STAGE", "graphs", "oracle_of"]

_VERIFY_ROWS = 1000  # held-out rows on which engines are compared with their graphs


def graphs(run: RunFolder) -> dict[str, Path]:
    """Return precision -> graph, from the stages export and quantize."""
    names = [*run.record("export")["outputs"], *(run.record("quantize") or {"outputs": {}})["outputs"]]
    return {Path(name).name.split(".")[1]: run.file(name) for name in names}


def _parts(run: RunFolder, config: RunConfig) -> list[str]:
    return [f"{backend}.{precision}" for backend in config.build.backend for precision in graphs(run)]


def _inputs(run: RunFolder, config: RunConfig, part: str) -> dict[str, Any] | None:
    """Everything that decides one engine: its graph, the options of its back end, the rows it is compared on."""
    backend, _, precision = part.partition(".")
    graph = graphs(run).get(precision) if run.record("export") is not None else None
    if graph is None:
        return None
    name = run.relative(graph)
    hashes = {**run.known_outputs("export"), **run.known_outputs("quantize")}
    return {
        "part": part,
        "graph": hashes[name],
        "fp32": run.outputs_hash("export"),
        "data": run.outputs_hash("data"),
        "options": config.build.options(backend),
    }


def oracle_of(run: RunFolder) -> Oracle:
    """Return what the run's graphs mean on its held-out rows, at most 1,000 of them."""
    from ..data import load_dataset
    from ..engines.verify import Oracle

    rows = load_dataset(run).rows("test")[0]
    return Oracle(rows[np.linspace(0, len(rows) - 1, min(len(rows), _VERIFY_ROWS)).astype(int)], graphs(run)["fp32"])


def _work(
    run: RunFolder, config: RunConfig, progress: StageProgress, parts: list[str]
) -> Iterator[tuple[str, list[Path], dict[str, Any]]]:
    from ..data import load_dataset
    from ..engines import get_backend
    from ..engines.engine import build_engine

    if config.build.header and "native" not in config.build.backend:
        raise UserError(
            f"a header ('{config.build.header}') is made from a native engine, and the back end is {', '.join(config.build.backend)}.",
            "Add native to --backend, or give --header none.",
        )
    # Find the engines that can be built first: a refusal must not leave half a set behind.
    backends = {name: get_backend(name) for name in dict.fromkeys(part.partition(".")[0] for part in parts)}
    for backend in backends.values():
        backend.require()
    table = load_dataset(run).table
    names = {"feature_names": table.feature_names, "target_names": table.target_names}
    oracle, graph_of = oracle_of(run), graphs(run)
    left_out: list[str] = []
    for part in parts:
        name, _, precision = part.partition(".")
        # A back end that supports only some precisions reports which of the run's graphs it leaves out.
        reason = backends[name].refuses(graph_of[precision]) if hasattr(backends[name], "refuses") else None
        folder = run.file("engines", part)
        options = config.build.options(name)
        if name == "tensorrt":
            options["timing_cache"] = str(run.file("timing.cache"))  # speeds up later builds, no effect on results
        if reason is None:
            try:
                manifest, note = build_engine(Graph(graph_of[precision], **names), name, folder, options, oracle)
            except GraphError as error:
                reason = error.cause.removeprefix(f"{folder.name}: ")
        if reason is not None:
            left_out.append(f"{part}: {reason}")
            if len(left_out) == len(_parts(run, config)):
                raise GraphError(
                    f"no engine could be built: {'; '.join(left_out)}.",
                    "Choose another back end, for example 'onnxruntime'.",
                )
            yield part, [], {"left_out": left_out[-1]}
            continue
        engine = {
            "engine": folder.name,
            "bytes": manifest.size_bytes,
            "seconds": manifest.seconds,
            "answers as its graph": "yes" if manifest.verified else "not run here",
        }
        summary = {"engine": engine, **({"repaired": note} if note else {})}
        if options.get("header"):
            summary["header"] = f"{folder.name}: C header {run.relative(folder / (options['header'] + '.h'))}"
        yield part, [folder], summary


def _summary(run: RunFolder, config: RunConfig, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    summary: dict[str, Any] = {"engines": [one["engine"] for one in parts.values() if "engine" in one]}
    for key, several in (("left_out", "left_out"), ("header", "headers"), ("repaired", "repaired")):
        found = [one[key] for one in parts.values() if key in one]
        if found:
            summary[several] = found
    return summary


STAGE = Stage(
    "build", "build", ("export",), parts=Parts(_parts, _inputs, _work, _summary), uses=("quantize",), machine_bound=True
)
