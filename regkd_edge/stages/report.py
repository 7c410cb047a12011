"""Stage ``report``: one HTML page and one JSON file with everything measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..run import RunFolder
from . import Stage, StageProgress

__all__ = ["STAGE"]


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    return {"allow": config.bench.allow, **({"log": config.log} if config.log else {})}


def _work(run: RunFolder, config: RunConfig, progress: StageProgress) -> tuple[list[Path], dict[str, Any]]:
    from ..report import collect, write_report
    from ..trackers import log_run, require_trackers

    require_trackers(config.log)  # before anything is written
    report = collect(run)
    paths = write_report(run, report)
    return paths, {"recommended": report.recommended, "logged": log_run(run, report, config.log)}


STAGE = Stage("report", "report", ("bench",), _inputs, _work)
