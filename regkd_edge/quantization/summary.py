"""Summary of a quantization, and the difference between the new graph and the old one."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, GraphError
from ..graph.graph import GraphPrecision, graph_precision
from ..graph.reference import reference_outputs
from ..io.files import file_hash

__all__ = ["QuantizeSummary", "checked_rows", "summarize"]


@dataclass(frozen=True)
class QuantizeSummary:
    """The result of a quantization.

    ``check`` compares the new graph with the FP32 graph on rows, both run by ONNX Runtime with all optimisations off
    (the meaning of the graph, independent of kernels): root mean square and largest difference, in target units.
    """

    precision: str
    source: str
    target: str
    sha256: str
    size_bytes: int
    graph: GraphPrecision
    calibration: dict[str, Any] | None = None
    check: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)  # further records: corrections, sensitivity, training

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able record; file names without their folders."""
        return {
            "precision": self.precision,
            "source": Path(self.source).name,
            "target": Path(self.target).name,
            "sha256": self.sha256,
            "size_bytes": self.size_bytes,
            **self.graph.to_dict(),
            "calibration": self.calibration,
            "check": self.check,
            "notes": list(self.notes),
            **self.extra,
        }


def checked_rows(rows: Any, width: int, what: str) -> np.ndarray:  # [n, d] float32
    """Return rows in raw units as float32, C-contiguous; a :class:`DataError` names what is wrong with them."""
    array = np.ascontiguousarray(np.asarray(rows), dtype=np.float32)
    if array.ndim < 2 or len(array) == 0:
        raise DataError(
            f"{what} have shape {list(array.shape)}, expected [n, {width}] with n >= 1.", "Give at least one row."
        )
    if array.shape[1] != width:
        raise DataError(
            f"{what} have {array.shape[1]} columns, and the graph takes {width}.",
            "Give the columns the student was trained on.",
        )
    if not np.isfinite(array).all():
        row, column = (int(i[0]) for i in np.nonzero(~np.isfinite(array))[:2])
        raise DataError(
            f"{what} hold {array[row, column]} in row {row}, column {column}.", "Drop or fix rows that are not finite."
        )
    return array


def summarize(
    precision: str,
    source: str | Path,
    target: str | Path,
    check_rows: np.ndarray | None,
    *,
    calibration: dict | None = None,
    notes: list[str],
    extra: dict[str, Any] | None = None,
    expected: str | None = "",
) -> QuantizeSummary:
    """Count the graph ``target`` and compare it with ``source`` on ``check_rows``.

    A graph without a layer in ``expected`` (``precision`` if empty) is refused; None skips this check.
    """
    graph = graph_precision(target)
    expected = precision if expected == "" else expected
    if expected is not None and expected not in graph.share:
        raise GraphError(
            f"no layer of '{Path(target).name}' is {expected}: its multiply-adds are {graph.label}.",
            "Quantize a graph of Gemm, MatMul or Conv layers.",
        )
    check = None
    if check_rows is not None:
        want, got = reference_outputs(source, check_rows), reference_outputs(target, check_rows)
        if not np.isfinite(got).all():
            raise GraphError(
                f"the {precision} graph gives {got[~np.isfinite(got)][0]} on a row where FP32 is finite.",
                "Use fp32 for this student, or scale its inputs.",
            )
        difference = np.abs(got - want)
        check = {
            "rows": len(check_rows),
            "rmse": float(np.sqrt(np.mean(difference**2))),
            "max_abs": float(difference.max()),
        }
    return QuantizeSummary(
        precision,
        str(source),
        str(target),
        file_hash(target),
        Path(target).stat().st_size,
        graph,
        calibration,
        check,
        notes,
        extra or {},
    )
