"""What a native program means, in float64 and with exact integer sums, and what may differ from it.

Rounding to int8 is discontinuous: where a value lies within float32 error of a tie, an implementation with other sums
may take the other step, and later layers follow. So an answer is right when it is one of those that rounding such ties
either way gives.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

NEAR = 2e-4  # of a step: a sum of 100 float32 products of size 127 errs by less


def _erf(z):
    return np.vectorize(math.erf)(z)


_SIGMOID = lambda z: 0.5 * (1 + np.tanh(z / 2))  # noqa: E731 (does not overflow)
ACTIVATION = {
    "identity": lambda z, a: z,
    "relu": lambda z, a: np.maximum(z, 0),
    "leaky_relu": lambda z, a: np.where(z > 0, z, a * z),
    "elu": lambda z, a: np.where(z > 0, z, a * np.expm1(np.minimum(z, 0))),
    "silu": lambda z, a: z * _SIGMOID(z),
    "gelu": lambda z, a: z / 2 * (1 + _erf(z / math.sqrt(2))),
    "gelu_tanh": lambda z, a: z / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z**3))),
    "tanh": lambda z, a: np.tanh(z),
    "softplus": lambda z, a: np.logaddexp(0, z),
    "sigmoid": lambda z, a: _SIGMOID(z),
}


def _codes(values, scale, flips, ties):
    """int8 codes of a row; near ties are appended to ``ties`` and rounded the other way where ``flips`` says so."""
    steps = np.clip(values / np.float64(np.float32(scale)), -128, 127)
    codes = np.rint(steps)
    for i in np.nonzero(np.abs(np.abs(steps - np.floor(steps)) - 0.5) < NEAR)[0]:
        if len(ties) < len(flips) and flips[len(ties)]:
            codes[i] = 2 * np.floor(steps[i]) + 1 - codes[i]
        ties.append(i)
    return codes


def evaluate(program, x, flips=()):  # x [d] -> (y [o] float64, number of near ties met)
    v, ties = np.asarray(x, np.float64), []
    for op in program.operations:
        c = None if op.values is None else op.values.astype(np.float64)
        if op.kind in ("add", "subtract", "multiply", "divide"):
            # float32, as every implementation computes it: the inputs of the first layer are then the same bits
            single, f = (
                v.astype(np.float32),
                {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide}[op.kind],
            )
            v = f(single, op.values).astype(np.float64) if np.array_equal(single, v) else f(v, c)
        elif op.kind == "activation":
            v = ACTIVATION[op.activation](v, op.number)
        elif op.kind == "clip":
            v = np.clip(v, c[0], c[1])
        elif op.kind == "quantize":
            v = _codes(v, op.number, flips, ties) * op.number
        elif op.kind == "dense":
            v = c @ v + (0 if op.bias is None else op.bias)
        else:
            codes, scale = _codes(v, op.number, flips, ties), op.scale.astype(np.float64)
            total = (op.codes.astype(np.float64) @ codes) * op.number * scale
            if op.low_codes is not None:
                total += (op.low_codes.astype(np.float64) @ codes) * op.number * scale / 254
            if op.low_data:
                step = op.number / 254
                low = np.clip(np.rint((v - codes * np.float64(np.float32(op.number))) / step), -128, 127)
                total += (op.codes.astype(np.float64) @ low) * step * scale
            v = total + (0 if op.bias is None else op.bias)
    return v, len(ties)


def check_answers(program, x, y, tolerance=1e-6, share=0.05):  # x [n, d], y [n, o]
    """Assert that every row of ``y`` is an answer of the program, all but a ``share`` of them without a tie taken the
    other way.
    """
    exact = np.stack([evaluate(program, row)[0] for row in x])
    allowed = tolerance * np.abs(exact).max()
    other = np.nonzero((np.abs(y - exact) > allowed).any(1))[0]
    assert len(other) <= share * len(x), (
        f"{len(other)} of {len(x)} rows differ, by up to {np.abs(y - exact).max():.3g}; allowed {allowed:.3g}"
    )
    for row in other:
        _, ties = evaluate(program, x[row])
        # A tie taken the other way may bring values of later layers near ties of their own: two more are tried.
        options = [
            evaluate(program, x[row], flips)[0] for flips in itertools.product((False, True), repeat=min(ties + 2, 8))
        ]
        assert any((np.abs(y[row] - option) <= allowed).all() for option in options), (
            f"row {row} differs by {np.abs(y[row] - exact[row]).max():.3g} (allowed {allowed:.3g}), and no tie explains it"
        )
