"""Precisions that a device supports, so that one it lacks is refused before anything is built.

From NVIDIA's support matrices (TensorRT documentation, hardware support; checked November 2026) and the ONNX Runtime
CPU provider.
"""

from __future__ import annotations

import difflib
import re

from ..errors import UserError
from .platforms import PLATFORMS, formats_of

__all__ = ["DEVICES", "lacking", "precisions_of"]

#: Name -> CUDA compute capability.
DEVICES = {"orin": 87, "thor": 110, "a100": 80, "h100": 90, "h200": 90, "l4": 89, "t4": 75}


def precisions_of(target: str) -> tuple[str, ...]:
    """Return the precisions of a device by name, by ``sm_NN``, or of ``cpu``; an unknown one is a UserError."""
    name = target.strip().lower()
    if name == "cpu":
        # The CPU provider multiplies float32 and int8; half precision is stored and computed in float32.
        return ("fp32", "int8", "int8-weights", "fp16")
    if name in PLATFORMS:
        return formats_of(min(PLATFORMS[name].compute_capabilities))
    met = re.fullmatch(r"sm_?(\d{2,3})", name)
    sm = int(met.group(1)) if met else DEVICES.get(name)
    if sm is None:
        near = difflib.get_close_matches(name, ["cpu", *PLATFORMS, *DEVICES], n=1)
        meant = f" (did you mean '{near[0]}'?)" if near else ""
        raise UserError(
            f"unknown device '{target}'{meant}.", f"Use cpu, sm_NN, or one of: {', '.join([*PLATFORMS, *DEVICES])}."
        )
    if sm < 75:
        raise UserError(
            f"'{target}' is older than sm_75, the oldest that TensorRT 10 and 11 support.", "Use a newer device."
        )
    return formats_of(sm)


def lacking(precision: str, target: str | None) -> str | None:
    """Return why a device cannot have a precision, with the remedy, or None; without a device everything is fine."""
    if target is None or precision in (has := precisions_of(target)):
        return None
    return f"'{target}' has no {precision}; it has {', '.join(has)}: choose one of these, or another platform"
