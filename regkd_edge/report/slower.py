"""Engines of INT8 graphs that were measured to be slower or larger than their back end's FP32 engine, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..graph.int8_cost import SAME_SIZE, int8_cost
from .recommend import SAME_SPEED
from .table import size

__all__ = ["slower_than_fp32"]


def slower_than_fp32(
    rows: Sequence[Mapping[str, Any]],
    benches: Mapping[str, Mapping[str, Any]],
    stages: Mapping[str, Any],
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
    stages : mapping
        The run's state: the record of ``quantize`` says which layers have INT8 numbers in two parts.
    """
    engines = {row["name"]: row for row in rows if row["kind"] == "engine" and not row.get("failed")}
    exact = {benches[name]["backend"]: row for name, row in engines.items() if row["precision"] == "fp32"}
    said: dict[str, list[str]] = {}
    for name, row in engines.items():
        against = exact.get(benches[name]["backend"])
        if against is None or "int8" not in row["precision"]:
            continue
        found = [
            f"slower (median {row[key]:.3g} µs, {against[key]:.3g} µs at batch {batch})"
            for batch in batches
            if row.get(key := f"p50_us_b{batch}") and against.get(key) and row[key] > (1 + SAME_SPEED) * against[key]
        ][:1]
        ours, theirs = row["size_bytes"], against["size_bytes"]
        found += (
            [f"larger ({size(ours)}, {size(theirs)})"] if ours and theirs and ours > (1 + SAME_SIZE) * theirs else []
        )
        if found:
            why = int8_cost(_two_parts(stages, row["precision"]))
            said.setdefault(why, []).append(f"{name} is {' and '.join(found)} than {against['name']}")
    return [f"{'; '.join(engines)}: {why}." for why, engines in said.items()]


def _two_parts(stages: Mapping[str, Any], precision: str) -> dict[str, list[str]]:
    """What the graph of a precision has in two INT8 parts, as far as the record of the run says so."""
    summary = (stages.get("quantize") or {}).get("summary")
    graphs = summary.get("graphs") if isinstance(summary, dict) else None
    for graph in graphs if isinstance(graphs, list) else ():
        found = graph.get("two_parts") if isinstance(graph, dict) and graph.get("precision") == precision else None
        if isinstance(found, dict):
            return {str(name): [str(one) for one in what] for name, what in found.items() if isinstance(what, list)}
    return {}
