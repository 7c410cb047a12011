"""One engine file, measured: its accuracy on held-out rows, its latency, and the machine it ran on, in one record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..engines import load_engine
from ..engines.base import Runner, load_checked
from ..errors import DataError
from ..run import RunFolder, write_atomic, write_json
from .accuracy import accuracy, compare
from .latency import latency
from .machine import machine_state

__all__ = ["bench_engine", "predict"]

_CHUNK = 256


def bench_engine(
    run: RunFolder,
    folder: str | Path,
    x: np.ndarray,  # [n, d] raw units
    y: np.ndarray | None,  # [n, o] raw units
    *,
    teacher: np.ndarray | None = None,  # [n, o]
    reference: np.ndarray | None = None,  # [n, o]
    target_names: Sequence[str] | None = None,
    batches: Sequence[int] = (1, 64),
    samples: int = 3000,
    warmup: int = 300,
    threads: int | None = None,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run the engine of ``folder`` on held-out rows and time it.

    Parameters
    ----------
    run : RunFolder
        Gets ``bench/<name of folder>.json`` and ``.npz``.
    folder : path
        An engine folder; the file whose hash the manifest holds is the one that is measured.
    x, y, teacher, reference
        Held-out inputs; labels (None without any); the teacher's answers; the FP32 student's answers to compare with.
    batches, samples, warmup, threads
        As in ``BenchConfig``. A batch that the engine was not built for is left out, and the record says so.
    progress : callable, optional
        Told what is being done, for a progress line.

    Returns
    -------
    dict
        ``name``, ``backend``, ``precision``, ``executed``, ``engine`` (hashes, size), ``accuracy`` (against labels),
        ``against_teacher``, ``against_fp32`` (see :func:`compare`; without labels compared on the teacher's answers),
        ``latency`` (one record a batch size), ``skipped``, ``machine`` and ``machine_after``, ``measured`` (UTC).
        The files written are under ``outputs``, which is not in the file.

    Raises
    ------
    DataError
        Neither labels nor a teacher to be measured against, or shapes that do not fit.
    RunFolderError, NotAvailable
        As :func:`regkd_edge.engines.load_engine`.
    """
    if y is None and teacher is None:
        raise DataError("there are neither labels nor teacher's answers for the held-out rows.", "Give one of them: an engine without either has no accuracy.")
    rows = np.ascontiguousarray(x, dtype=np.float32)
    say = progress or (lambda text: None)
    name = Path(folder).name
    before = machine_state()
    with load_engine(folder, threads) as runner:
        manifest = runner.manifest
        say(f"{name}: {len(rows)} held-out rows")
        predictions = predict(runner, rows)
        timings, raw, skipped = [], {}, []
        for batch in batches:
            refusal = _refuses(manifest, batch)
            if refusal:
                skipped.append({"batch": batch, "reason": refusal})
                continue
            say(f"{name}: batch {batch}, {samples} requests")
            record, taken = latency(runner.infer, rows, batch, samples, warmup)
            timings.append(record)
            raw[f"latency_ns_batch_{batch}"] = taken
    truth = y if y is not None else teacher
    used = threads or manifest.options.get("threads")
    record = {
        "format": 1,
        "name": name,
        "backend": manifest.backend,
        "precision": manifest.precision,
        "executed": manifest.executed,
        "engine": {
            "file": manifest.engine,
            "sha256": manifest.engine_sha256,
            "size_bytes": manifest.size_bytes,
            "source": manifest.source,
            "source_sha256": manifest.source_sha256,
            "built": manifest.built,
            "versions": manifest.versions,
            "options": manifest.options,
            "notes": manifest.notes,
        },
        "accuracy": None if y is None else accuracy(y, predictions, target_names),
        "against_teacher": None if teacher is None else accuracy(teacher, predictions, target_names),
        "against_fp32": None if reference is None else {**compare(truth, predictions, reference), "judged_by": "labels" if y is not None else "teacher"},
        "threads": used,
        "latency": timings,
        "skipped": skipped,
        "machine": before,
        "machine_after": {k: v for k, v in machine_state().items() if before.get(k) != v},
        "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    # The file could have been replaced while it was timed; then the figures would be another file's.
    load_checked(folder, manifest.backend)
    arrays = run.file("bench", f"{name}.npz")
    with write_atomic(arrays) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, predictions=predictions, **raw)
    write_json(run.file("bench", f"{name}.json"), record)
    return {**record, "outputs": [run.file("bench", f"{name}.json"), arrays]}


def predict(
    runner: Runner,
    rows: np.ndarray,  # [n, d] float32
) -> np.ndarray:  # [n, o] float64
    """Answers to all rows, in batches that the engine takes; the last one is filled up from the first rows."""
    manifest = runner.manifest
    size = manifest.batch or min(manifest.max_batch or _CHUNK, _CHUNK, len(rows))
    index = np.arange(-(-len(rows) // size) * size) % len(rows)
    parts = [runner.infer(np.ascontiguousarray(rows[part])) for part in index.reshape(-1, size)]
    return np.concatenate(parts)[: len(rows)].astype(np.float64)


def _refuses(manifest: Any, batch: int) -> str | None:
    if manifest.batch is not None and batch != manifest.batch:
        return f"the engine takes batch {manifest.batch} only"
    if manifest.max_batch is not None and batch > manifest.max_batch:
        return f"the engine takes batches up to {manifest.max_batch}"
    return None
