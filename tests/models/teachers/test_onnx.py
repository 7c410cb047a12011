"""Teachers from ONNX files: ONNX Runtime's answers, gradients through torch where every operator has a counterpart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from regkd_edge.errors import ModelError
from regkd_edge.models import check_teacher, load_teacher, save_teacher
from regkd_edge.models.teachers.onnx.file import _difference
from regkd_edge.models.teachers.run import from_folder

from .conftest import Residual, dataset, perceptron, table


def exported(module, path, *, free=True, args=None, inputs=("x",), outputs=("y",)):
    dtype = next(module.parameters()).dtype
    args = args or (torch.randn(3, 4, dtype=dtype),)
    axes = {name: {0: "rows"} for name in (*inputs, *outputs)} if free else None
    torch.onnx.export(module.eval(), args, path, input_names=list(inputs), output_names=list(outputs),
                      dynamic_axes=axes, dynamo=False, opset_version=17)  # fmt: skip
    return path


def taken(path, data, **options):
    teacher = load_teacher(path, **options)
    check_teacher(teacher, data)
    return teacher


def direct(path, dtype, data, batch=None):
    session = onnxruntime.InferenceSession(path)
    parts = [data.x] if batch is None else [data.x[k : k + batch] for k in range(0, len(data.x), batch)]
    return np.concatenate([session.run(None, {"x": part.astype(dtype)})[0] for part in parts]).astype(float)


@pytest.mark.parametrize(
    ("kind", "dtype"), [(torch.float32, np.float32), (torch.float16, np.float16), (torch.float64, np.float64)]
)
def test_its_answers_are_those_of_onnx_runtime(data, kind, dtype):
    path = exported(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1)).to(kind), "m.onnx")
    teacher = taken(path, data)
    assert np.array_equal(teacher.predict(data.x), direct(path, dtype, data))
    assert teacher.mlp is not None and teacher.differentiable


@pytest.mark.parametrize("free", [True, False])
def test_a_chain_of_gemm_goes_to_the_fused_core(data, free):
    path = exported(perceptron(), "m.onnx", free=free)
    teacher = taken(path, data)
    assert "fused core (as mlp:8:silu)" in teacher.summary()
    scalers = data.scalers()
    x = torch.from_numpy(scalers.x.standardize(data.x)).float()
    assert np.allclose(scalers.y.restore(teacher.standardized(scalers)(x).numpy()), teacher.predict(data.x), atol=1e-5)


def test_a_residual_network_has_gradients_by_torch(data):
    module = Residual()
    teacher = taken(exported(module, "m.onnx"), data)
    assert teacher.mlp is None and teacher.differentiable
    x = torch.from_numpy(data.x[:5]).float().requires_grad_(True)
    (ours,) = torch.autograd.grad(teacher.module(x).sum(), x)
    (theirs,) = torch.autograd.grad(module(x).sum(), x)
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_weights_in_another_file(here, data):
    model = onnx.load(exported(perceptron(), "inside.onnx"))
    (here / "sub").mkdir()
    onnx.save(model, "sub/m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    teacher = taken("sub/m.onnx", data)
    save_teacher("kept", teacher, data)
    (here / "sub" / "m.data").unlink()
    assert np.array_equal(from_folder("kept").predict(data.x), teacher.predict(data.x))  # the copy stands alone
    with pytest.raises(ModelError, match="m.data"):
        load_teacher("sub/m.onnx")


@pytest.mark.parametrize("location", ["../m.data", "/etc/hostname", "link", "..", "a/../../m.data", "C:\\m", "m\0d"])
def test_weights_outside_of_the_folder_are_refused_and_nothing_is_told_of_them(here, data, location):
    model = onnx.load(exported(perceptron(), "inside.onnx"))
    (here / "sub").mkdir()
    (here / "sub" / "link").symlink_to(here / "m.data")
    onnx.save(model, "sub/m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    (here / "sub" / "m.data").rename(here / "m.data")
    model = onnx.load("sub/m.onnx", load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else entry.value
    Path("sub/m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="not a name inside 'sub'") as error:
        load_teacher("sub/m.onnx")
    assert "bytes" not in str(error.value)


def test_a_graph_that_goes_in_a_circle_is_named_as_such(here):
    model = onnx.load(exported(perceptron(), "m.onnx"))
    first, last = model.graph.node[0], model.graph.node[-1]
    first.input[0] = last.output[0]
    Path("m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="ONNX Runtime does not take 'm.onnx'"):
        load_teacher("m.onnx")


class Coded(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.out = nn.Embedding(5, 2), nn.Linear(5, 1)

    def forward(self, code, x):
        return self.out(torch.cat([self.table(code[:, 0]), x], 1))


def test_several_inputs_take_the_columns_in_their_order(data):
    module = Coded()
    args = (torch.zeros(3, 1, dtype=torch.long), torch.randn(3, 3))
    teacher = taken(exported(module, "m.onnx", args=args, inputs=("code", "x")), data)
    x = torch.from_numpy(data.x)
    with torch.no_grad():
        expected = module(x[:, :1].long(), x[:, 1:].float()).double().numpy()
    assert np.allclose(teacher.predict(data.x), expected, atol=1e-6)
    assert teacher.standardized(data.scalers())(10 * torch.randn(30, 4)).shape == (30, 1)  # codes stay in the table


class TwoHeads(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 1), nn.Linear(6, 1)

    def forward(self, x):
        h = torch.relu(self.body(x))
        return self.a(h), self.b(h), h


def test_extra_outputs(data):
    path = exported(TwoHeads(), "m.onnx", outputs=("prediction", "variance", "features"))
    teacher = taken(path, data)
    assert "'prediction' is taken" in " ".join(teacher.notes) and teacher.mlp is not None
    path = exported(TwoHeads(), "n.onnx", outputs=("left", "right", "features"))
    with pytest.raises(ModelError, match="--output left"):
        taken(path, data)
    right = taken(path, data, output="right")
    assert np.array_equal(
        right.predict(data.x),
        onnxruntime.InferenceSession(path).run(["right"], {"x": data.x.astype(np.float32)})[0].astype(float),
    )
    with pytest.raises(ModelError, match="no output 'middle'; it has 'left', 'right'"):
        load_teacher(path, output="middle")


def graph(nodes, constants=(), shape=("rows", 4)):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 1])
    made = helper.make_graph(nodes, "g", [x], [y], list(constants))
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, "g.onnx")
    return "g.onnx"


def test_an_operator_without_a_counterpart_is_named_and_values_are_used(data):
    weights = helper.make_tensor("w", TensorProto.FLOAT, [4, 1], [1.0, 2.0, 3.0, 4.0])
    nodes = [helper.make_node("Tan", ["x"], ["c"]), helper.make_node("MatMul", ["c", "w"], ["y"])]
    teacher = taken(graph(nodes, [weights]), data)
    assert "Tan" in " ".join(teacher.notes) and "values only" in teacher.summary()
    assert np.allclose(teacher.predict(data.x)[:, 0], np.tan(data.x) @ [1, 2, 3, 4], rtol=1e-3, atol=1e-3)


def test_a_chain_of_matmul_and_add_with_its_scaler_in_front(data):
    constants = [
        helper.make_tensor("mean", TensorProto.FLOAT, [4], [1.0, 2.0, 3.0, 4.0]),
        helper.make_tensor("scale", TensorProto.FLOAT, [4], [2.0, 2.0, 1.0, 0.5]),
        helper.make_tensor("w", TensorProto.FLOAT, [4, 3], np.linspace(-1, 1, 12)),
        helper.make_tensor("b", TensorProto.FLOAT, [3], [0.1, 0.2, 0.3]),
        helper.make_tensor("v", TensorProto.FLOAT, [3, 1], [1.0, -1.0, 2.0]),
    ]
    nodes = [
        helper.make_node("Sub", ["x", "mean"], ["c"]),
        helper.make_node("Div", ["c", "scale"], ["s"]),
        helper.make_node("MatMul", ["s", "w"], ["m"]),
        helper.make_node("Add", ["m", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["y"]),
    ]
    assert taken(graph(nodes, constants), data).mlp.widths == [4, 3, 1]


def test_images_in_flat_rows():
    rng = np.random.default_rng(0)
    data = dataset(rng.normal(size=(60, 16)), rng.normal(size=60))
    net = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 1)
    )
    path = exported(net, "c.onnx", args=(torch.randn(2, 1, 4, 4),))
    teacher = taken(path, data)
    with torch.no_grad():
        expected = net(torch.from_numpy(data.x).float().reshape(-1, 1, 4, 4)).double().numpy()
    assert np.allclose(teacher.predict(data.x), expected, atol=1e-6) and teacher.differentiable


class Answers(nn.Module):
    def __init__(self, large, small):
        super().__init__()
        self.large, self.small = large, small

    def forward(self, x):
        return torch.stack([self.large * x[:, 0], self.small * x[:, 1]], 1)


@pytest.mark.parametrize(("small", "other"), [(1e-9, 1.01e-9), (1.0, 1.001)])
def test_the_counterpart_is_compared_output_by_output(small, other):
    inputs = SimpleNamespace(features=2, types=[TensorProto.FLOAT], widths=[2])
    assert _difference(Answers(1e7, small), Answers(1e7, small), inputs) is None
    assert "differently" in _difference(Answers(1e7, other), Answers(1e7, small), inputs)


def test_answers_in_farad_have_gradients_and_the_fused_core(data):
    net = nn.Sequential(perceptron(), nn.Linear(1, 1))
    with torch.no_grad():
        net[1].weight.fill_(1e-9)
        net[1].bias.fill_(2e-10)
    teacher = taken(exported(net, "farad.onnx"), data)
    assert teacher.differentiable and teacher.mlp is not None
    assert np.allclose(teacher.predict(data.x), direct("farad.onnx", np.float32, data), rtol=1e-5, atol=0)


def test_the_runtime_writes_nothing_of_its_own(data, tmp_path, capfd):
    """A name that is not UTF-8 reaches ONNX Runtime's message, which cannot be decoded: it must not try again aloud."""
    node = helper.make_node("Sub", ["x", "QQQQ"], ["y"])
    rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4]) for name in "xy"]
    made = helper.make_model(
        helper.make_graph([node], "g", rows[:1], rows[1:]), opset_imports=[helper.make_opsetid("", 17)]
    )
    path = tmp_path / "t.onnx"
    path.write_bytes(made.SerializeToString().replace(b"QQQQ", b"QQ\xee\xee"))
    with pytest.raises(ModelError, match="QQ"):
        taken(path, data)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("names", [("t0", "t1", "features"), ("left", "right", "features")])
def test_a_head_for_each_target_is_joined_and_goes_to_the_fused_core(names):
    """As the targets are named, whatever their order; else by --output."""
    path = exported(TwoHeads(), "m.onnx", outputs=names)
    own = table()
    both = dataset(own.x, np.c_[own.y, own.y])
    given = {"output": "right,left"} if names[0] == "left" else {}
    teacher = taken(path, both, **given)
    assert "joined in this order" in " ".join(teacher.notes) and teacher.mlp is not None and teacher.differentiable
    session = onnxruntime.InferenceSession(path)
    order = ["right", "left"] if given else ["t0", "t1"]
    expected = np.concatenate(session.run(order, {"x": own.x.astype(np.float32)}), 1)
    assert np.array_equal(teacher.predict(own.x), expected.astype(float))
    save_teacher("kept", teacher, both)
    kept = from_folder("kept")
    check_teacher(kept, both)
    assert np.array_equal(kept.predict(own.x), expected.astype(float))
