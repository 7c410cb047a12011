"""Engines of INT8 graphs that were measured to be slower or larger than their back end's FP32 engine, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from ..graph.int8_cost import SAME_SIZE, int8_cost
from .recommend import SAME_SPEED
from .table import figure, size

__all__ = ["slower_than_fp32", "two_parts_of"]

TwoParts = Mapping[str, Mapping[str, Sequence[str]]]


def slower_than_fp32(
    rows: Sequence[Mapping[str, Any]],
    benches: Mapping[str, Mapping[str, Any]],
    two_parts: TwoParts,
    batches: Sequence[int],
) -> list[str]:
    """Return one remark per cause on INT8 engines that are slower than the FP32 engine of their back end at some batch
    size, by more than varies from run to run, or whose file is clearly larger. What is neither is not remarked on.

    Parameters
    ----------
    rows : sequence of dict
        Of a :class:`~regkd_edge.report.Report`.
    benches : mapping
        Engine -> its record, with the back end.
    two_parts : mapping
        Graph -> layer -> what of it is in two INT8 parts: of :func:`two_parts_of`, or of a bundle.
    """
    engines = {row["name"]: row for row in rows if row["kind"] == "engine" and not row.get("failed")}
    exact = {benches[name]["backend"]: row for name, row in engines.items() if row["precision"] == "fp32"}
    said: dict[str, list[str]] = {}
    for name, row in engines.items():
        against = exact.get(benches[name]["backend"])
        if against is None or "int8" not in row["precision"]:
            continue
        found = [
            f"slower (median {figure(row[key], 3)} µs, {figure(against[key], 3)} µs at batch {batch})"
            for batch in batches
            if row.get(key := f"p50_us_b{batch}") and against.get(key) and row[key] > (1 + SAME_SPEED) * against[key]
        ][:1]
        ours, theirs = row["size_bytes"], against["size_bytes"]
        found += (
            [f"larger ({size(ours)}, {size(theirs)})"] if ours and theirs and ours > (1 + SAME_SIZE) * theirs else []
        )
        if found:
            why = int8_cost(two_parts.get(name.partition(".")[2], {}))
            said.setdefault(why, []).append(f"{name} is {' and '.join(found)} than {against['name']}")
    return [f"{'; '.join(engines)}: {why}." for why, engines in said.items()]


def two_parts_of(stages: Mapping[str, Any]) -> dict[str, dict[str, list[str]]]:
    """Return graph -> layer -> what of it is in two INT8 parts (``data``, ``weights``), as the record of the stage
    ``quantize`` says; graphs without such a layer are left out. Of a record that was edited nothing is taken."""
    summary = (stages.get("quantize") or {}).get("summary")
    graphs = summary.get("graphs") if isinstance(summary, dict) else None
    found = {}
    for graph in graphs if isinstance(graphs, list) else ():
        layers = graph.get("two_parts") if isinstance(graph, dict) else None
        if isinstance(layers, dict) and layers:
            name = PurePosixPath(str(graph.get("target"))).name.removeprefix("student.").removesuffix(".onnx")
            found[name] = {str(one): [str(part) for part in what] for one, what in layers.items()
                           if isinstance(what, list)}  # fmt: skip
    return found
