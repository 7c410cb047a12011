"""Layers of ONNX graphs in torch: the same answers as ONNX Runtime, and gradients."""

from __future__ import annotations

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

import regkd_edge as rk
from regkd_edge.errors import ModelError
from regkd_edge.models.teachers.onnx.ops import OPERATORS

RNG = np.random.default_rng(0)


def floats(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def both(op, inputs, attributes, outputs=1, opset=17):
    """The outputs of one node by ONNX Runtime and by its counterpart; None leaves an input out."""
    names = [f"i{k}" if value is not None else "" for k, value in enumerate(inputs)]
    ends = [f"o{k}" for k in range(outputs)]
    given = {n: v for n, v in zip(names, inputs) if v is not None}
    info = lambda n, v: helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
    node = helper.make_node(op, names, ends, **attributes)
    graph = helper.make_graph([node], "g", [info(n, v) for n, v in given.items()],
                              [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in ends])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)
    theirs = onnxruntime.InferenceSession(model.SerializeToString()).run(None, given)
    ours = OPERATORS[op]([None if v is None else torch.from_numpy(v) for v in inputs],
                         {a.name: helper.get_attribute_value(a) for a in node.attribute})  # fmt: skip
    return theirs, [t.numpy() for t in (ours if isinstance(ours, tuple) else (ours,))]


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(
    ("op", "gates", "attributes"),
    [
        ("LSTM", 4, {}),
        ("GRU", 3, {"linear_before_reset": 1}),
        ("GRU", 3, {"linear_before_reset": 0}),
        ("RNN", 1, {}),
        ("RNN", 1, {"activations": ["Relu"]}),
    ],
)
@pytest.mark.parametrize("states", [True, False])
def test_recurrent_layers(op, gates, attributes, direction, states):
    ways, hidden, features, n, steps = 1 + (direction == "bidirectional"), 5, 3, 2, 7
    if "activations" in attributes:
        attributes = {"activations": attributes["activations"] * ways}
    inputs = [floats(steps, n, features), floats(ways, gates * hidden, features), floats(ways, gates * hidden, hidden)]
    inputs += [floats(ways, 2 * gates * hidden) if states else None, None]
    inputs += [floats(ways, n, hidden) for _ in range(2 if op == "LSTM" else 1)] if states else []
    options = {"hidden_size": hidden, "direction": direction, **attributes}
    theirs, ours = both(op, inputs, options, outputs=3 if op == "LSTM" else 2)
    for a, b in zip(theirs, ours):
        assert np.allclose(a, b, atol=1e-5)  # float32, seven steps


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "opset"),
    [
        ("ConvTranspose", [floats(2, 3, 5, 4), floats(3, 2, 3, 3), floats(2)],
         {"strides": [2, 1], "pads": [1, 0, 1, 0], "output_padding": [1, 0]}, 17),
        ("ConvTranspose", [floats(2, 4, 6), floats(4, 1, 2)], {"group": 2, "dilations": [2]}, 17),
        ("InstanceNormalization", [floats(2, 3, 9), floats(3), floats(3)], {"epsilon": 1e-3}, 17),
        ("GroupNormalization", [floats(2, 6, 5), floats(6), floats(6)], {"num_groups": 3}, 21),
        ("CumSum", [floats(3, 4), np.array(1)], {}, 17),
        ("CumSum", [floats(3, 4), np.array(1)], {"reverse": 1}, 17),
        ("Einsum", [floats(3, 4), floats(5, 4)], {"equation": "bi,oi->bo"}, 17),
        ("PRelu", [floats(3, 4), np.array([0.3, -0.2, 1.5, 0.0], np.float32)], {}, 17),
        ("Gather", [floats(3, 4, 5), np.array(-1)], {"axis": 2}, 17),
        ("Gather", [floats(3, 4, 5), np.array([[0, -2], [1, 1]])], {"axis": -2}, 17),
    ],
)  # fmt: skip
def test_layers(op, inputs, attributes, opset):
    theirs, ours = both(op, inputs, attributes, opset=opset)
    assert theirs[0].shape == ours[0].shape and np.allclose(theirs[0], ours[0], atol=1e-5)


SAME = {"auto_pad": "SAME_UPPER"}


@pytest.mark.parametrize(
    ("op", "inputs", "attributes", "opset"),
    [
        ("Conv", [floats(2, 3, 8, 7), floats(4, 3, 3, 2), floats(4)], {**SAME, "strides": [2, 3]}, 17),
        ("Conv", [floats(2, 3, 9), floats(4, 3, 4)], {"auto_pad": "SAME_LOWER", "strides": [2]}, 17),
        ("Conv", [floats(2, 3, 9), floats(4, 3, 4)], {"pads": [3, 0]}, 17),
        ("MaxPool", [floats(2, 3, 8, 7)], {**SAME, "kernel_shape": [3, 2], "strides": [2, 2]}, 17),
        ("MaxPool", [floats(2, 3, 9)], {"kernel_shape": [3], "strides": [2], "pads": [0, 2], "dilations": [2]}, 17),
        ("MaxPool", [floats(2, 3, 9, 8)], {"kernel_shape": [2, 3], "strides": [2, 2], "ceil_mode": 1}, 17),
        ("AveragePool", [floats(2, 3, 8, 7)], {**SAME, "kernel_shape": [3, 2], "strides": [2, 2]}, 17),
        ("AveragePool", [floats(2, 3, 9)], {"kernel_shape": [4], "pads": [1, 2], "count_include_pad": 1}, 17),
        ("AveragePool", [floats(2, 3, 9)], {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}, 17),
        ("Pad", [floats(2, 3, 5), np.array([0, 1, 2, 0, 0, 1]), np.array(0.5, np.float32)], {}, 17),
        ("Pad", [floats(2, 3, 5), np.array([2, 1]), None, np.array([-1])], {"mode": "edge"}, 18),
        ("Pad", [floats(2, 3, 5, 4), np.array([0, 0, 1, 2, 0, 0, 0, 1])], {"mode": "reflect"}, 17),
        ("Tile", [floats(2, 3), np.array([1, 4])], {}, 17),
        ("ReduceL1", [floats(2, 3, 5)], {"axes": [1]}, 17),
        ("ReduceSumSquare", [floats(2, 3, 5)], {"axes": [1, 2], "keepdims": 0}, 17),
        ("ReduceLogSumExp", [floats(2, 3, 5), np.array([2])], {}, 18),
    ],
)  # fmt: skip
def test_layers_of_other_exporters(op, inputs, attributes, opset):
    theirs, ours = both(op, inputs, attributes, opset=opset)
    assert theirs[0].shape == ours[0].shape and np.allclose(theirs[0], ours[0], atol=1e-5)


def test_group_normalization_with_a_factor_per_group():
    x, factor, shift = floats(2, 6, 5), floats(3), floats(3)
    given = [torch.from_numpy(v) for v in (x, factor, shift)]
    found = OPERATORS["GroupNormalization"](given, {"num_groups": 3})
    expected = nn.functional.group_norm(given[0], 3) * given[1].repeat_interleave(2)[:, None]
    assert torch.allclose(found, expected + given[2].repeat_interleave(2)[:, None], atol=1e-5)


@pytest.mark.parametrize("attributes", [{"clip": 1.0}, {"activations": ["HardSigmoid", "Tanh", "Tanh"]}])
def test_what_a_recurrent_layer_here_does_not_know_is_named(attributes):
    with pytest.raises(NotImplementedError, match=r"LSTM with .*(clip|HardSigmoid)"):
        OPERATORS["LSTM"]([torch.zeros(2, 1, 3), torch.zeros(1, 8, 3), torch.zeros(1, 8, 2)], attributes)


class Last(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer, self.end = layer, nn.Linear(6, 1)

    def forward(self, x):
        return self.end(self.layer(x)[0][:, -1])


@pytest.mark.parametrize(
    "layer", [nn.LSTM(2, 6, batch_first=True), nn.GRU(2, 3, 2, batch_first=True, bidirectional=True)]
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_recurrent_teacher_of_signals_has_gradients(here, layer):
    torch.manual_seed(0)
    torch.onnx.export(Last(layer).eval(), (torch.randn(3, 8, 2),), "m.onnx", input_names=["x"],
                      dynamic_axes={"x": {0: "rows"}}, dynamo=False, opset_version=17)  # fmt: skip
    teacher = rk.load_teacher("m.onnx")
    assert "16 inputs, 1 output" in teacher.summary() and teacher.summary().endswith("gradients, by PyTorch")
    x = RNG.normal(size=(60, 8, 2))
    student = rk.distill(teacher, x, student="gru:3", recipe="mimic", steps=5)
    assert student.input_shape == (8, 2)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_mean_of_an_ensemble_goes_to_the_fused_core(here):
    class Ensemble(nn.Module):
        def __init__(self):
            super().__init__()
            self.members = nn.ModuleList(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1)) for _ in range(3))

        def forward(self, x):
            return torch.stack([member(x) for member in self.members]).mean(0)

    torch.onnx.export(Ensemble(), (torch.randn(3, 4),), "m.onnx", input_names=["x"],
                      dynamic_axes={"x": {0: "rows"}}, dynamo=False, opset_version=17)  # fmt: skip
    assert "fused core (as mlp:9:tanh)" in rk.load_teacher("m.onnx").summary()


def written(nodes, constants, kind=TensorProto.FLOAT, **options):
    graph = helper.make_graph(nodes, "g", [helper.make_tensor_value_info("x", kind, ["n", 4])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1])],
                              [numpy_helper.from_array(v, k) for k, v in constants.items()])  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, "m.onnx", **options)
    return "m.onnx"


def test_weights_that_are_not_beside_the_graph_are_named(here):
    path = written([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": floats(4, 1)}, save_as_external_data=True,
                   location="weights.bin", size_threshold=0)  # fmt: skip
    (here / "weights.bin").unlink()
    with pytest.raises(
        ModelError, match=r"keeps its weights in 'weights.bin', which is not a file beside it\. Put both"
    ):
        rk.load_teacher(path)


def test_whole_numbers_let_no_gradient_pass_and_the_line_says_so(here):
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["f", "w"], ["y"]),
    ]
    teacher = rk.load_teacher(written(nodes, {"w": floats(4, 1)}, TensorProto.INT64))
    assert teacher.summary().endswith("values only, no gradients")


def test_codes_among_the_numbers_keep_the_gradients_of_the_others(here):
    class Coded(nn.Module):
        def __init__(self):
            super().__init__()
            self.codes, self.end = nn.Embedding(3, 2), nn.Linear(5, 1)

        def forward(self, x):
            return self.end(torch.cat([self.codes(x[:, 0].long()), torch.tanh(x[:, 1:])], 1))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Coded(), (torch.ones(3, 4),), "m.onnx", input_names=["x"],
                          dynamic_axes={"x": {0: "rows"}}, dynamo=False, opset_version=17)  # fmt: skip
    assert rk.load_teacher("m.onnx").summary().endswith("gradients, by PyTorch")
