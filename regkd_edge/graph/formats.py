"""Number formats: the largest value, the ONNX type, and rounding on arrays exactly as in QuantizeLinear and Cast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["FORMATS", "HIGH", "SPLIT", "Format", "low_scale", "round_to", "rounded_parts"]

SPLIT = ("int8-split-data", "int8-split-weights", "int8-split")
"""INT8 with data, weights or both as the sum of two parts."""


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
    data_parts, weight_parts : int
        2: the values are the sum of two INT8 numbers, a high part and what it leaves over in steps 254 times finer.
        The layer is then 2 products of INT8 numbers, or 3 where both are in two parts (low times low is below float32's
        own rounding of the sum), and as exact as with 16 bits.
    """

    name: str
    largest: float
    scaled: bool
    data: bool = True
    data_parts: int = 1
    weight_parts: int = 1

    @property
    def label(self) -> str:
        """What the layer multiplies: the name without its number of parts."""
        return "int8" if self.name in SPLIT else self.name

    def onnx_type(self) -> int:
        from onnx import TensorProto

        name = {
            **dict.fromkeys(("int8", "int8-weights", *SPLIT), "INT8"),
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
        Format("int8-split-data", 127.0, True, data_parts=2),
        Format("int8-split-weights", 127.0, True, weight_parts=2),
        Format("int8-split", 127.0, True, data_parts=2, weight_parts=2),
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


def low_scale(scale: np.ndarray | float) -> np.ndarray:  # float32
    """Return the step of the low part: what a step of the high part leaves over fills the codes -127 .. 127."""
    return np.float32(scale) / np.float32(254.0)


def rounded_parts(
    values: np.ndarray,
    form: Format,
    scale: np.ndarray | float,  # broadcast against values
    parts: int,
) -> tuple[np.ndarray, ...]:  # float32, one or two
    """Return ``values`` as the sum of rounded parts, the high one first."""
    high = round_to(values, form, scale)
    if parts == 1:
        return (high,)
    return high, round_to(np.asarray(values, np.float32) - high, form, low_scale(scale))
