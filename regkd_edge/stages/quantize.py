"""Stage ``quantize``: the exported graph in the requested precisions, each checked against the FP32 graph."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import api
from ..config import RunConfig
from ..data import load_dataset, subset
from ..graph.file import Graph
from ..run import RunFolder
from ..run.consented import require_student
from . import Parts, Stage, StageProgress, external_hash

__all__ = ["STAGE"]


def _parts(run: RunFolder, config: RunConfig) -> list[str]:
    return list(dict.fromkeys(config.quantize.precision))


def _inputs(run: RunFolder, config: RunConfig, part: str) -> dict[str, Any] | None:
    """Everything that decides the graph of one precision, or of the search that ``auto`` stands for."""
    section = config.quantize
    graph = {
        "part": part,
        "platform": section.platform,
        "graph": run.outputs_hash("export"),
        "data": run.outputs_hash("data"),
    }
    if part == "fp16":
        return graph
    inputs = {
        **graph,
        "quantize": section.model_dump(mode="json", exclude={"precision"}),
        "auto": part != "auto" and "auto" in section.precision,
        # A graph that stays in the higher precision throughout is then not kept under two names.
        "high": section.high in section.precision if section.max_increase is not None or part == "auto" else None,
        "fraction": config.distill.fraction,
        "no_data": config.distill.no_data,
        "seed": config.seed,
        "student": run.outputs_hash("distill"),
    }
    if _description(config):
        inputs["described"] = external_hash(run, "quantize", _description(config))
    if section.qat:
        inputs["distill"] = config.distill.model_dump(mode="json")
        inputs["teacher"] = run.outputs_hash("teacher")
    return inputs


def _description(config: RunConfig) -> str | None:
    return config.quantize.describe  # the description given to distill is stored with the student


def _renamed(run: RunFolder, graph: Graph, wanted: list[str]) -> Graph | None:
    """Return a graph without a layer in the requested precision, under the name of what it is, or None if the run has a
    graph of that precision anyway."""
    label = graph.precision
    if label in wanted or label == "fp32":
        graph.path.unlink()
        return None
    renamed = run.file("onnx", f"student.{label}.onnx")
    os.replace(graph.path, renamed)
    return Graph(renamed, {**graph.summary, "target": renamed.name})


def _work(
    run: RunFolder, config: RunConfig, progress: StageProgress, parts: list[str]
) -> Iterator[tuple[str, list[Path], dict[str, Any]]]:
    from ..models import Student, teacher_for

    require_student(config)
    section, unseen = config.quantize, config.distill.no_data
    source = run.file("onnx", "student.fp32.onnx")
    wanted = list(dict.fromkeys("int8" if precision == "auto" else precision for precision in section.precision))
    dataset = load_dataset(run)
    split = subset(dataset.split, config.distill.fraction, config.seed)
    # Without data the teacher answers synthetic rows in their place.
    seen = None if unseen else (dataset.x[split.train], dataset.y[split.train])
    judges = None if unseen else (dataset.x[split.validation], dataset.y[split.validation])
    asked = section.qat or (unseen and section.increase is not None)
    for part in parts:
        precision = "int8" if part == "auto" else part
        graph: Graph | None = api.quantize(
            source,
            precision,
            path=run.file("onnx", f"student.{precision}.onnx"),
            calibrate=None if seen is None else seen[0],
            validation=judges,
            check=dataset.rows("validation")[0],
            student=Student.load(run.file("student"), factory=config.distill.student),
            teacher=teacher_for(config.teacher, dataset, run.file("teacher")) if asked else None,
            train=seen,
            qat_batch=config.distill.batch,
            seed=config.seed,
            config=section,
        )
        notes = graph.summary["notes"]
        if precision not in graph.precision.split("+") and graph.precision not in ("mixed", precision):
            graph = _renamed(run, graph, wanted)
        if graph is None:
            yield part, [], {"left_out": f"{precision}: {notes[-1]}"}
        else:
            record = {**graph.summary, "source": run.relative(source), "target": run.relative(graph.path)}
            yield part, [graph.path], {"graph": record}


def _summary(run: RunFolder, config: RunConfig, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    described = _description(config)
    left_out = [one["left_out"] for one in parts.values() if "left_out" in one]
    return {
        "graphs": [one["graph"] for one in parts.values() if "graph" in one],
        "external": {described: external_hash(run, "quantize", described)} if described else {},
        **({"left_out": left_out} if left_out else {}),
    }


STAGE = Stage("quantize", "quantize", ("data", "distill", "export"), parts=Parts(_parts, _inputs, _work, _summary))
