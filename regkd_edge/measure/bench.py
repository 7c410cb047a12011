"""Benchmark of engine files: accuracy on held-out rows, latency, and the machine, in one record per engine."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..engines import get_backend, load_runner, read_manifest
from ..engines.base import Runner
from ..engines.batches import predict, shaped
from ..engines.manifest import Manifest, load_checked
from ..errors import DataError
from .accuracy import accuracy, compare
from .latency import latencies, latency, percentiles
from .machine import machine_state

__all__ = ["Measurement", "measure_engines"]


@dataclass(frozen=True, eq=False)
class Measurement:
    """What was measured of one engine.

    Attributes
    ----------
    record : dict
        JSON-able; see :func:`measure_engines`.
    predictions : float64 [n, o]
        Its answers to the held-out rows, raw units.
    raw : dict of str to int64 [samples]
        Nanoseconds of each request, per batch size and setting.
    """

    record: dict[str, Any]
    predictions: np.ndarray
    raw: dict[str, np.ndarray]


def measure_engines(
    folders: Sequence[str | Path],
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
    sweep: bool = False,
    run_code_of_plan: bool = False,
    progress: Callable[[str], None] | None = None,
) -> list[Measurement]:
    """Run engines on held-out rows and time them in turns, so that background load affects all alike.

    Parameters
    ----------
    folders : paths
        Engine folders; the measured file is the one whose hash is in the manifest.
    x, y, teacher, reference
        Held-out inputs; labels (None without any); the teacher's answers; the FP32 student's answers to compare with.
    batches, samples, warmup, threads
        As in ``BenchConfig``. A batch that an engine was not built for is skipped, and its record says so.
    sweep : bool
        Also time other settings of each engine, afterwards: threads and spinning of ONNX Runtime, a CUDA graph.
    run_code_of_plan : bool
        Load version-compatible TensorRT plans; loading runs code from them.
    progress : callable, optional
        Called with the current activity, for a progress line.

    Returns
    -------
    list of Measurement, one per engine
        Each with its ``record``: ``name``, ``backend``, ``precision``, ``executed``, ``engine`` (hashes, size),
        ``accuracy`` (against labels), ``against_teacher``, ``against_fp32`` (see :func:`compare`; without labels
        compared on the teacher's answers), ``latency`` (one record per batch size; with ``gpu``, the time on the GPU's
        own clock, and ``cpp``, that of a request in a loop in C++, where the back end has them), ``settings`` (the same
        for other settings, by name), ``timed_with`` (the engines it took turns with), ``skipped``, ``machine``
        and ``machine_after``, ``measured`` (UTC).

    Raises
    ------
    DataError
        Neither labels nor a teacher to compare with, or shapes that do not fit.
    RunFolderError, NotAvailable
        As :func:`regkd_edge.engines.load_runner`.
    """
    if y is None and teacher is None:
        raise DataError(
            "the held-out rows have neither labels nor teacher's answers.",
            "Give one of them: accuracy needs a reference.",
        )
    rows = np.ascontiguousarray(x, dtype=np.float32)
    say = progress or (lambda text: None)
    before = machine_state()
    with contextlib.ExitStack() as stack:
        measured = []
        for folder in folders:
            trusted = (
                {"run_code_of_plan": True}
                if run_code_of_plan and read_manifest(folder).options.get("version_compatible")
                else {}
            )
            one = _Measured(
                Path(folder).name, stack.enter_context(load_runner(folder, threads, **trusted)), Path(folder), trusted
            )
            measured.append(one)
        for one in measured:
            say(f"{one.name}: {len(rows)} held-out rows")
            one.predictions = predict(one.runner, rows)
        for batch in batches:
            timed = [one for one in measured if one.takes(batch)]
            if timed:
                say(f"batch {batch}: {samples:,} requests to {', '.join(one.name for one in timed)}")
                for one, (record, raw) in zip(
                    timed,
                    latencies(
                        [one.runner.infer for one in timed],
                        [shaped(rows, one.manifest) for one in timed],
                        batch,
                        samples,
                        warmup,
                    ),
                ):
                    one.keep("", one.runner, record, raw, rows)
    settings = [found for one in measured for found in _settings(one, threads)] if sweep else []
    for number, (one, setting, options) in enumerate(settings, 1):
        say(f"setting {number} of {len(settings)}: {one.name} with {setting}")
        _time_setting(one, setting, options, rows, warmup)
    after = {key: value for key, value in machine_state().items() if before.get(key) != value}
    for folder, one in zip(folders, measured):
        load_checked(
            folder, one.manifest.backend
        )  # if it was replaced during timing, the figures would be for another file
    names = [one.name for one in measured]
    records = []
    for one in measured:
        engine = {
            key: getattr(one.manifest, key)
            for key in ("size_bytes", "source", "source_sha256", "built", "versions", "options", "notes")
        }
        record = {
            "format": 1,
            "name": one.name,
            "backend": one.manifest.backend,
            "precision": one.manifest.precision,
            "executed": one.manifest.executed,
            "engine": {"file": one.manifest.engine, "sha256": one.manifest.engine_sha256, **engine},
            "accuracy": None if y is None else accuracy(y, one.predictions, target_names),
            "against_teacher": None if teacher is None else accuracy(teacher, one.predictions, target_names),
            "against_fp32": None,
            "threads": threads or one.manifest.options.get("threads"),
            "latency": one.timings,
            "settings": one.settings,
            "timed_with": [name for name in names if name != one.name],
            "skipped": one.skipped,
            "machine": before,
            "machine_after": after,
            "measured": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        if reference is not None:
            record["against_fp32"] = {
                **compare(teacher if y is None else y, one.predictions, reference, target_names=target_names),
                "judged_by": "teacher" if y is None else "labels",
            }
        records.append(Measurement(record, one.predictions, one.raw))
    return records


@dataclass
class _Measured:
    """Measurements of one engine while it is loaded."""

    name: str
    runner: Runner
    folder: Path
    trusted: dict[str, bool]  # permissions of the user that loading it needs
    predictions: Any = None
    timings: list[dict[str, Any]] = field(default_factory=list)
    raw: dict[str, np.ndarray] = field(default_factory=dict)
    skipped: list[dict[str, Any]] = field(default_factory=list)
    settings: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def keep(self, setting: str, runner: Runner, record: dict[str, Any], raw: np.ndarray, rows: np.ndarray) -> None:
        """Store a timing under the engine's own setting ("") or another, with the GPU's own time and that of a loop in
        C++ where the back end has them."""
        batch = record["batch"]
        (self.settings.setdefault(setting, []) if setting else self.timings).append(record)
        self.raw[_key("latency", batch, setting)] = raw
        if hasattr(runner, "gpu_nanoseconds"):
            record["gpu"], self.raw[_key("gpu", batch, setting)] = _gpu_times(runner, rows, batch, len(raw))
        if hasattr(runner, "cpp_nanoseconds"):
            own = runner.cpp_nanoseconds(rows, batch, len(raw), record["warmup"])
            record["cpp"], self.raw[_key("cpp", batch, setting)] = {"samples": len(own), **percentiles(own)}, own

    @property
    def manifest(self) -> Manifest:
        return self.runner.manifest

    def takes(self, batch: int) -> bool:
        """Return whether the engine supports a batch size; record the reason if not."""
        if self.manifest.batch is not None and batch != self.manifest.batch:
            wider = "; build with --profile 1,1,64 for larger ones" if "min_batch" in self.manifest.options else ""
            reason = f"the engine takes batch {self.manifest.batch} only{wider}"
            self.skipped.append({"batch": batch, "reason": reason})
            return False
        if self.manifest.max_batch is not None and batch > self.manifest.max_batch:
            self.skipped.append({"batch": batch, "reason": f"the engine takes batches up to {self.manifest.max_batch}"})
            return False
        return True


def _key(what: str, batch: int, setting: str) -> str:
    """Return the name of an array of raw nanoseconds in the .npz."""
    return "_".join([f"{what}_ns_batch_{batch}", *re.findall(r"[a-z0-9]+", setting.lower())])


def _settings(one: _Measured, threads: int | None) -> list[tuple[_Measured, str, dict[str, Any]]]:
    """Return the other settings of an engine, with the options to load it; the one that was timed is left out."""
    backend = get_backend(one.manifest.backend)
    used = threads or one.manifest.options.get("threads")
    others = backend.variants(one.manifest) if hasattr(backend, "variants") else {}
    loaded = {setting: {"threads": threads, **one.trusted, **options} for setting, options in others.items()}
    return [(one, setting, options) for setting, options in loaded.items() if options != {"threads": used}]


def _time_setting(one: _Measured, setting: str, options: dict[str, Any], rows: np.ndarray, warmup: int) -> None:
    """Time another setting of an engine, after the engines' own timings.

    They are not timed in turns: threads of a pool keep spinning after a request and would slow down the next engine.
    """
    with load_runner(one.folder, **options) as runner:
        for timing in one.timings:
            own = shaped(rows, one.manifest)
            record, raw = latency(runner.infer, own, timing["batch"], timing["samples"], warmup)
            one.keep(setting, runner, record, raw, rows)


def _gpu_times(runner: Any, rows: np.ndarray, batch: int, samples: int) -> tuple[dict[str, Any], np.ndarray]:
    """Return the GPU time of single requests, one after the other: percentiles and nanoseconds [samples]."""
    index = np.arange(batch * min(256, len(rows))) % len(rows)
    requests = [np.ascontiguousarray(rows[part]) for part in index.reshape(-1, batch)]
    raw = np.array([runner.gpu_nanoseconds(requests[i % len(requests)]) for i in range(samples)])
    return {"samples": samples, **percentiles(raw)}, raw
