"""What a tracker is told of a run: parameters, curves, figures per engine and target, latencies, plots and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..report.collect import Report
from ..report.plot_errors import predicted_against_true
from ..run import RunFolder

__all__ = ["Content", "content_of"]

_FIGURES = ("rmse", "mae", "max_error", "r2")


@dataclass
class Content:
    """One run.

    Attributes
    ----------
    name : str
    parameters : dict
        Dotted field of the configuration -> value; fields that have no value are left out.
    curves : dict
        ``student/total`` -> list of (step, value).
    figures : dict
        ``onnxruntime.int8/rmse/TARGET`` and ``onnxruntime.int8/p50_us_b1`` -> number.
    latencies : dict
        ``onnxruntime.int8/batch 1`` -> microseconds [samples].
    scatters : dict
        ``onnxruntime.int8/TARGET`` -> (true [n], predicted [n]).
    plots : dict
        The same as SVG.
    files : list of Path
        The report, the graphs, the configuration.
    """

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)
    curves: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    latencies: dict[str, np.ndarray] = field(default_factory=dict)
    scatters: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    plots: dict[str, str] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)


def content_of(run: RunFolder, report: Report) -> Content:
    """Return what is to be written of a run whose report was collected."""
    content = Content(report.name, parameters=_flat(run.config().model_dump(mode="json")))
    for model, history in report.evidence.histories.items():
        for entry in history:
            for key, value in entry.items():
                if key != "step" and isinstance(value, (int, float)):
                    content.curves.setdefault(f"{model}/{key}", []).append((int(entry["step"]), float(value)))
            for target, value in zip(report.target_names, entry.get("target_rmse") or ()):
                curve = content.curves.setdefault(f"{model}/validation_target_rmse/{target}", [])
                curve.append((int(entry["step"]), float(value)))
    for row in report.rows:
        for target in row["targets"]:
            content.figures |= {
                f"{row['name']}/{key}/{target['name']}": target[key] for key in _FIGURES if target[key] is not None
            }
        content.figures |= {
            f"{row['name']}/{key}": value
            for key, value in row.items()
            if ("_us_b" in key or key == "size_bytes") and value is not None
        }
        for j, target in enumerate(report.target_names):
            answers = report.predictions[row["name"]][:, j]
            content.scatters[f"{row['name']}/{target}"] = (report.truth[:, j], answers)
            content.plots[f"{row['name']}/{target}"] = predicted_against_true(
                report.truth[:, j], {row["name"]: ("student", answers)}, target
            )
    for name, batches in report.latencies.items():
        content.latencies |= {f"{name}/batch {batch}": np.asarray(raw) / 1e3 for batch, raw in batches.items()}
    found = [
        run.file("report.html"),
        run.file("report.json"),
        run.file("run.yaml"),
        *sorted(run.file("onnx").glob("*")),
    ]
    content.files = [path for path in found if path.is_file() and not path.is_symlink()]
    return content


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        elif value is not None and value != [] and value != "":
            flat[f"{prefix}{key}"] = ",".join(map(str, value)) if isinstance(value, list) else value
    return flat
