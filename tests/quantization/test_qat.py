"""Quantization-aware distillation: the simulation is the graph, training helps, and what did not help is not used."""

from __future__ import annotations

import numpy as np
import pytest
from graphs import rows

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from regkd_edge.config import CORRECTIONS
from regkd_edge.data import Scalers
from regkd_edge.errors import GraphError
from regkd_edge.export import export_onnx
from regkd_edge.graph.chain import read_chain
from regkd_edge.graph.unoptimized import reference_outputs
from regkd_edge.models import build
from regkd_edge.objectives import StepRecipe
from regkd_edge.quantization.posttraining import plan_layers
from regkd_edge.quantization.qat import QuantizedNetwork, train_plan
from regkd_edge.quantization.writer import write_plan

PLAIN = tuple(name for name in CORRECTIONS if name != "split")  # INT8 numbers in one part


def case(tmp_path, activation):
    """A student of 4 inputs and 2 outputs, its INT8 plan, and a teacher that it has to follow."""
    teacher, student = build("mlp:24:tanh", 4, 2, seed=5), build(f"mlp:16,12:{activation}", 4, 2, seed=0)
    source = export_onnx(student, Scalers.identity(4, 2), tmp_path / "s.onnx")
    return teacher, student, plan_layers(read_chain(source), rows(d=4), ["int8"] * 3, corrections=PLAIN).plan


@pytest.mark.parametrize("activation", ["relu", "tanh", "silu"])
def test_the_written_graph_computes_what_training_simulated(tmp_path, activation):
    teacher, student, plan = case(tmp_path, activation)
    network = QuantizedNetwork(plan, activation)
    with torch.no_grad():  # away from the start: scales, weights and biases as training leaves them
        for i, parameter in enumerate(network.parameters()):
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(i)))
        simulated = network(torch.from_numpy(rows(d=4))).numpy()
    learnt = network.plan(plan)
    onnx.save(write_plan(learnt), tmp_path / "q.onnx")
    difference = np.abs(reference_outputs(tmp_path / "q.onnx", rows(d=4)) - simulated)
    # Float32 sums in another order may tip one hidden value over a rounding tie; that moves an output by one code's
    # worth.
    step = learnt.layers[-1].data_scale * np.abs(learnt.layers[-1].stored).max(axis=1)
    assert np.quantile(difference, 0.95) < 1e-4
    assert (difference.max(axis=0) <= 1.01 * step + 1e-4).all()


def test_training_through_the_quantizers_lowers_the_error(tmp_path):
    teacher, student, plan = case(tmp_path, "tanh")
    x, held = torch.from_numpy(rows(d=4)), rows(d=4, seed=8)
    with torch.no_grad():
        target = teacher(torch.from_numpy(held)).numpy()

    def judge(p):
        return float(np.sqrt(np.mean((p(held) - target) ** 2)))

    done = train_plan(plan, student, teacher, x, None, StepRecipe("mimic"), judge=judge, steps=120, batch=64, lr=3e-3)
    assert done.trained and done.after < 0.5 * done.before  # the student was never trained: there is much to learn
    assert judge(done.plan) == done.after


def test_training_that_does_not_help_is_not_used(tmp_path):
    teacher, student, plan = case(tmp_path, "tanh")
    done = train_plan(
        plan, student, teacher, torch.from_numpy(rows(d=4)), None, StepRecipe("mimic"), judge=lambda p: 1.0, steps=2
    )
    assert not done.trained and done.plan is plan


def test_without_rows_it_trains_on_synthetic_inputs(tmp_path):
    teacher, student, plan = case(tmp_path, "relu")
    seen = []
    done = train_plan(
        plan,
        student,
        teacher,
        None,
        None,
        StepRecipe("mimic"),
        judge=lambda p: float(len(seen.append(p) or seen)),
        steps=3,
    )
    assert done.steps == 3 and not done.trained


def test_a_mixed_plan_is_refused(tmp_path):
    _, _, plan = case(tmp_path, "relu")
    mixed = plan_layers(plan.chain, rows(d=4), ["int8", "fp16", "int8"], corrections=PLAIN).plan
    with pytest.raises(GraphError, match="one in fp16"):
        QuantizedNetwork(mixed, "relu")


def test_where_nothing_is_to_be_learnt_nothing_moves(tmp_path):
    """The plan's own answers as the teacher: every gradient is 0, and no weight decays."""
    _, student, plan = case(tmp_path, "tanh")
    teacher = QuantizedNetwork(plan, "tanh")
    done = train_plan(
        plan, student, teacher, torch.from_numpy(rows(d=4)), None, StepRecipe("mimic"),
        judge=lambda p: 1.0 if p is plan else 0.0, steps=5, lr=0.1,
    )  # fmt: skip
    assert done.trained and done.steps == 5
    for old, new in zip(teacher.plan(plan).layers, done.plan.layers):
        np.testing.assert_allclose(new.weight, old.weight, rtol=1e-6)
        np.testing.assert_allclose(new.bias, old.bias, rtol=1e-6)
        assert new.data_scale == pytest.approx(old.data_scale, rel=1e-6)
