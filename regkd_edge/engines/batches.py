"""All rows through an engine, in batches that it takes."""

from __future__ import annotations

import numpy as np

from .base import Runner
from .manifest import Manifest

__all__ = ["predict", "shaped"]

_CHUNK = 256


def shaped(rows: np.ndarray, manifest: Manifest) -> np.ndarray:
    """Rows [n, d] in the shape [n, *shape] that an engine takes; nothing is copied."""
    return rows.reshape(len(rows), *manifest.row_shape)


def predict(
    runner: Runner,
    rows: np.ndarray,  # [n, d] float32
) -> np.ndarray:  # [n, o] float64
    """Return outputs for all rows, in batches that the engine supports; the last is padded with the first rows."""
    manifest = runner.manifest
    rows = shaped(rows, manifest)
    size = manifest.batch or min(manifest.max_batch or _CHUNK, _CHUNK, len(rows))
    index = np.arange(-(-len(rows) // size) * size) % len(rows)
    parts = [runner.infer(np.ascontiguousarray(rows[part])) for part in index.reshape(-1, size)]
    return np.concatenate(parts)[: len(rows)].astype(np.float64)
