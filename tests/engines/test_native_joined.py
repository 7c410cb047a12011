"""Operations that the native back end joins into one pass, or leaves out: every bit of one after the other."""

from __future__ import annotations

import numpy as np
import pytest
from test_native_engine import LEVELS, runtime

from regkd_edge.engines.native.file import to_bytes
from regkd_edge.engines.native.operations import Operation, Program

ROWS = 9  # twice as many as a layer takes together, and one


def rng_rows(d):
    x = np.random.default_rng(d).normal(0, 3, (ROWS, d)).astype(np.float32)
    x[:, 0] = [0.0, -0.0, 1e-42, -1e-42, 1e30, -1e30, 1.0, -1.0, 3.0]
    return x


def constants(kind, n, seed):
    values = np.random.default_rng(seed).uniform(0.3, 3, n).astype(np.float32)
    return Operation(kind, n, values=values if kind in ("multiply", "divide") else values - np.float32(1.5))


def picks(n_in, n_out, bias):
    """A layer whose sums have one term each, so that their order cannot matter: output i is of input i modulo n_in."""
    values, i = np.zeros((n_out, n_in), np.float32), np.arange(n_out)
    values[i, i % n_in] = np.linspace(0.5, 2, n_out) * np.where(i % 2, -1, 1)
    return Operation("dense", n_out, values=values, bias=np.full(n_out, bias, np.float32))


def one_by_one(operations, x):
    """What the operations mean in NumPy's float32, each over all values."""
    for op in operations:
        if op.kind == "dense":
            i = np.arange(op.width)
            chosen = i % x.shape[1]
            x = (x[:, chosen] * op.values[i, chosen] + np.float32(0)) + op.bias
        elif op.kind == "activation":
            x = np.where(x > 0, x, x * np.float32(op.number) if op.activation == "leaky_relu" else np.float32(0))
        else:
            by = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide}[op.kind]
            x = by(x, op.values)
    return x


def same(n, *values):
    return [Operation(kind, n, values=np.full(n, value, np.float32)) for kind, value in values]


def chains(d, hidden, o):
    def relu(n):
        return Operation("activation", n, "relu")

    def leaky(n):
        return Operation("activation", n, "leaky_relu", 0.1)

    scaled = [constants("subtract", d, 1), constants("divide", d, 2)]
    back = [constants("multiply", o, 3), constants("add", o, 4)]
    yield "scalers", [*scaled, picks(d, hidden, 0.25), relu(hidden), picks(hidden, o, -0.5), *back]
    yield "activation last", [picks(d, hidden, 0.25), leaky(hidden), picks(hidden, o, -0.5), leaky(o)]
    yield "activation, then scaler", [picks(d, o, 0.5), leaky(o), *back, leaky(o), *back]
    yield "scaler, then activation", [picks(d, o, 0.5), *back, leaky(o)]
    yield "sum, then product", [picks(d, o, 0.5), back[1], back[0], back[1]]
    yield "two activations", [picks(d, hidden, 0.5), leaky(hidden), leaky(hidden), picks(hidden, o, 0)]
    yield "two divisions", [*scaled, constants("divide", d, 5), picks(d, o, 0.1)]
    inside = [constants("subtract", hidden, 6), constants("divide", hidden, 7)]
    yield "inside", [picks(d, hidden, 0), *inside, picks(hidden, o, 1)]
    yield "no layer", [*scaled]
    yield "nothing", same(d, ("subtract", 0), ("divide", 1), ("multiply", 1), ("add", -0.0))
    yield "signs of zeros", same(d, ("multiply", -1), ("add", 0), ("multiply", -1), ("subtract", -0.0))


@pytest.mark.parametrize("widths", [(13, 32, 1), (5, 4, 3), (16, 5, 4), (3, 40, 6), (35, 100, 17), (1, 1, 1)], ids=str)
def test_joined_operations_have_the_bits_of_one_after_the_other(widths):
    x = rng_rows(widths[0])
    for name, operations in chains(*widths):
        want = one_by_one(operations, x)
        file = to_bytes(Program(widths[0], want.shape[1], operations))
        for level in LEVELS:
            engine = runtime.Engine(file, level)
            for got in (engine.infer(x), np.concatenate([engine.infer(row[None]) for row in x])):
                assert got.view(np.uint32).tolist() == want.view(np.uint32).tolist(), (name, level)
