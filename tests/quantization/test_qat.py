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
from regkd_edge.objectives import StepRecipe, row_quantities
from regkd_edge.quantization.posttraining import plan_layers
from regkd_edge.quantization.qat import QuantizedNetwork, _trust, train_plan
from regkd_edge.quantization.rounded import rounded
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


# -- gradients ----------------------------------------------------------------------------------------------------


def test_values_have_a_straight_gradient_inside_of_the_range_and_scales_that_of_learned_step_sizes():
    """Esser et al. (2020), equations 1 to 3: d/dx is 1 inside and 0 outside;
    d/ds is round(v) - v inside, else the end."""
    x = torch.tensor([0.26, -0.74, 1.51, 90.0, -90.0], requires_grad=True)
    scale = torch.tensor(0.5, requires_grad=True)
    got = rounded(x, scale, -128.0, 127.0)
    np.testing.assert_allclose(got.detach().numpy(), [0.5, -0.5, 1.5, 63.5, -64.0], rtol=1e-6)
    upstream = torch.tensor([1.0, 2.0, 3.0, 5.0, 7.0])
    (got * upstream).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [1, 2, 3, 0, 0])
    steps = np.array([1 - 0.52, -1 + 1.48, 3 - 3.02, 127, -128])
    assert scale.grad.item() == pytest.approx(float(steps @ upstream.numpy()), rel=1e-5)


def test_it_answers_as_its_plan_with_shifts_rates_and_learnt_codes(tmp_path):
    _, student, plan = case(tmp_path, "tanh")
    a = plan.chain.scaled(rows(d=4))
    shift, rate = np.array([0.5, 0, -1, 0], np.float32), np.array([2.0, 1, 0.5, 1], np.float32)
    moved = plan.with_layer(0, shift=shift, rate=rate)
    with torch.no_grad():
        for one in (plan, moved):
            network = QuantizedNetwork(one, "tanh")
            answers = network(torch.from_numpy(a)).numpy()
            assert np.quantile(np.abs(answers - one.resume(a, 0)), 0.95) < 1e-4  # a tie may fall to either side
            assert network.widths == [4, 16, 12, 2]
        for layer in network.plan(plan).layers:
            np.testing.assert_array_equal(layer.weight, layer.codes * layer.weight_scale[:, None])
            np.testing.assert_array_equal(layer.stored, layer.weight)
        network.weights[0].add_(100.0)  # far beyond the range: clipped to the largest code
        assert network.plan(moved).layers[0].codes.max() == 127
        np.testing.assert_array_equal(network.plan(moved).layers[0].shift, shift)


def test_the_teachers_share_per_row_is_that_of_distillation_and_only_mix_has_one(tmp_path):
    rng = np.random.default_rng(0)
    x, y = (torch.tensor(rng.normal(size=(50, k)), dtype=torch.float32) for k in (4, 2))
    teacher, seen = (lambda v: v[:, :2] * 0.5), []
    found = _trust(lambda v: seen.append(len(v)) or teacher(v), x, y, StepRecipe("mix"))
    want = row_quantities(teacher(x), y, StepRecipe("mix").outlier_k, StepRecipe("mix").outlier_rule)
    torch.testing.assert_close(found.mix, want.phi)
    assert seen == [50] and _trust(teacher, x, y, StepRecipe("mimic")) is None


@pytest.mark.parametrize("way", ["trained", "not trained", "split"])
def test_the_best_on_validation_rows_is_written_and_the_summary_says_which(tmp_path, monkeypatch, way):
    """Training is given its result: FP32's own weights moved a little, or far off; or two parts win over it."""
    from regkd_edge.models import Student, parse_spec
    from regkd_edge.quantization import qat

    teacher, network = build("mlp:24:tanh", 4, 2, seed=5), build("mlp:16,12:tanh", 4, 2, seed=0)
    scalers = Scalers.identity(4, 2)
    student = Student(network, scalers, parse_spec("mlp:16,12:tanh"), list("abcd"), list("uv"))
    source, x, held = export_onnx(network, scalers, tmp_path / "s.onnx"), rows(d=4), rows(d=4, seed=8)
    labels = read_chain(source)(held) + {"trained": 0.5, "not trained": 0.5, "split": 1e-4}[way] * rows(256, 2, seed=3)
    given = {}

    def trained(plan, module, follows, x, y, recipe, **options):
        given.update(options, module=module, x=x, y=y)
        worse = plan.with_layer(2, bias=plan.layers[2].bias + np.float32(3.0))
        if way == "not trained":
            return qat.TrainedPlan(plan, False, options["judge"](plan), options["judge"](worse), 7)
        return qat.TrainedPlan(plan.with_layer(2, bias=plan.layers[2].bias + np.float32(1e-7)), True, 0.5, 0.25, 7)

    monkeypatch.setattr(qat, "train_plan", trained)
    done = qat.quantize_with_qat(
        source, tmp_path / "q.onnx", x, student, teacher, train=(x, rows(256, 2)), validation=(held, labels),
        recipe=StepRecipe("mimic"), steps=7, batch=16, lr=0.5, seed=3,
        corrections=CORRECTIONS if way == "split" else PLAIN,
        rank_layers=way == "trained",
    )  # fmt: skip
    record = done.extra["qat"]
    assert record["kept"] is (way == "trained") and record["steps"] == 7
    assert (given["steps"], given["batch"], given["lr"], given["seed"]) == (7, 16, 0.5, 3)
    torch.testing.assert_close(given["x"], torch.from_numpy(x))
    assert given["module"] is network and given["y"].shape == (256, 2)
    assert ("sensitivity" in done.extra) == (way == "trained")
    assert done.calibration == {"rows": 256, "method": "output"} and done.precision == "int8"
    said = " ".join(done.notes)
    assert ("did not lower the validation RMSE significantly" in said) == (way == "not trained")
    assert ("is not used: without it, in two parts" in said) == (way == "split")
    if way == "split":
        assert "in two INT8 parts" in said and (record["rise_before"], record["rise_after"]) == (0.5, 0.25)
