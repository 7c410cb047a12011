"""Comparison of an engine's outputs on the device with those of its graph, per target in the target's unit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["accuracies", "compared"]


def compared(
    name: str,
    answers: np.ndarray,  # [n, o] of the engine
    expected: np.ndarray,  # [n, o] of its graph
    allowed: Sequence[float],  # [o]
    names: Sequence[str],  # [o]
) -> dict[str, Any]:
    """Return the RMS difference of each target beside what is allowed, and those of the worst target on top."""
    error = np.abs(answers - expected)
    rms = np.sqrt(np.mean(error**2, axis=0))
    limit = np.asarray(allowed)
    worst = int(np.argmax(rms / limit)) if np.isfinite(rms).all() else int(np.argmin(np.isfinite(rms)))
    finite = bool(np.isfinite(rms).all())
    targets = [
        {"name": n, "difference": float(r) if np.isfinite(r) else None, "allowed": float(most),
         "largest": float(e) if np.isfinite(e) else None}
        for n, r, most, e in zip(names, rms, limit, error.max(axis=0))
    ]  # fmt: skip
    return {
        "name": name,
        "passed": finite and bool((rms <= limit).all()),
        "targets": targets,
        "target": names[worst],
        "difference": float(rms[worst]) if finite else None,
        "allowed": float(limit[worst]),
        "largest": targets[worst]["largest"],
    }


def accuracies(met: dict[str, Any], wanted: dict[str, Any], targets: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the RMSE here and where the bundle was made: of each target, then pooled."""
    return {
        "targets": [
            {**one, "rmse": here["rmse"], "expected_rmse": there["rmse"]}
            for one, here, there in zip(targets, met["targets"], wanted["targets"])
        ],
        "rmse": met["rmse"],
        "expected_rmse": wanted["rmse"],
        "unit": met["unit"],
    }
