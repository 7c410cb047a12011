"""One precision by its name: which quantizer writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..config import QuantizeConfig
from .fp16 import quantize_fp16
from .int8 import quantize_int8
from .layers import quantize_layers
from .mixed import Bound
from .summary import QuantizeSummary

__all__ = ["quantize_graph"]


def quantize_graph(
    source: str | Path,
    target: str | Path,
    precision: str,
    rows: Any,
    options: QuantizeConfig,
    *,
    bound: Bound | None = None,
    labelled: tuple[Any, Any] | None = None,
    check_rows: Any = None,
) -> QuantizeSummary:
    """Write the FP32 graph ``source`` as ``target`` in one precision.

    Parameters
    ----------
    precision : str
        int8, int8-weights, fp8, fp16 or bf16.
    rows : float32 [n, d]
        Calibration rows in raw units; not used for fp16.
    options : QuantizeConfig
        Method, percentile, corrections, quantizer and rank_layers.
    bound : Bound, optional
        For int8 and fp8: keep layers in a higher precision until it holds.
    labelled : (rows [n, d], targets [n, o]), optional
        Rows with labels that the student was not trained on: they say how exact int8 has to be.
    check_rows : float32 [n, d], optional
        Rows on which the two graphs are compared; the calibration rows when absent.

    Raises
    ------
    GraphError, DataError, UserError
        As the quantizer of that precision.
    """
    if precision == "fp16":
        return quantize_fp16(source, target, check_rows=check_rows)
    shared = {
        "method": options.method,
        "percentile": options.percentile,
        "corrections": options.corrections,
        "check_rows": check_rows,
        "rank_layers": options.rank_layers,
    }
    if precision == "int8":
        return quantize_int8(
            source, target, rows, quantizer=options.quantizer, bound=bound, labelled=labelled, **shared
        )
    return quantize_layers(source, target, rows, precision, bound=bound if precision == "fp8" else None, **shared)
