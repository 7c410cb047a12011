"""ONNX graphs for the tests of quantize, engines, measure and report: what `export` writes, made without torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np

ACTIVATIONS = ("Relu", "Tanh", "Elu", "LeakyRelu", "Softplus")


def write_mlp(
    path: Path,
    widths=(5, 16, 8, 1),
    activation="Tanh",
    *,
    mean=None,  # [d] subtracted from the raw inputs
    scale=None,  # [d] the raw inputs' standard deviations
    y_mean=None,  # [o]
    y_scale=None,  # [o]
    batch="batch",  # a name (dynamic) or a number
    seed=0,
    weight_scale=1.0,
) -> Path:
    """x [batch, d] -> (x - mean) * (1 / scale) -> Gemm, activation, ..., Gemm -> * y_scale + y_mean -> y [batch, o]."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(seed)
    d, o = widths[0], widths[-1]
    weights = []

    def constant(name, value):
        weights.append(numpy_helper.from_array(np.asarray(value, dtype=np.float32), name))
        return name

    nodes = [
        helper.make_node(
            "Sub", ["x", constant("x.mean", np.zeros(d) if mean is None else mean)], ["x.centred"], name="scale_in/sub"
        ),
        helper.make_node(
            "Mul",
            ["x.centred", constant("x.rate", np.ones(d) if scale is None else 1 / np.asarray(scale))],
            ["x.standard"],
            name="scale_in/mul",
        ),
    ]
    current = "x.standard"
    for i, (m, n) in enumerate(zip(widths, widths[1:])):
        w = constant(f"layers.{i}.weight", weight_scale * rng.standard_normal((n, m)) / np.sqrt(m))
        b = constant(f"layers.{i}.bias", 0.1 * rng.standard_normal(n))
        nodes.append(helper.make_node("Gemm", [current, w, b], [f"z{i}"], name=f"layers.{i}", transB=1))
        current = f"z{i}"
        if i < len(widths) - 2:
            nodes.append(helper.make_node(activation, [current], [f"h{i}"], name=f"activation.{i}"))
            current = f"h{i}"
    nodes += [
        helper.make_node(
            "Mul",
            [current, constant("y.scale", np.ones(o) if y_scale is None else y_scale)],
            ["y.centred"],
            name="scale_out/mul",
        ),
        helper.make_node(
            "Add",
            ["y.centred", constant("y.mean", np.zeros(o) if y_mean is None else y_mean)],
            ["y"],
            name="scale_out/add",
        ),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, d])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, o])]
    graph = helper.make_graph(nodes, "student", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return Path(path)


def rows(n=256, d=5, seed=1, mean=0.0, scale=1.0) -> np.ndarray:
    """Gaussian rows in raw units, float32 [n, d]."""
    return (np.asarray(mean) + np.asarray(scale) * np.random.default_rng(seed).standard_normal((n, d))).astype(
        np.float32
    )


def family_student(text, shape, o=2, seed=0, *, tied=True):
    """Return an untrained student of any family far from standard units.
    ``tied``: one scaler per channel. This one needs torch.
    """
    from regkd_edge.data import Scaler, Scalers
    from regkd_edge.models import Student, build, family_of, parse_spec

    d, rng = int(np.prod(shape)), np.random.default_rng(seed)
    channel = family_of(text).channels(parse_spec(text), shape) if tied else None
    channel = np.arange(d) if channel is None else channel
    x = Scaler(rng.normal(size=d)[channel], rng.uniform(0.5, 2, d)[channel])
    scalers = Scalers(x, Scaler(rng.normal(size=o), rng.uniform(0.5, 2, o)))
    network = build(text, d, o, seed, shape=shape)
    return Student(network, scalers, parse_spec(text), [f"x{j}" for j in range(d)], [f"y{j}" for j in range(o)])


def write_student(text, shape, path, *, tied=True, seed=0, o=2):
    """Write such a student; return rows for it, [60, d] float32."""
    student = family_student(text, shape, o, seed, tied=tied)
    student.export(path)
    x = student.scalers.x
    return (x.mean + x.scale * np.random.default_rng(seed + 1).normal(size=(60, student.d))).astype(np.float32)
