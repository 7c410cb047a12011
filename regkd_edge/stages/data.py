"""Stage ``data``: the table and its split, copied into the run in raw units, so that later stages need no source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import api
from ..config import RunConfig
from ..data import BUNDLED, prepare, save_dataset, split
from ..errors import DataError
from ..run import RunFolder
from . import Stage, StageProgress, external_hash
from .distill import described_files
from .teacher import teacher_files

__all__ = ["STAGE"]


def _source(config: RunConfig) -> str | None:
    """Return None: a student without data needs no table; its reports use the described inputs."""
    if config.data.data is None and not _without(config):
        raise DataError("no data given.", f"Add --data FILE --target NAME, or --data {' or --data '.join(BUNDLED)}.")
    return config.data.data


def _without(config: RunConfig) -> bool:
    return config.distill.no_data and config.teacher.brought


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    source = _source(config)
    if source is None:
        return _described(run, config)
    content = source if source in BUNDLED else external_hash(run, "data", source)
    beside = {"test": config.data.test_data, "labels": config.data.labels, "test_labels": config.data.test_labels}
    return {
        "content": content,
        "data": config.data.model_dump(mode="json", exclude={"data", "test_data", "labels", "test_labels"}),
        "seed": config.seed,
        **{name: external_hash(run, "data", path) for name, path in beside.items() if path},
    }


def _described(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    """Return what decides a table that is drawn from a description of the inputs."""
    files = [external_hash(run, "data", path) for path in (*described_files(config), *teacher_files(config))]
    teacher, about = (
        config.teacher.model_dump(mode="json", include={"factory", "units", "output"}),
        config.distill.describe == "standard",
    )
    shares = config.data.model_dump(mode="json", include={"validation", "test"})
    return {"described": files, "standard": about, "teacher": teacher, "data": shares, "seed": config.seed}


def _work(run: RunFolder, config: RunConfig, progress: StageProgress) -> tuple[list[Path], dict[str, Any]]:
    source = _source(config)
    if source is None:
        from ..models import open_teacher

        table = api.described_rows(open_teacher(config.teacher), config.distill, config.seed, config.data.input_shape)
        files = [*described_files(config), *teacher_files(config)]
        parts = split(len(table.x), config.data.validation, config.data.test, config.seed)
    else:
        table, parts = prepare(config.data, config.seed, run.path)
        named = (source, config.data.test_data, config.data.labels, config.data.test_labels)
        files = [path for path in named if path and path not in BUNDLED]
    paths = save_dataset(run, table, parts)
    return paths, {
        "source": str(table.source),
        "rows": len(table.x),
        "train": len(parts.train),
        "validation": len(parts.validation),
        "test": len(parts.test),
        "features": len(table.feature_names),
        **({} if table.input_shape is None else {"input_shape": list(table.input_shape)}),
        "targets": list(table.target_names),
        "warnings": list(table.warnings),
        "external": {path: external_hash(run, "data", path) for path in files},
    }


STAGE = Stage("data", "train-teacher", (), _inputs, _work)
