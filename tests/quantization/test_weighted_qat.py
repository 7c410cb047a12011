"""Training through the quantizers for convolutions and GRUs: the simulation is the graph, and INT8 gains by it."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import regkd_edge as rk
from regkd_edge.config import CORRECTIONS
from regkd_edge.data import Scalers
from regkd_edge.errors import GraphError
from regkd_edge.export import export_onnx
from regkd_edge.graph.weighted import read_weighted
from regkd_edge.models import build
from regkd_edge.objectives import StepRecipe
from regkd_edge.quantization.qat import train_plan
from regkd_edge.quantization.weighted_posttraining import plan_weighted
from regkd_edge.quantization.weighted_qat import QuantizedLayers

PLAIN = tuple(name for name in CORRECTIONS if name != "split")  # INT8 numbers in one part
STUDENTS = [
    ("conv1d:6x5/2,8d3/2,flat,7:relu", (2, 16)),
    ("conv1d:4x3,gap,5:tanh:channels-last", (12, 3)),
    ("conv2d:4x3/2,6d3,gap:silu", (1, 6, 6)),
    ("gru:5,4", (8, 3)),
]


def rows(d, n=256, seed=3):
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def case(tmp_path, spec, shape):
    d = int(np.prod(shape))
    student = build(spec, d, 2, seed=0, shape=shape)
    source = export_onnx(student, Scalers.identity(d, 2), tmp_path / "s.onnx")
    chain = read_weighted(source)
    return student, plan_weighted(chain, rows(d), ["int8"] * len(chain.layers), corrections=PLAIN).plan, d


@pytest.mark.parametrize("spec, shape", STUDENTS)
def test_the_written_graph_computes_what_training_simulated(tmp_path, spec, shape, monkeypatch):
    monkeypatch.delattr(torch.nn.Module, "set_submodule", raising=False)  # torch 2.4 lacks it
    student, plan, d = case(tmp_path, spec, shape)
    network = QuantizedLayers(plan, student)
    with torch.no_grad():  # away from the start: scales, weights and biases as training leaves them
        for i, parameter in enumerate(p for p in network.parameters() if p.requires_grad):
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i)))
        simulated = network(torch.from_numpy(rows(d, seed=4))).numpy()
        exact = student(torch.from_numpy(rows(d, seed=4))).numpy()
    difference = np.abs(network.plan(plan)(rows(d, seed=4)) - simulated)
    # A rounding tie tips where float32 sums in another order; a GRU in two parts is exact to 1e-4 of its range.
    spread = np.ptp(simulated, axis=0)
    assert (np.quantile(difference, 0.9, axis=0) < 2e-3 * spread).all() and (difference < 0.05 * spread).all()
    assert np.abs(simulated - exact).max() > 1e-3  # something was rounded


@pytest.mark.parametrize("spec, shape", STUDENTS)
def test_training_through_the_quantizers_lowers_the_error(tmp_path, spec, shape):
    student, plan, d = case(tmp_path, spec, shape)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    teacher = build("mlp:8:tanh", d, 2, seed=5)
    x, held = torch.from_numpy(rows(d)), rows(d, seed=8)
    with torch.no_grad():
        target = teacher(torch.from_numpy(held)).numpy()
    judge = lambda p: float(np.sqrt(np.mean((p(held) - target) ** 2)))
    done = train_plan(plan, student, teacher, x, None, StepRecipe("mimic"), judge=judge, steps=60, lr=1e-2)
    assert done.trained and judge(done.plan) == done.after < 0.95 * done.before  # the student was never trained
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())


def test_a_layer_that_the_student_does_not_have_is_refused(tmp_path):
    _, plan, d = case(tmp_path, *STUDENTS[0])
    with pytest.raises(GraphError, match="'block0/conv' of the graph is none of the student's.*--no-qat"):
        QuantizedLayers(plan, build(STUDENTS[0][0], d, 2, seed=1, shape=(2, 16)))


def test_int8_gains_by_qat_where_it_loses(tmp_path):
    """The student follows its teacher exactly, and a few loud rows make one step for all data too coarse for it."""
    student, _, d = case(tmp_path, "conv1d:4d3,4d3,gap,4:relu", (2, 16))
    loud = rows(d, n=1000, seed=6) * np.where(np.arange(1000) % 20 == 0, 12.0, 1.0)[:, None].astype(np.float32)
    chain = read_weighted(tmp_path / "s.onnx")
    plan = plan_weighted(chain, loud[:600], ["int8"] * len(chain.layers), corrections=PLAIN).plan
    exact = chain(loud[600:])
    judge = lambda p: float(np.sqrt(np.mean((p(loud[600:]) - exact) ** 2)))
    x = torch.from_numpy(loud[:600])
    done = train_plan(plan, student, student, x, None, StepRecipe("mimic"), judge=judge, steps=150, lr=3e-3)
    assert done.before > 0.01 * exact.std()  # INT8 loses
    assert done.trained and done.after < 0.9 * done.before
    never = train_plan(plan, student, student, x, None, StepRecipe("mimic"), judge=lambda p: 1.0, steps=1)
    assert never.plan is plan  # what does not help is not used


def test_the_library_trains_a_convolution_through_its_quantizers(tmp_path):
    x = rows(32, n=120).reshape(-1, 2, 16)
    y = np.tanh(x[:, :1, :8].mean(2))
    teacher = rk.load_teacher(build("mlp:8:tanh", 32, 1, seed=5), units="raw")
    student = rk.distill(teacher, x, y, student="conv1d:3x3/2,gap:relu", recipe="mimic", steps=20)
    done = rk.quantize(
        student, "int8", calibrate=x, validation=(x, y), qat=True, qat_steps=5, teacher=teacher, train=(x, y)
    )  # fmt: skip
    assert done.summary["precision"] == "int8" and done.summary["qat"]["steps"] == 5
