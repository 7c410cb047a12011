"""Students of the user's own: from a factory to an engine, and code that runs only where it is named."""

from __future__ import annotations

import numpy as np
import pytest

import regkd_edge as rk
from regkd_edge.errors import GraphError, ModelError
from regkd_edge.models import Student, build

CODE = """
import torch
from torch import nn

class Residual(nn.Module):
    def __init__(self, channels, outputs):
        super().__init__()
        self.first, self.second = nn.Conv1d(channels, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)
        self.last = nn.Linear(4, outputs)
    def forward(self, x):
        x = torch.relu(self.first(x))
        x = x + torch.relu(self.second(x))
        return self.last(x.mean(2))

def make(shape, outputs):
    return Residual(shape[0], outputs)

def flat(shape, outputs):
    return nn.Linear(3, outputs)

def mixing(shape, outputs):
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Linear(16, outputs))

def nothing(shape, outputs):
    return None

def broken(shape, outputs):
    raise RuntimeError("no such layer")

class Sorted(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))
    def forward(self, x):
        return self.w * torch.special.bessel_j0(x.flatten(1).mean(1, keepdim=True))

def strange(shape, outputs):
    return Sorted()
"""


@pytest.fixture
def code(tmp_path, monkeypatch):
    (tmp_path / "own_students.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def rows(n=80):
    x = np.random.default_rng(0).normal(size=(n, 2, 8))
    return x, np.tanh(x.mean((1, 2)))[:, None]


def test_a_module_of_ones_own_goes_all_the_way(code):
    x, y = rows()
    spec = "factory:own_students.py:make"
    student = rk.distill(lambda x: np.tanh(x.mean((1, 2))), x, y, student=spec, recipe="mimic", steps=40)
    assert student.input_shape == (2, 8) and str(student.spec) == spec
    graph = student.export("s.onnx", check=x)
    assert graph.summary["check"]["targets"][0]["max_abs"] < 1e-5
    for precision in ("int8", "fp16"):
        engine = rk.build(rk.quantize(student, precision, calibrate=x))
        assert np.abs(engine.predict(x) - student.predict(x)).max() < 0.05 * student.predict(x).std()
    student.save("kept")
    with pytest.raises(ModelError, match="needs the factory of 'factory:own_students.py:make', which was not named"):
        Student.load("kept")
    assert np.array_equal(Student.load("kept", factory=spec).predict(x), student.predict(x))


def test_the_seed_fixes_its_weights_and_leaves_torch_alone(code):
    import torch

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    a, b, c = (build("factory:own_students:make", 16, 1, seed, shape=(2, 8)) for seed in (1, 1, 2))
    x = torch.randn(3, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(a(x), b(x)) and not torch.equal(a(x), c(x))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("flat", "fails on rows of shape 2x8"),
        ("mixing", "a BatchNorm1d, which mixes rows while it trains. Use GroupNorm"),
        ("nothing", "returned NoneType, expected a torch.nn.Module"),
        ("broken", "calling 'own_students.py:broken' failed: RuntimeError: no such layer"),
        ("absent", "has no 'absent'"),
    ],
)
def test_factories_that_do_not_fit_are_refused(code, name, message):
    with pytest.raises(ModelError) as refused:
        build(f"factory:own_students.py:{name}", 16, 1, 0, shape=(2, 8))
    assert message in str(refused.value)


def test_what_pytorch_cannot_export_is_said(code):
    x, y = rows(30)
    student = rk.distill(
        lambda x: x.mean((1, 2)), x, y, student="factory:own_students.py:strange", recipe="mimic", steps=5
    )
    with pytest.raises(GraphError, match="PyTorch cannot export this Sorted to ONNX"):
        student.export("s.onnx")
