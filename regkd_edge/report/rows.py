"""The lines of the table: one per model and engine, with the error of each target first and pooled figures second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..measure import accuracy
from ..measure.accuracy import pooled_squares, relative_difference
from ..measure.bootstrap import interval, resampled_means

__all__ = ["error_figures", "kept_within", "rows_of"]


def rows_of(
    models: Mapping[str, dict[str, Any]],
    benches: Mapping[str, dict[str, Any]],
    predictions: Mapping[str, np.ndarray],  # name -> [n, o]
    truth: np.ndarray,  # [n, o]
    names: Sequence[str],  # [o]
    batches: Sequence[int],
    allowed: Mapping[str, float],
    failed: Mapping[str, str],
) -> list[dict[str, Any]]:
    """Return the rows of a :class:`Report`, all with the same keys."""
    errors = error_figures(predictions, truth, names, allowed)
    parameters = models["student"]["parameters"] if "student" in models else None
    rows = []
    for name in predictions:
        bench, model = benches.get(name), models.get(name)
        row: dict[str, Any] = {"name": name, "kind": "model" if bench is None else "engine"}
        if model is not None:
            row |= {
                "what": model["what"],
                "precision": "fp32",
                "parameters": model["parameters"],
                "size_bytes": model["size_bytes"],
            }
        else:
            row |= {
                "what": _computed(bench),
                "precision": bench["precision"],
                "parameters": parameters,
                "size_bytes": bench["engine"]["size_bytes"],
            }
        row["failed"] = failed.get(name)
        row |= errors[name]
        timings = {timing["batch"]: timing for timing in bench["latency"]} if bench else {}
        row["samples"] = min((timing["samples"] for timing in timings.values()), default=None)
        for batch in batches:
            for prefix, timing in (("", timings.get(batch, {})), ("cpp_", timings.get(batch, {}).get("cpp", {}))):
                for key in ("p50", "p99"):
                    nanoseconds = timing.get(f"{key}_ns")
                    row[f"{prefix}{key}_us_b{batch}"] = None if nanoseconds is None else nanoseconds / 1000
        rows.append(row)
    return rows


def error_figures(
    predictions: Mapping[str, np.ndarray],  # name -> [n, o]
    truth: np.ndarray,  # [n, o]
    names: Sequence[str],  # [o]
    allowed: Mapping[str, float] | None = None,
) -> dict[str, dict[str, Any]]:
    """Return name -> ``targets``, ``passed`` and the pooled figures; one bootstrap serves all, paired by row.

    Each target has ``name``, ``unit``, ``rmse`` with its 95 % interval ``rmse_low`` .. ``rmse_high``, ``allowed``,
    ``passed``, ``delta`` (relative to the FP32 student's RMSE) with ``delta_low`` .. ``delta_high``, ``mae``, ``r2``,
    ``max_error`` and ``teacher_rmse``, in its own unit.
    """
    allowed = allowed or {}
    teacher, width = predictions.get("teacher"), len(names) + 1
    squares = {name: pooled_squares((values - truth) ** 2, truth) for name, values in predictions.items()}
    drawn = resampled_means(np.concatenate(list(squares.values()), axis=1)) if squares else np.empty((0, 0))
    blocks = {name: drawn[:, i * width : (i + 1) * width] for i, name in enumerate(squares)}  # [resamples, o + 1]
    found = {}
    for name, values in predictions.items():
        figures = accuracy(truth, values, names)
        distance = accuracy(teacher, values, names) if teacher is not None and name != "teacher" else None
        deltas = [{"relative": None, "low": None, "high": None}] * width
        if "student" in predictions and name != "student":
            ours, theirs = squares[name].mean(axis=0), squares["student"].mean(axis=0)
            deltas = [
                relative_difference(ours[j], theirs[j], blocks[name][:, j], blocks["student"][:, j])
                for j in range(width)
            ]
        targets = []
        for j, target in enumerate(figures["targets"]):
            low, high = interval(np.sqrt(blocks[name][:, j]))
            limit = allowed.get(target["name"])
            targets.append(
                {
                    **{key: target[key] for key in ("name", "unit", "rmse")},
                    "rmse_low": low,
                    "rmse_high": high,
                    "allowed": limit,
                    "passed": None if limit is None else target["rmse"] <= limit,
                    **_delta(deltas[j]),
                    **{key: target[key] for key in ("mae", "r2", "max_error")},
                    "teacher_rmse": distance["targets"][j]["rmse"] if distance else None,
                }
            )
        judged = [target["passed"] for target in targets if target["passed"] is not None]
        found[name] = {
            "targets": targets,
            "passed": all(judged) if judged else None,
            "rmse": figures["rmse"],
            "unit": figures["unit"],
            **_delta(deltas[-1]),
            **{key: figures[key] for key in ("mae", "r2", "max_error")},
            "teacher_rmse": distance["rmse"] if distance else None,
        }
    return found


def kept_within(target: Mapping[str, Any]) -> str:
    """Return the verdict on one target: pass or FAIL, with a question mark if the interval holds the allowance."""
    if target["passed"] is None:
        return ""
    if target["passed"]:
        return "pass" if target["rmse_high"] <= target["allowed"] else "pass?"
    return "FAIL" if target["rmse_low"] > target["allowed"] else "FAIL?"


def _delta(found: Mapping[str, Any]) -> dict[str, Any]:
    return {"delta": found["relative"], "delta_low": found["low"], "delta_high": found["high"]}


def _computed(bench: Mapping[str, Any]) -> str:
    """Return what the graph asks for and what the kernels use, e.g. "int8 graph, int8 kernels"."""
    executed = bench.get("executed")
    kernels = "" if not executed else f", {'+'.join(executed)} kernels"
    return f"{bench['precision']} graph{kernels}"
