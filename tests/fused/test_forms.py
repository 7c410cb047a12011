"""Modules that are MLPs in disguise run on the fused core, with the numbers of the torch path."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regkd_edge.fused import Optimizer, distill_steps, fit_steps
from regkd_edge.fused.forms import core_forms
from regkd_edge.models import MLP
from regkd_edge.objectives import StepRecipe


def student():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))


def teacher():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))
    nn.init.normal_(net[1].running_mean)
    nn.init.uniform_(net[1].running_var, 0.5, 2)
    return net.eval()


ROWS = torch.randn(60, 5, generator=torch.Generator().manual_seed(3))
RECIPE = StepRecipe(base="mimic", w_pm=1.0, w_gm=0.1, sigma=0.1)


def trained(compute):
    net = student()
    progress = distill_steps(
        net, teacher(), ROWS, None, RECIPE, Optimizer("adam", 1e-2), n=30, total=30, batch=20, compute=compute
    )
    return net, progress


def test_a_sequence_with_batch_normalization_takes_the_core_without_a_word():
    ours, progress = trained("cpu")  # insists on the core: it would raise where it cannot run
    theirs, by_torch = trained("torch")
    assert progress.choice.compute == "cpu" and trained("auto")[1].choice.compute == "cpu"
    # 30 Adam steps in float32; sums are taken in another order
    assert torch.allclose(progress.losses, by_torch.losses, rtol=1e-3, atol=1e-5)
    assert torch.allclose(ours[0].weight, theirs[0].weight, atol=1e-4)
    assert not torch.allclose(ours[0].weight, student()[0].weight, atol=1e-2)  # trained in place


def test_labels_alone_train_a_sequence_on_the_core():
    net = student()
    progress = fit_steps(net, ROWS, ROWS.sum(1, keepdim=True), Optimizer("adam", 1e-2), n=20, total=20, batch=20)
    assert progress.choice.compute == "cpu" and progress.losses[-1, 0] < progress.losses[0, 0]


@pytest.mark.parametrize("change", ["training", "hook", "residual", "marked"])
def test_what_is_no_mlp_or_answers_otherwise_is_left_to_torch(change):
    net = teacher()
    if change == "training":
        net.train()
    elif change == "hook":
        net[0].register_forward_hook(lambda *parts: None)
    elif change == "residual":
        net = nn.Sequential(nn.Linear(5, 5), nn.LayerNorm(5), nn.Linear(5, 1)).eval()
    else:
        net.differentiable = False
    mean = net[1].running_mean.clone() if change == "training" else None
    own, asked = core_forms(student(), net, 5)
    assert type(own) is MLP and asked is net
    assert mean is None or torch.equal(net[1].running_mean, mean)  # it was not run to find out


def test_a_student_whose_weights_are_computed_is_trained_by_torch():
    torch.manual_seed(1)
    net = MLP([5, 8, 1])
    nn.utils.parametrizations.weight_norm(net.layers[0])
    before = net.layers[0].weight.clone()
    folded = core_forms(net, teacher(), 5)[0]
    assert folded is net
    progress = distill_steps(net, teacher(), ROWS, None, RECIPE, Optimizer("adam", 1e-2), n=20, total=20, batch=20)
    assert progress.choice.compute == "torch" and "parametrization" in progress.choice.reason
    assert not torch.allclose(net.layers[0].weight, before, atol=1e-2)


def test_a_teacher_whose_weights_are_computed_is_folded():
    torch.manual_seed(0)
    net = MLP([5, 8, 1]).eval()
    nn.utils.parametrizations.weight_norm(net.layers[0])
    folded = core_forms(student(), net, 5)[1]
    assert folded is not net and torch.allclose(folded(ROWS), net(ROWS), atol=1e-6)
