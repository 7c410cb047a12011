"""Stage ``build``: an engine for each graph and back end, built on the machine that will run it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from .. import api
from ..config import RunConfig
from ..data import load_dataset
from ..errors import GraphError
from ..graph.file import Graph
from ..io import consent
from ..run import RunFolder
from . import Parts, Stage, StageProgress

__all__ = ["STAGE", "graphs", "held_out"]

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


def held_out(run: RunFolder) -> np.ndarray:  # [n, d]
    """Return at most 1,000 held-out rows, on which engines are compared with their graphs."""
    rows = load_dataset(run).rows("test")[0]
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), _VERIFY_ROWS)).astype(int)]


def _work(
    run: RunFolder, config: RunConfig, progress: StageProgress, parts: list[str]
) -> Iterator[tuple[str, list[Path], dict[str, Any]]]:
    # Find the engines that can be built first: a refusal must not leave half a set behind.
    for name in dict.fromkeys(part.partition(".")[0] for part in parts):
        api.require_backend(name)
    table = load_dataset(run).table
    names = {"feature_names": table.feature_names, "target_names": table.target_names}
    rows, graph_of = held_out(run), graphs(run)
    left_out: list[str] = []
    for part in parts:
        name, _, precision = part.partition(".")
        folder, reason = run.file("engines", part), None
        # A cache speeds up later builds and has no effect on results.
        cache = {"timing_cache": str(run.file("timing.cache"))} if name == "tensorrt" else {}
        try:
            engine = api.build(
                Graph(graph_of[precision], **names),
                name,
                path=folder,
                check=rows,
                fp32=graph_of["fp32"],
                config=config.build,
                **cache,
            )
        except GraphError as error:  # a back end that supports only some precisions leaves the others out
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
        if engine.manifest.options.get("version_compatible"):
            consent.allow(
                consent.file_key(folder / engine.manifest.engine), str(folder)
            )  # built here, from the user's graph
        record = {
            "engine": folder.name,
            "size_bytes": engine.manifest.size_bytes,
            "seconds": engine.manifest.seconds,
            "answers_as_graph": "yes" if engine.manifest.verified else "not run here",
        }
        summary: dict[str, Any] = {"engine": record, **({"repaired": engine.note} if engine.note else {})}
        if name == "native" and config.build.c_header:
            summary["header"] = f"{folder.name}: C header {run.relative(folder / (config.build.c_header + '.h'))}"
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
