"""Stage ``report``: one HTML page and one JSON file with everything measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..io.files import digest
from ..run import RunFolder
from . import Stage, StageProgress

__all__ = ["STAGE"]

_TOLD = ("teacher", "distill", "quantize", "build")  # what they say is on the page: remarks, race, errors by layer


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    told = {stage: _timeless((run.record(stage) or {}).get("summary")) for stage in _TOLD}
    return {"allow": config.bench.allow, "told": digest(told), **({"log": config.log} if config.log else {})}


def _timeless(found: Any) -> Any:
    """What a stage has kept, without the seconds that it took."""
    if isinstance(found, dict):
        return {key: _timeless(value) for key, value in found.items() if key != "seconds"}
    return [_timeless(value) for value in found] if isinstance(found, list) else found


def _work(run: RunFolder, config: RunConfig, progress: StageProgress) -> tuple[list[Path], dict[str, Any]]:
    from ..report import collect, write_report
    from ..trackers import log_run, require_trackers

    require_trackers(config.log)  # before anything is written
    report = collect(run)
    paths = write_report(run, report)
    return paths, {"recommended": report.recommended, "logged": log_run(run, report, config.log)}


STAGE = Stage("report", "report", ("bench",), _inputs, _work)
