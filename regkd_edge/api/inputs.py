"""The rows that a quantization stands on: given, or drawn from what is known of a student's inputs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..config import QuantizeConfig
from ..data import as_rows, as_targets
from ..errors import DataError, GraphError, OptionError

if TYPE_CHECKING:
    from torch import nn

    from ..models import Student, Teacher
    from ..quantization import QuantizeSummary

__all__ = ["Inputs", "row_shape_of"]

_APART = {"train": 1, "validation": 2}  # seeds of synthetic rows besides those of the calibration


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a quantization knows of its inputs.

    Parameters
    ----------
    student : Student or None
        Whose inputs are known.
    teacher : Teacher or None
        Who answers synthetic rows.
    config : QuantizeConfig
    seed : int
    model
        What is quantized; its column names read a data frame.
    """

    student: Student | None
    teacher: Teacher | None
    config: QuantizeConfig
    seed: int
    model: Any

    @property
    def names(self) -> list[str] | None:
        """Names of the inputs, if known."""
        return list(getattr(self.model, "feature_names", ())) or None

    def rows(self, x: Any, what: str = "x") -> np.ndarray:  # [n, d] float32
        """Given rows, a data frame by the names of its columns."""
        names = self.names if hasattr(x, "columns") else None
        width = None if self.student is None else self.student.d
        return as_rows(x, names=names, width=width, shape=row_shape_of(self.model), what=what)[0].astype(np.float32)

    def labelled(self, given: tuple[Any, Any] | None) -> tuple[np.ndarray, np.ndarray] | None:
        """Given rows [n, d] float32 with their labels [n, o], or None."""
        if given is None:
            return None
        x = self.rows(given[0])
        return x, as_targets(given[1], len(x), width=None if self.student is None else self.student.o)[0]

    def calibration(self, given: Any, precision: str) -> np.ndarray:  # [n, d] float32
        """At most ``config.rows`` of the given rows, as many synthetic ones, or both."""
        kind = self.config.calibrate
        if kind == "auto":
            kind = "synthetic" if given is None else "real"
        parts = []
        if kind in ("real", "both"):
            if given is None:
                raise OptionError(
                    f"calibrate '{kind}' reads rows of the student, and there are none.",
                    "Add --calibrate synthetic, or distil with rows (in Python: calibrate=x).",
                )
            rows = self.rows(given, "calibrate")
            if len(rows) > self.config.rows:
                rows = rows[np.random.default_rng(self.seed).choice(len(rows), self.config.rows, replace=False)]
            parts.append(rows)
        if kind in ("synthetic", "both"):
            parts.append(self.synthetic(self.seed, f"{precision} needs calibration rows"))
        return np.concatenate(parts)

    def synthetic(self, seed: int, why: str) -> np.ndarray:  # [n, d] float32
        """``config.rows`` rows within what is known of the inputs."""
        from ..sampling.synthetic import described_inputs, known_inputs, synthetic_rows

        if self.student is None:
            raise GraphError(
                f"{why}: a graph alone does not say what its inputs are.",
                "Give calibrate=x [n, d], or the student in place of its graph.",
            )
        scaler, described = self.student.scalers.x, self.config.describe
        known = known_inputs(scaler, self.student.inputs) if described is None else described_inputs(scaler, described)
        return synthetic_rows(known, self.config.rows, seed)

    def answered(self, part: str) -> tuple[np.ndarray, np.ndarray]:
        """Synthetic rows [n, d] with the teacher's answers [n, o], in place of rows with labels."""
        if self.teacher is None or self.student is None:
            if part == "train":
                raise DataError("qat has no rows to train on.", "Give train=(x, y), or the teacher and the student.")
            raise OptionError("max_increase and qat need rows that judge them.", "Give validation=(x, y).")
        from ..models import predict

        scalers = self.student.scalers
        x = self.synthetic(self.seed + _APART[part], part)
        return x, predict(self._answering(x), scalers, x.astype(np.float64))

    def _answering(self, rows: np.ndarray) -> nn.Module:  # [n, d] raw units
        """The teacher in the student's standardized space; images and signals reach it in their shape."""
        assert self.teacher is not None and self.student is not None
        teacher, shape = self.teacher, row_shape_of(self.student)
        if shape is not None and teacher.shape is None:
            scaler = (teacher.scalers or self.student.scalers).x
            teacher.read_as(shape, rows if teacher.units == "raw" else scaler.standardize(rows))
        return teacher.standardized(self.student.scalers)

    def qat(
        self,
        source: str | Path,
        target: str | Path,
        rows: np.ndarray | None,  # [n, d] float32
        *,
        train: tuple[np.ndarray, np.ndarray] | None,
        validation: tuple[np.ndarray, np.ndarray] | None,
        batch: int,
        check: np.ndarray | None,
    ) -> QuantizeSummary:
        """Train the student through its INT8 quantizers, with the objective that it was distilled with."""
        from ..objectives import StepRecipe
        from ..quantization.qat import quantize_with_qat

        if self.student is None or self.teacher is None or rows is None:
            raise OptionError(
                "qat trains the student on its teacher, and one of them is missing.",
                "Give the student as model (or student=), and teacher=.",
            )
        recipe = {**StepRecipe().to_dict(), **dict(self.student.extra.get("recipe") or {}), "second_head": 0.0}
        return quantize_with_qat(
            source,
            target,
            rows,
            self.student,
            self._answering(rows),
            train=train or self.answered("train"),
            validation=validation or self.answered("validation"),
            recipe=StepRecipe.from_dict(recipe),
            steps=self.config.qat_steps,
            batch=batch,
            lr=self.config.qat_lr,
            seed=self.seed,
            method=self.config.method,
            percentile=self.config.percentile,
            corrections=self.config.corrections,
            check_rows=check,
            rank_layers=self.config.rank_layers,
        )


def row_shape_of(model: Any) -> tuple[int, ...] | None:
    """Shape of a row of a student or a graph that is an image or a signal, or None."""
    if model is None:
        return None
    if hasattr(model, "input_shape"):
        shape: tuple[int, ...] | None = model.input_shape
        return shape
    from ..errors import NotAvailable
    from ..graph.graph import load_graph, row_shape

    try:
        row = row_shape(load_graph(Path(model)))
    except NotAvailable:  # no onnx package on a device: rows are taken as they are
        return None
    return row if len(row) > 1 else None
