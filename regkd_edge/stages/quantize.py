"""Stage ``quantize``: the exported graph in the precisions asked for, each checked against the FP32 graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ..config import RunConfig
from ..run import RunFolder
from . import Progress, Stage

__all__ = ["STAGE", "calibration_rows"]


def _inputs(run: RunFolder, config: RunConfig) -> dict[str, Any]:
    return {
        "quantize": config.quantize.model_dump(mode="json"),
        "fraction": config.distill.fraction,
        "seed": config.seed,
    }


def calibration_rows(run: RunFolder, config: RunConfig) -> np.ndarray:  # [n, d] float32, raw units
    """Rows to learn the INT8 ranges from.

    ``real``: the training rows the student saw, at most ``quantize.rows`` of them; ``synthetic``: Gaussian inputs with
    the mean and standard deviation of the student's input scaler, so no row of data is needed.
    """
    from ..data import Scalers, load_dataset, subset

    section = config.quantize
    rng = np.random.default_rng(config.seed)
    if section.calibrate == "synthetic":
        model = json.loads(run.file("student", "model.json").read_text(encoding="utf-8"))
        scaler = Scalers.from_dict(model["scalers"]).x
        return scaler.restore(rng.standard_normal((section.rows, len(scaler.mean)))).astype(np.float32)
    dataset = load_dataset(run)
    rows = subset(dataset.split, config.distill.fraction, config.seed).train
    if len(rows) > section.rows:
        rows = rng.choice(rows, section.rows, replace=False)
    return dataset.x[rows].astype(np.float32)


def _work(run: RunFolder, config: RunConfig, progress: Progress) -> tuple[list[Path], dict[str, Any]]:
    from ..data import load_dataset
    from ..quantize import quantize_fp16, quantize_int8

    section = config.quantize
    source = run.file("onnx", "student.fp32.onnx")
    check_rows = load_dataset(run).rows("validation")[0].astype(np.float32)
    paths: list[Path] = []
    graphs: list[dict[str, Any]] = []
    for precision in section.precision:
        target = run.file("onnx", f"student.{precision}.onnx")
        if precision == "fp16":
            done = quantize_fp16(source, target, check_rows=check_rows)
        else:
            done = quantize_int8(
                source, target, calibration_rows(run, config), method=section.method, percentile=section.percentile, check_rows=check_rows
            )
        paths.append(target)
        graphs.append({**done.to_dict(), "source": run.relative(source), "target": run.relative(target)})
    return paths, {"graphs": graphs}


STAGE = Stage("quantize", "quantize", ("data", "distill", "export"), _inputs, _work)
