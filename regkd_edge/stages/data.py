"""Stage ``data``: the table and its split, copied into the run in raw units, so that later stages need no source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import RunConfig
from ..data import BUNDLED, load_table, save_dataset, split
from ..errors import DataError
from ..run import RunFolder
from . import Progress, Stage, external_hash

__all__ = ["STAGE"]


def _source(config: RunConfig) -> str:
    if config.data.source is None:
        raise DataError("no data given.", f"Add --data FILE --target NAME, or --data {' or --data '.join(BUNDLED)}.")
    return config.data.source


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    source = _source(config)
    content = source if source in BUNDLED else external_hash(run, "data", source)
    return {"content": content, "data": config.data.model_dump(mode="json", exclude={"source"}), "seed": config.seed}


def _work(run: RunFolder, config: RunConfig, progress: Progress) -> tuple[list[Path], dict[str, Any]]:
    source = _source(config)
    table = load_table(source, config.data.target)
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
        "external": {} if source in BUNDLED else {source: external_hash(run, "data", source)},
    }


STAGE = Stage("data", "train-teacher", (), _inputs, _work)
