"""Stage ``data``: the table and its split, copied into the run in raw units, so that later stages need no source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..data import BUNDLED, load_table, save_dataset, split
from ..errors import DataError
from ..run import RunFolder
from . import Progress, Stage, external_hash
from .distill import described_files
from .teacher import teacher_files

__all__ = ["STAGE"]


def _source(config: RunConfig) -> str | None:
    """Return None: a student without data needs no table; its reports use the described inputs."""
    if config.data.source is None and not _without(config):
        raise DataError("no data given.", f"Add --data FILE --target NAME, or --data {' or --data '.join(BUNDLED)}.")
    return config.data.source


def _without(config: RunConfig) -> bool:
    return config.distill.no_data and bool(config.teacher.from_run or config.teacher.factory)


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    source = _source(config)
    if source is None:
        return _described(run, config)
    content = source if source in BUNDLED else external_hash(run, "data", source)
    return {"content": content, "data": config.data.model_dump(mode="json", exclude={"source"}), "seed": config.seed}


def _described(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    """Return what decides a table that is drawn from a description of the inputs."""
    files = [external_hash(run, "data", path) for path in (*described_files(config), *teacher_files(config))]
    teacher, about = (
        config.teacher.model_dump(mode="json", include={"factory", "inputs"}),
        config.distill.describe == "standard",
    )
    shares = config.data.model_dump(mode="json", include={"validation", "test"})
    return {"described": files, "standard": about, "teacher": teacher, "data": shares, "seed": config.seed}


def _work(run: RunFolder, config: RunConfig, progress: Progress) -> tuple[list[Path], dict[str, Any]]:
    source = _source(config)
    if source is None:
        from ..training import described_table

        table, files = described_table(config), [*described_files(config), *teacher_files(config)]
    else:
        about = config.data
        table = load_table(source, about.target, whole=about.whole, categorical=about.categorical)
        files = [] if source in BUNDLED else [source]
    parts = split(len(table.x), config.data.validation, config.data.test, config.seed)
    paths = save_dataset(run, table, parts)
    return paths, {
        "source": str(table.source),
        "rows": len(table.x),
        "train": len(parts.train),
        "validation": len(parts.validation),
        "test": len(parts.test),
        "features": len(table.feature_names),
        "targets": list(table.target_names),
        "warnings": list(table.warnings),
        "external": {path: external_hash(run, "data", path) for path in files},
    }


STAGE = Stage("data", "train-teacher", (), _inputs, _work)
