"""Stage ``quantize``: the exported graph in the requested precisions, each checked against the FP32 graph."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..config import RunConfig
from ..errors import UserError
from ..run import RunFolder
from . import Parts, Stage, StageProgress, external_hash

__all__ = ["STAGE", "calibration_rows"]

_AUTO_INCREASE = 0.01  # the increase that --precision auto allows without --max-increase


def _parts(run: RunFolder, config: RunConfig) -> list[str]:
    return list(dict.fromkeys(config.quantize.precision))


def _inputs(run: RunFolder, config: RunConfig, part: str) -> dict[str, Any] | None:
    """Everything that decides the graph of one precision, or of the search that ``auto`` stands for."""
    section = config.quantize
    graph = {
        "part": part,
        "platform": section.platform,
        "graph": run.outputs_hash("export"),
        "data": run.outputs_hash("data"),
    }
    if part == "fp16":
        return graph
    inputs = {
        **graph,
        "quantize": section.model_dump(mode="json", exclude={"precision"}),
        "auto": part != "auto" and "auto" in section.precision,
        # A graph that stays in the higher precision throughout is then not kept under two names.
        "high": section.high in section.precision if section.max_increase is not None or part == "auto" else None,
        "fraction": config.distill.fraction,
        "no_data": config.distill.no_data,
        "seed": config.seed,
        "student": run.outputs_hash("distill"),
    }
    if _description(config):
        inputs["described"] = external_hash(run, "quantize", _description(config))
    if section.qat:
        inputs["distill"] = config.distill.model_dump(mode="json")
        inputs["teacher"] = run.outputs_hash("teacher")
    return inputs


def calibration_rows(run: RunFolder, config: RunConfig) -> np.ndarray:  # [n, d] float32, raw units
    """Return the calibration rows, at most ``quantize.rows`` of each kind.

    ``real``: the training rows the student saw (``auto``, if it saw any); ``synthetic``: drawn from what is known
    about the inputs (a description, or the scaler and the ranges stored with the student), so no data is needed;
    ``both``.
    """
    from ..data import load_dataset, subset
    from ..sampling.synthetic import described_inputs, synthetic_rows

    section = config.quantize
    kind = section.calibrate if section.calibrate != "auto" else "synthetic" if config.distill.no_data else "real"
    if config.distill.no_data and kind != "synthetic":
        raise UserError(
            f"the student was trained without data, and calibrate '{kind}' reads the run's rows.",
            "Add --calibrate synthetic, or distil with rows.",
        )
    parts = []
    if kind in ("real", "both"):
        dataset = load_dataset(run)
        rows = subset(dataset.split, config.distill.fraction, config.seed).train
        if len(rows) > section.rows:
            rows = np.random.default_rng(config.seed).choice(rows, section.rows, replace=False)
        parts.append(dataset.x[rows].astype(np.float32))
    if kind in ("synthetic", "both"):
        parts.append(
            synthetic_rows(described_inputs(run.file("student"), _description(config)), section.rows, config.seed)
        )
    return np.concatenate(parts)


def _answered(run: RunFolder, config: RunConfig, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return rows [n, d] and targets [n, o] in raw units: a part that the student may see, or without data synthetic
    rows with the teacher's answers."""
    from ..data import load_dataset, subset

    dataset = load_dataset(run)
    if not config.distill.no_data:
        rows = getattr(subset(dataset.split, config.distill.fraction, config.seed), part)
        return dataset.x[rows], dataset.y[rows]
    from ..models import load_model, predict, teacher_for
    from ..sampling.synthetic import described_inputs, synthetic_rows

    seed = config.seed + {"train": 1, "validation": 2}[part]  # not the rows of the calibration
    x = synthetic_rows(described_inputs(run.file("student"), _description(config)), config.quantize.rows, seed).astype(
        np.float64
    )
    scalers = load_model(run.file("student"), factory=config.distill.student).scalers
    teacher = teacher_for(config.teacher, dataset, run.file("teacher"))
    return x, predict(teacher.standardized(scalers), scalers, x)


def _description(config: RunConfig) -> str | None:
    return config.quantize.describe  # the description given to distill is stored with the student


def _bound(run: RunFolder, config: RunConfig) -> Any:
    """Return the bound on the RMSE, evaluated on validation rows (without data: on the distance from the teacher)."""
    from ..quantization import Bound

    section = config.quantize
    increase = section.max_increase
    if increase is None:
        if "auto" not in section.precision:
            return None
        increase = _AUTO_INCREASE
    x, y = _answered(run, config, "validation")
    return Bound(increase, x.astype(np.float32), y, section.high)


def _labelled(run: RunFolder, config: RunConfig) -> tuple[np.ndarray, np.ndarray] | None:
    """The validation rows, which say how exact the student is; None without data, since on synthetic inputs a student is
    further from its teacher than on those that occur."""
    if config.distill.no_data:
        return None
    x, y = _answered(run, config, "validation")
    return x.astype(np.float32), y


def _renamed(run: RunFolder, target: Path, done: Any, wanted: list[str]) -> tuple[Path | None, Any]:
    """Return a graph without a layer in the requested precision, under the name of what it is, or None if the run has a
    graph of that precision anyway."""
    label = done.precision
    if label in wanted or label == "fp32":
        target.unlink()
        return None, done
    renamed = run.file("onnx", f"student.{label}.onnx")
    os.replace(target, renamed)
    return renamed, replace(done, target=str(renamed))


def _finetuned(
    run: RunFolder, config: RunConfig, source: Path, target: Path, rows: np.ndarray, check: np.ndarray
) -> Any:
    """Return the student trained through its INT8 quantizers with the recipe of ``distill``."""
    from ..data import load_dataset
    from ..models import load_model, teacher_for
    from ..quantization.finetune import quantize_finetuned
    from ..training import recipe_of

    section = config.quantize
    dataset = load_dataset(run)
    student = load_model(run.file("student"), factory=config.distill.student)
    teacher = teacher_for(config.teacher, dataset, run.file("teacher"))
    return quantize_finetuned(
        source,
        target,
        rows,
        student,
        teacher.standardized(student.scalers),
        train=_answered(run, config, "train"),
        validation=_answered(run, config, "validation"),
        recipe=recipe_of(config.distill, dataset.d, plain=True, differentiable=teacher.differentiable),
        steps=section.qat_steps,
        batch=config.distill.batch,
        lr=section.qat_lr,
        seed=config.seed,
        method=section.method,
        percentile=section.percentile,
        corrections=section.corrections,
        check_rows=check,
        report=section.report,
    )


def _work(
    run: RunFolder, config: RunConfig, progress: StageProgress, parts: list[str]
) -> Iterator[tuple[str, list[Path], dict[str, Any]]]:
    from ..data import load_dataset
    from ..quantization import quantize_graph
    from ..quantization.platforms import require_precision

    section = config.quantize
    source = run.file("onnx", "student.fp32.onnx")
    wanted = list(dict.fromkeys("int8" if precision == "auto" else precision for precision in section.precision))
    for precision in wanted:  # before anything is written
        require_precision(precision, section.platform)
    bound = _bound(run, config)
    if bound is not None:
        require_precision(bound.high, section.platform)
    check_rows = load_dataset(run).rows("validation")[0].astype(np.float32)
    labelled = _labelled(run, config) if "int8" in wanted else None
    for part in parts:
        precision = "int8" if part == "auto" else part
        target = run.file("onnx", f"student.{precision}.onnx")
        if precision == "int8" and section.qat:
            done = _finetuned(run, config, source, target, calibration_rows(run, config), check_rows)
        else:
            rows = None if precision == "fp16" else calibration_rows(run, config)
            done = quantize_graph(
                source, target, precision, rows, section, bound=bound, labelled=labelled, check_rows=check_rows
            )
        if precision not in done.precision.split("+") and done.precision not in ("mixed", precision):
            target, done = _renamed(run, target, done, wanted)
        if target is None:
            yield part, [], {"left_out": f"{precision}: {done.notes[-1]}"}
        else:
            graph = {**done.to_dict(), "source": run.relative(source), "target": run.relative(target)}
            yield part, [target], {"graph": graph}


def _summary(run: RunFolder, config: RunConfig, parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    described = _description(config)
    left_out = [one["left_out"] for one in parts.values() if "left_out" in one]
    return {
        "graphs": [one["graph"] for one in parts.values() if "graph" in one],
        "external": {described: external_hash(run, "quantize", described)} if described else {},
        **({"left_out": left_out} if left_out else {}),
    }


STAGE = Stage("quantize", "quantize", ("data", "distill", "export"), parts=Parts(_parts, _inputs, _work, _summary))
