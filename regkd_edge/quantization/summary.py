"""Summary of a quantization, and the difference between the new graph and the old one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, GraphError
from ..graph.graph import load_graph
from ..graph.precision import GraphPrecision, graph_precision
from ..graph.unoptimized import reference_outputs
from ..io.files import file_hash

__all__ = ["QuantizeSummary", "checked_rows", "summarize", "target_names"]


@dataclass(frozen=True)
class QuantizeSummary:
    """The result of a quantization.

    ``check`` compares the new graph with the FP32 graph on rows, both run by ONNX Runtime with all optimisations off
    (what the graph means, not what a kernel makes of it): root mean square and largest difference of each target in its
    own unit, under ``targets``. The same over all targets is given as ``rmse`` and ``max_abs`` in ``unit``: the
    target's own with one target, and standard deviations of the FP32 answers with several, since watts and strains do
    not add up.
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
    array = array.reshape(len(array), -1)
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
        check = {"rows": len(check_rows), **_differences(want, got, target_names(source, want.shape[1]))}
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


def _differences(
    want: np.ndarray,  # [n, o]
    got: np.ndarray,  # [n, o]
    names: list[str],
) -> dict[str, Any]:
    """``rmse`` and ``max_abs`` over all targets with their ``unit``, and of each under ``targets``."""
    error = np.abs(got - want)
    spread = want.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)  # one row, or a dead output
    figures = [
        {
            "name": name,
            "rmse": float(np.sqrt(np.mean(error[:, j] ** 2))),
            "max_abs": float(error[:, j].max()),
            "share_of_deviation": float(np.sqrt(np.mean(error[:, j] ** 2)) / spread[j]),
        }
        for j, name in enumerate(names)
    ]
    if len(figures) == 1:
        overall = {"rmse": figures[0]["rmse"], "max_abs": figures[0]["max_abs"], "unit": names[0]}
    else:
        scaled = error / spread
        overall = {
            "rmse": float(np.sqrt(np.mean(scaled**2))),
            "max_abs": float(scaled.max()),
            "unit": "standard deviations",
        }
    return {**overall, "targets": figures}


def target_names(source: str | Path, count: int) -> list[str]:
    """Return the targets' names as the exporter stored them in a graph; ``target 0``, ... where it did not."""
    for item in load_graph(source).metadata_props:
        if item.key == "regkd.target_names":
            try:
                names = json.loads(item.value)
            except ValueError:
                break
            if isinstance(names, list) and len(names) == count and all(isinstance(name, str) for name in names):
                return names
    return [f"target {j}" for j in range(count)]
