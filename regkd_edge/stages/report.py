"""Stage ``report``: one HTML page and one JSON file with everything measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..io.files import digest
from ..run import RunFolder
from . import Stage, StageProgress

__all__ = ["STAGE"]


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    graphs = ((run.record("quantize") or {}).get("summary") or {}).get("graphs")
    # A graph whose layers are ranked later is the same graph, and bench measures the same.
    ranked = {
        str(graph.get("precision")): digest(graph["sensitivity"])
        for graph in (graphs if isinstance(graphs, list) else ())
        if isinstance(graph, dict) and graph.get("sensitivity")
    }
    return {
        "allow": config.bench.allow,
        **({"ranked": ranked} if ranked else {}),
        **({"log": config.log} if config.log else {}),
    }


def _work(run: RunFolder, config: RunConfig, progress: StageProgress) -> tuple[list[Path], dict[str, Any]]:
    from ..report import collect, write_report
    from ..trackers import log_run, require_trackers

    require_trackers(config.log)  # before anything is written
    report = collect(run)
    paths = write_report(run, report)
    return paths, {"recommended": report.recommended, "logged": log_run(run, report, config.log)}


STAGE = Stage("report", "report", ("bench",), _inputs, _work)
