"""Number formats: the largest value, the ONNX type, and rounding on arrays exactly as in QuantizeLinear and Cast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["FORMATS", "HIGH", "Format", "round_to"]


@dataclass(frozen=True)
class Format:
    """A precision of a layer.

    Attributes
    ----------
    name : str
        int8, int8-weights, fp8, fp16, bf16 or fp32.
    largest : float
        Code of the largest value of a symmetric range (127 for int8, 448 for E4M3).
    scaled : bool
        Whether it needs a scale (a Q/DQ pair) or is a cast.
    data : bool
        Whether a layer's data is in this format too, or only its weights.
    """

    name: str
    largest: float
    scaled: bool
    data: bool = True

    def onnx_type(self) -> int:
        from onnx import TensorProto

        name = {
            "int8": "INT8",
            "int8-weights": "INT8",
            "fp8": "FLOAT8E4M3FN",
            "fp16": "FLOAT16",
            "bf16": "BFLOAT16",
            "fp32": "FLOAT",
        }[self.name]
        return getattr(TensorProto, name)

    def numpy_type(self) -> Any:
        if self.name in ("fp8", "bf16"):
            import ml_dtypes  # onnx depends on it

            return {"fp8": ml_dtypes.float8_e4m3fn, "bf16": ml_dtypes.bfloat16}[self.name]
        return {"fp16": np.float16, "fp32": np.float32}.get(self.name, np.int8)


FORMATS = {
    f.name: f
    for f in (
        Format("int8", 127.0, True),
        Format("int8-weights", 127.0, True, data=False),
        Format("fp8", 448.0, True),
        Format("fp16", 65504.0, False),
        Format("bf16", 3.3895314e38, False),
        Format("fp32", 3.4028235e38, False),
    )
}
HIGH = ("fp16", "bf16", "fp32")
"""Return the precisions that need no calibration, in which a layer may be kept."""


def round_to(
    values: np.ndarray,
    form: Format,
    scale: np.ndarray | float = 1.0,  # broadcast against values
) -> np.ndarray:  # float32
    """Return ``values`` rounded to the format: DequantizeLinear(QuantizeLinear(values)), or a cast and back."""
    if form.name == "fp32":
        return np.asarray(values, np.float32)
    if not form.scaled:
        with np.errstate(over="ignore"):
            return np.asarray(values, np.float32).astype(form.numpy_type()).astype(np.float32)
    scale = np.asarray(scale, np.float32)
    codes = np.asarray(values, np.float32) / scale
    if form.name == "fp8":
        codes = np.clip(codes, -form.largest, form.largest).astype(form.numpy_type()).astype(np.float32)
    else:
        codes = np.clip(np.rint(codes), -128.0, 127.0)  # the type has one more code at the negative end
    return codes * scale
