"""Results in a run folder: models, engines, their figures on the held-out rows, how they were made.

Reads JSON and NPZ only, so it works without torch. A part that has not been made yet is a missing line; a part
that is damaged is an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..config.budget import allowances
from ..data import Dataset, load_dataset, load_predictions
from ..engines import read_manifest
from ..errors import RunFolderError
from ..io.arrays import read_npz
from ..io.command import command_line
from ..io.names import inside
from ..io.reading import read_json_object
from ..measure.accuracy import POOLED
from ..run import RunFolder
from . import notes as notes_of
from .evidence import Evidence, evidence_of
from .failed import failed_engines, is_failure
from .recommend import recommend
from .rows import rows_of
from .schema import check_bench, check_card, check_deployed
from .slower import slower_than_fp32, two_parts_of

__all__ = ["Report", "collect"]


@dataclass
class Report:
    """The result of :func:`collect`.

    Attributes
    ----------
    name : str
        Name of the run folder.
    rows : list of dict
        One line of the table each, all with the same keys: ``name``, ``kind`` ("model" | "engine"), ``what``,
        ``precision``, ``parameters``, ``size_bytes``; ``failed``, what the comparison with its graph found where an
        engine does not answer as that (None elsewhere); ``targets``, the error of each target in its own unit (see
        :func:`~regkd_edge.report.rows.error_figures`); ``passed`` (all allowances kept, None without any); then the
        pooled ``rmse`` with its ``unit``, ``delta`` (relative to the FP32 student's RMSE) with its 95 % interval
        ``delta_low`` .. ``delta_high``, ``mae``, ``r2``, ``max_error``, ``teacher_rmse`` (RMSE against the teacher's
        answers); then ``samples``, and for each batch size B ``p50_us_bB`` and ``p99_us_bB`` of a call from Python, in
        microseconds, and ``cpp_p50_us_bB`` and ``cpp_p99_us_bB`` of a request in a loop in C++. None where something
        was not measured.
    recommended : dict or None
        ``name``, ``why`` and ``rule``.
    failed : dict
        Engine -> reason, for those that do not answer as their graph; they need not have a row.
    unit : str
        Unit of the pooled figures: the target's name, or "standard deviations" with several targets.
    allowed : dict
        Target -> largest RMSE allowed, where a budget was given.
    batches : list of int
        Batch sizes that were timed, ascending.
    notes : list of str
        Remarks for the reader: engines left out, batches skipped, kernels of another precision.
    dashes : list of str
        The notes that explain why a figure of a row is missing.
    slower : list of str
        The notes on INT8 engines that are slower or larger than FP32.
    facts : dict
        ``data``, ``config``, ``stages``, ``benches`` (the records of bench/*.json): how it was made.
    truth, inputs, feature_names, predictions, latencies
        For the plots: y [n, o] and x [n, d] of the held-out rows; name -> [n, o]; name -> batch -> nanoseconds
        [samples].
    evidence : Evidence
        Training curves, the race, layer errors, memory, files.
    """

    name: str
    rows: list[dict[str, Any]]
    recommended: dict[str, Any] | None
    failed: dict[str, str]
    unit: str
    batches: list[int]
    notes: list[str]
    facts: dict[str, Any]
    truth: np.ndarray
    target_names: list[str]
    predictions: dict[str, np.ndarray] = field(default_factory=dict)
    latencies: dict[str, dict[int, np.ndarray]] = field(default_factory=dict)
    dashes: list[str] = field(default_factory=list)
    slower: list[str] = field(default_factory=list)
    allowed: dict[str, float] = field(default_factory=dict)
    inputs: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))
    feature_names: list[str] = field(default_factory=list)
    evidence: Evidence = field(default_factory=Evidence)


def collect(run: RunFolder) -> Report:
    """Read a run folder.

    Raises
    ------
    RunFolderError
        No data in the run yet, or a damaged file; the message names it.
    """
    dataset = load_dataset(run)
    config = run.config().model_dump(mode="json")
    inputs, truth = dataset.rows("test")
    stages = run.state()
    models = _models(run, dataset)
    predictions = {name: model["predictions"] for name, model in models.items()}
    notes: list[str] = []
    deployed, verified = _deployed(run), {}
    benches, latencies = _benches(run, dataset, predictions, notes, verified)
    failed = failed_engines(stages, deployed, verified)
    dashes = notes_of.too_few(benches)
    notes += [
        *dashes,
        *dataset.table.warnings,
        *notes_of.deployed(deployed),
        *(f"Not built: {line}." for line in _left_out(stages) if not is_failure(line)),
    ]
    batches = sorted({timing["batch"] for bench in benches.values() for timing in bench["latency"]})
    names = dataset.table.target_names

    allowed = allowances(run.config().bench.allow, names)
    rows = rows_of(models, benches, predictions, truth, names, batches, allowed, failed)
    slower = slower_than_fp32(
        rows, benches, two_parts_of(stages) if deployed is None else deployed.get("two_parts", {}), batches
    )
    return Report(
        name=run.path.resolve().name,
        rows=rows,
        recommended=recommend(rows, batches),
        failed=failed,
        unit=names[0] if len(names) == 1 else POOLED,
        batches=batches,
        notes=[*slower, *notes_of.training_said(stages)[1], *notes],
        slower=slower,
        facts={
            "data": {
                "source": Path(dataset.table.source).name,
                "rows": len(dataset.table),
                "features": dataset.d,
                "targets": names,
                "split": dataset.split.counts(),
                "warnings": dataset.table.warnings,
            },
            "config": config,
            "stages": stages,
            "benches": benches,
        },
        truth=truth,
        target_names=names,
        predictions=predictions,
        latencies=latencies,
        dashes=dashes,
        allowed=allowed,
        inputs=inputs,
        feature_names=dataset.table.feature_names,
        evidence=evidence_of(run, stages, benches),
    )


def _models(run: RunFolder, dataset: Dataset) -> dict[str, dict[str, Any]]:
    found = {}
    for name in ("teacher", "baseline", "student"):
        folder = run.file(name)
        if not (folder / "model.json").is_file() or not (folder / "predictions.npz").is_file():
            continue
        command = "train-teacher" if name == "teacher" else "distill"
        remedy = f"Create it again: {command_line(command, run.path, '--force')}"
        card = read_json_object(folder / "model.json", remedy)
        check_card(card, folder / "model.json", remedy)
        how = "" if name == "teacher" else notes_of.trained_by(card)
        found[name] = {
            "what": (card.get("spec") or card.get("kind") or "network") + (f", {how}" if how else ""),
            "parameters": card.get("parameters"),
            "size_bytes": _size(folder, card),
            "predictions": load_predictions(folder / "predictions.npz", dataset.y.shape)[dataset.split.test],
        }
    return found


def _size(folder: Path, card: dict[str, Any]) -> int | None:  # [bytes]
    """The file that holds a network: its weights, or the copy of the user's file; None where none does."""
    of_a_file = card.get("kind") == "file"
    path = folder / (Path(str(card.get("file"))).name if of_a_file else "model.safetensors")
    if not path.is_file() or not (of_a_file or card.get("parameters")):
        return None
    return path.stat().st_size


def _benches(
    run: RunFolder,
    dataset: Dataset,
    predictions: dict[str, np.ndarray],
    notes: list[str],
    verified: dict[str, dict[str, Any] | None],
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[int, np.ndarray]]]:
    """Return records by engine name; add the engines' predictions, and how they compare with their graphs. Records of
    removed engines are left out."""
    records: dict[str, dict[str, Any]] = {}
    latencies: dict[str, dict[int, np.ndarray]] = {}
    shape = (len(dataset.split.test), dataset.o)
    remedy = f"Measure again: {command_line('bench', run.path, '--force')}"
    for path in sorted(run.file("bench").glob("*.json"), key=_order):
        record = read_json_object(path, remedy)
        check_bench(record, path, remedy)
        name, engine = record["name"], record["engine"]
        manifest = read_manifest(inside(run.file("engines"), name, f"'{path}'", remedy=remedy))
        if manifest.engine_sha256 != engine["sha256"]:
            notes.append(f"{name}: the engine was rebuilt after it was measured; its old figures are left out.")
            continue
        answers, raw = _measured(path.with_suffix(".npz"), [timing["batch"] for timing in record["latency"]], remedy)
        if answers.shape != shape:
            notes.append(
                f"{name}: it was measured on {answers.shape[0]} rows, the run now holds out {shape[0]}; its figures "
                f"are left out."
            )
            continue
        records[name], latencies[name], predictions[name] = record, raw, answers
        verified[name] = manifest.verified
        notes += [f"{name}: {note}." for note in engine.get("notes", [])]
        notes += [
            f"{name}: batch {skip['batch']} was not timed: {skip['reason']}." for skip in record.get("skipped", [])
        ]
        crowded = notes_of.busy(record["machine"])
        if crowded and crowded not in notes:
            notes.insert(0, crowded)
        notes += notes_of.other_settings(name, record)
    return records, latencies


def _measured(path: Path, batches: list[int], remedy: str) -> tuple[np.ndarray, dict[int, np.ndarray]]:
    """An engine's predictions [n, o], and batch -> nanoseconds [samples]."""
    arrays = read_npz(
        path, ("predictions", *(f"latency_ns_batch_{batch}" for batch in batches)), RunFolderError, remedy
    )
    for name, array in arrays.items():
        numbers = np.issubdtype(array.dtype, np.number) and not np.iscomplexobj(array)
        if not numbers or array.ndim != (2 if name == "predictions" else 1) or not array.size:
            raise RunFolderError(f"'{path}' is corrupt: '{name}' is {array.shape} of {array.dtype}.", remedy)
    return arrays["predictions"], {batch: arrays[f"latency_ns_batch_{batch}"] for batch in batches}


def _left_out(stages: dict[str, Any]) -> list[str]:
    """Return what the stage build left out, with its reasons."""
    summary = (stages.get("build") or {}).get("summary")
    return [str(line).rstrip(".") for line in summary.get("left_out", ())] if isinstance(summary, dict) else []


def _deployed(run: RunFolder) -> dict[str, Any] | None:
    path = run.file("deploy.json")
    if not path.is_file():
        return None
    remedy = "Give the bundle to 'regkd-edge deploy' again."
    record = read_json_object(path, remedy)
    check_deployed(record, path, remedy)
    return record


def _order(path: Path) -> tuple[str, int, str]:
    """Return the sort key: by back end, then from the widest precision to the narrowest."""
    backend, _, precision = path.stem.partition(".")
    known = ("fp32", "fp16", "bf16", "fp8", "int8")
    return backend, known.index(precision) if precision in known else len(known), precision
