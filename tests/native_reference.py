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


def _windows(v, window, outside=0.0):  # [height * width * channels] -> [places, rows * columns, channels]
    image = v.reshape(window.height, window.width, window.channels)
    down, right = window.rows + window.stride_y * window.places_y, window.columns + window.stride_x * window.places_x
    image = np.pad(image, [(window.above, down), (window.left, right), (0, 0)], constant_values=outside)
    places = itertools.product(range(window.places_y), range(window.places_x))
    corners = [(y * window.stride_y, x * window.stride_x) for y, x in places]
    cut = [image[y : y + window.rows, x : x + window.columns].reshape(-1, window.channels) for y, x in corners]
    return np.stack(cut)


def _low_codes(v, codes, number):
    step = number / 254
    return np.clip(np.rint((v - codes * np.float64(np.float32(number))) / step), -128, 127), step


def _product(op, v, rows, flips, ties):
    """A layer on the values ``v``: ``rows`` cuts them up, and gives a place's products with weights."""
    bias = 0 if op.bias is None else op.bias.astype(np.float64)
    if op.codes is None:
        return rows(v, op.values.astype(np.float64)) + bias
    codes, scale = _codes(v, op.number, flips, ties), op.scale.astype(np.float64)
    weights = op.codes.astype(np.float64)
    total = rows(codes, weights) * op.number * scale
    if op.low_codes is not None:
        total = total + rows(codes, op.low_codes.astype(np.float64)) * op.number * scale / 254
    if op.low_data:
        low, step = _low_codes(v, codes, op.number)
        total = total + rows(low, weights) * step * scale
    return total + bias


def _matrix(op):
    if op.codes is None:
        return op.values.astype(np.float64)
    low = 0 if op.low_codes is None else op.low_codes / 254
    return (op.codes + low) * op.scale.astype(np.float64)[:, None]


def _gru(op, v):
    inputs, own, h = _matrix(op), _matrix(op.recurrence), op.units
    state, all_states = np.zeros(h), []
    for x in v.reshape(op.steps, -1):
        a, b = inputs @ x + op.bias, own @ state + op.recurrence.bias
        z, r = _SIGMOID(a[:h] + b[:h]), _SIGMOID(a[h : 2 * h] + b[h : 2 * h])
        n = np.tanh(a[2 * h :] + r * b[2 * h :])
        state = n + z * (state - n)
        all_states.append(state)
    return np.concatenate(all_states) if op.sequence else state


def evaluate(program, x, flips=()):  # x [d] -> (y [o] float64, number of near ties met)
    v, ties, window = np.asarray(x, np.float64), [], None
    for op in program.operations:
        c = None if op.values is None else op.values.astype(np.float64)
        if op.kind in ("add", "subtract", "multiply", "divide"):
            # float32, as every implementation computes it: the inputs of the first layer are then the same bits
            single, f = (
                v.astype(np.float32),
                {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide}[op.kind],
            )
            row = np.resize(op.values, v.size)
            v = f(single, row).astype(np.float64) if np.array_equal(single, v) else f(v, row.astype(np.float64))
        elif op.kind == "activation":
            v = ACTIVATION[op.activation](v, op.number)
        elif op.kind == "clip":
            v = np.clip(v, c[0], c[1])
        elif op.kind == "quantize":
            codes = _codes(v, op.number, flips, ties)
            low, step = _low_codes(v, codes, op.number) if op.low_data else (0, 0)
            v = codes * op.number + low * step
        elif op.kind == "channels_last":
            v = v.reshape(op.channels, -1).T.reshape(-1)
        elif op.kind == "windows":
            window = op.window
        elif op.kind == "average":
            v = v.reshape(-1, op.width).mean(0)
        elif op.kind == "depthwise":
            v = _product(op, v, lambda u, w, at=op.window: np.einsum("ptc,tc->pc", _windows(u, at), w), flips, ties)
            v = v.reshape(-1)
        elif op.kind == "gru":
            v = _gru(op, v)
        elif window is not None:
            v = _product(op, v, lambda u, w, at=window: _windows(u, at).reshape(at.places, -1) @ w.T, flips, ties)
            v, window = v.reshape(-1), None
        else:
            v = _product(op, v, lambda u, w: w @ u, flips, ties)
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
            f"row {row} differs by {np.abs(y[row] - exact[row]).max():.3g} (allowed "
            f"{allowed:.3g}), and no tie explains it"
        )
