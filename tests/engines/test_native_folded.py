"""Scalers that became a part of a layer: the same answers, and left alone where they would not be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from native_reference import evaluate
from test_native_engine import LEVELS, runtime

from regkd_edge.engines.native.file import to_bytes
from regkd_edge.engines.native.folded import fold_scalers
from regkd_edge.engines.native.operations import Operation, Program


def single(*values):
    return np.concatenate([np.asarray(v, np.float32).reshape(-1) for v in values])


def dense(n_in, n_out, rng):
    return Operation("dense", n_out, values=single(rng.normal(size=(n_out, n_in))).reshape(n_out, n_in),
                     bias=single(rng.normal(size=n_out)))  # fmt: skip


def integers(n_in, n_out, rng):
    return Operation("dense_int8", n_out, number=0.05, codes=rng.integers(-127, 128, (n_out, n_in)).astype(np.int8),
                     scale=single(rng.uniform(0.001, 0.01, n_out)), bias=single(rng.normal(size=n_out)),
                     low_codes=rng.integers(-127, 128, (n_out, n_in)).astype(np.int8))  # fmt: skip


def scalers(mean, deviation):
    return [Operation(kind, len(mean), values=single(row)) for kind, row in (("subtract", mean), ("divide", deviation))]


def outputs(factor, shift):
    return [Operation(kind, len(factor), values=single(row)) for kind, row in (("multiply", factor), ("add", shift))]


def kinds(operations):
    return [op.kind for op in operations]


@pytest.mark.parametrize("layer", [dense, integers])
@pytest.mark.parametrize("widths", [(1, 3, 1), (13, 32, 1), (40, 7, 5), (17, 70, 20)], ids=str)
def test_the_answers_are_those_of_scalers_of_their_own(widths, layer):
    """Inputs and outputs a hundred thousand deviations from 0 as well: float32 knows their differences."""
    rng = np.random.default_rng(widths[0])
    d, h, o = widths
    mean, deviation = rng.normal(size=d) * 10.0 ** rng.integers(0, 6, d), 10.0 ** rng.uniform(-6, 6, d)
    mean *= deviation
    tanh = Operation("activation", h, "tanh")
    last = outputs(rng.normal(size=o) if layer is dense else rng.uniform(0.1, 9, o), 1e3 * rng.normal(size=o))
    plain = [*scalers(mean, deviation), layer(d, h, rng), tanh, layer(h, o, rng), *last]
    folded = fold_scalers(plain)
    assert kinds(folded) == ["subtract", *(["divide"] if layer is integers else []), layer(1, 1, rng).kind,
                             "activation", layer(1, 1, rng).kind]  # fmt: skip
    x = single(mean + deviation * rng.normal(size=(50, d))).reshape(50, d)
    exact = np.stack([evaluate(Program(d, o, plain), row)[0] for row in x])
    size = np.abs(exact).max(0)
    # In exact sums, only weights and biases are rounded again.
    ours = np.stack([evaluate(Program(d, o, folded), row)[0] for row in x])
    assert (np.abs(ours - exact) <= 3e-7 * size).all()
    for level in LEVELS:
        before, after = (runtime.Engine(to_bytes(Program(d, o, ops)), level).infer(x) for ops in (plain, folded))
        assert (np.abs(after - exact) <= 2 * np.abs(before - exact).max(0) + 3e-7 * size).all(), level


def test_what_is_left_alone():
    rng = np.random.default_rng(0)
    layer, tanh = dense(4, 4, rng), Operation("activation", 4, "tanh")
    scaled = scalers(np.zeros(4), np.full(4, 1e-38))
    kept = {
        "weights beyond float32": [*scaled, replace(layer, values=1000 * layer.values)],
        "a divisor of 0": [*scalers(np.zeros(4), np.array([1.0, 0, 1, 1])), layer],
        "a divisor that is no number": [*scalers(np.zeros(4), np.array([1.0, np.inf, 1, np.nan])), layer],
        "a factor beyond float32": [layer, *outputs(np.full(4, 3e38), np.zeros(4))],
        "a factor below its digits": [layer, *outputs(np.full(4, 1e-44), np.zeros(4))],
        "weights with fewer digits": [*scalers(np.zeros(4), np.full(4, 1e38)), layer],
        "rounded first": [*scalers(np.zeros(4), np.ones(4)), Operation("quantize", 4, number=0.1), layer],
        "a window": [*scalers(np.zeros(4), np.ones(4)), Operation("windows", 4), layer],
        "behind an activation": [layer, tanh, *outputs(np.ones(4), np.ones(4))],
        "constants inside": [layer, *outputs(np.full(4, 2.0), np.ones(4)), tanh, layer],
        "a step of 0": [integers(4, 4, rng), *outputs(np.array([1.0, 0, 1, 1]), np.ones(4))],
        "a step below 0": [integers(4, 4, rng), *outputs(np.array([1.0, -1, 1, 1]), np.ones(4))],
        "constants of other places": [layer, Operation("add", 12, values=single([1, 2, 3]))],
    }  # fmt: skip
    for name, operations in kept.items():
        assert kinds(fold_scalers(operations)) == kinds(operations), name


def test_inputs_that_are_multiplied():
    rng = np.random.default_rng(0)
    x, scale, layer = single(rng.normal(size=4)), single(rng.uniform(0.1, 9, 4)), dense(4, 6, rng)
    (folded,) = fold_scalers([Operation("multiply", 4, values=scale), layer])
    np.testing.assert_allclose(folded.values @ x, layer.values @ (x * scale), rtol=1e-5)


def test_nothing_that_was_given_is_changed():
    rng = np.random.default_rng(0)
    plain = [*scalers(np.ones(3), np.full(3, 2.0)), dense(3, 2, rng), *outputs(np.full(2, 3.0), np.ones(2))]
    before = [op.values.copy() for op in plain]
    fold_scalers(plain)
    assert all(np.array_equal(op.values, values) for op, values in zip(plain, before))
