"""What an installed light wheel computes, against NumPy in float64: run by tools/wheels, also under qemu-user.

python wheel_check.py      one line per check; exit status 1 if a figure is off
"""

from __future__ import annotations

import platform
import sys

import numpy as np

import regkd_edge
from regkd_edge import _core, _runtime
from regkd_edge.engines.native.file import Operation, Program, to_bytes

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 5)).astype(np.float32)


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


def engine_in_fp32() -> float:
    """(x - a) b -> dense -> tanh -> dense."""
    a, b, w, u, v, z = weights(5), weights(5), weights(16, 5), weights(16), weights(2, 16), weights(2)
    program = Program(5, 2, [
        Operation("subtract", 5, values=a), Operation("multiply", 5, values=b),
        Operation("dense", 16, values=w, bias=u),
        Operation("activation", 16, activation="tanh"), Operation("dense", 2, values=v, bias=z),
    ])  # fmt: skip
    x = X.astype(np.float64)
    want = np.tanh((x - a) * b @ w.T.astype(np.float64) + u) @ v.T.astype(np.float64) + z
    return float(np.abs(_runtime.Engine(to_bytes(program)).infer(X) - want).max() / np.ptp(want))


def engine_in_int8() -> float:
    """Codes times codes in whole numbers: exact but for the last float32 product."""
    codes = RNG.integers(-127, 128, (8, 5)).astype(np.int8)
    step, scale, bias = np.float32(0.03), np.abs(weights(8)) + 0.01, weights(8)
    program = Program(5, 8, [Operation("dense_int8", 8, number=float(step), codes=codes, scale=scale, bias=bias)])
    data = np.clip(np.rint(X / step), -128, 127).astype(np.int64)
    want = data @ codes.T.astype(np.int64) * (scale.astype(np.float64) * float(step)) + bias
    return float(np.abs(_runtime.Engine(to_bytes(program)).infer(X) - want).max() / np.ptp(want))


def noise() -> str:
    """Random123's answer of Philox4x32-10 to counter 0 and key 0, as the core gives it."""
    return " ".join(f"{word:08x}" for word in _core.philox([0] * 4, [0, 0]))


def main() -> int:
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, {regkd_edge.__version__}")
    print(f"core: {_core.simd_level()} of {', '.join(_core.simd_levels_available())}")
    found = {"native engine, FP32": engine_in_fp32(), "native engine, INT8": engine_in_int8()}
    for what, error in found.items():
        print(f"{what}: {error:.1e} of the outputs' range from NumPy in float64")
    known = noise() == "6627e8d5 e169c58d bc57ac4c 9b00dbd8"
    print(f"noise: {'as' if known else 'NOT as'} Random123 has it")
    return int(not known or max(found.values()) > 1e-6)  # a few roundings of float32


if __name__ == "__main__":
    sys.exit(main())
