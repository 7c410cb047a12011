"""Optimizers are PyTorch's, schedules are functions of the step, a state can be stored and continued."""

from __future__ import annotations

import copy

import pytest
import torch

from regkd_edge.errors import RecipeError
from regkd_edge.fused import Optimizer, TrainState
from regkd_edge.models.mlp import MLP

TORCH = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "rmsprop": torch.optim.RMSprop}


def gradients(model, x, y):
    return torch.autograd.grad((model(x) - y).square().mean(), list(model.parameters()))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("kind", TORCH)
def test_the_update_is_pytorchs(kind, weight_decay):
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 3, generator=g), torch.randn(20, 1, generator=g)
    ours = MLP([3, 8, 1], "tanh", generator=g).double()
    theirs = copy.deepcopy(ours)
    x, y = x.double(), y.double()
    state, optimizer = TrainState(), Optimizer(kind, lr=1e-2, weight_decay=weight_decay)
    reference = TORCH[kind](theirs.parameters(), lr=1e-2, weight_decay=weight_decay)
    for _ in range(50):
        optimizer.update(list(ours.parameters()), gradients(ours, x, y), state, 50)
        for p, grad in zip(theirs.parameters(), gradients(theirs, x, y)):
            p.grad = grad
        reference.step()
    for a, b in zip(ours.parameters(), theirs.parameters()):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)  # the same formulas in another order, float64


@pytest.mark.parametrize(
    "schedule,half,last", [("constant", 1.0, 1.0), ("linear", 0.5, 0.01), ("cosine", 0.5, 0.000246719)]
)
def test_learning_rates(schedule, half, last):
    optimizer = Optimizer(lr=2.0, schedule=schedule)
    assert optimizer.rate(0, 100) == 2.0
    assert optimizer.rate(50, 100) == pytest.approx(2 * half)
    assert optimizer.rate(99, 100) == pytest.approx(2 * last, rel=1e-5)


def test_a_state_survives_a_flat_dict():
    model = MLP([2, 3, 1])
    state, optimizer = TrainState(), Optimizer()
    optimizer.update(list(model.parameters()), [torch.ones_like(p) for p in model.parameters()], state, 10)
    flat = state.state_dict()
    assert all(isinstance(v, torch.Tensor) for v in flat.values())
    again = TrainState.load(flat)
    assert again.step == 1 and list(again.slots) == ["m", "v"]
    assert all(torch.equal(a, b) for name in state.slots for a, b in zip(state.slots[name], again.slots[name]))


def test_a_state_of_another_run_is_refused():
    params = [torch.zeros(2, 3)]
    state = TrainState()
    Optimizer("adam").update(params, [torch.ones(2, 3)], state, 10)
    with pytest.raises(RecipeError, match="rmsprop"):
        Optimizer("rmsprop").update(params, [torch.ones(2, 3)], state, 10)
    with pytest.raises(RecipeError, match=r"\(4, 3\)"):
        Optimizer("adam").update([torch.zeros(4, 3)], [torch.ones(4, 3)], state, 10)
    for broken in ({}, {"step": torch.tensor(1), "mm": torch.zeros(1)}):
        with pytest.raises(RecipeError):
            TrainState.load(broken)
    with pytest.raises(RecipeError, match="averages"):
        Optimizer("adam").update(params, [torch.ones(2, 3)], TrainState(step=5), 10)


@pytest.mark.parametrize(
    "fields", [{"kind": "sgdx"}, {"lr": -1}, {"schedule": "zigzag"}, {"betas": (1.0, 0.9)}, {"eps": float("nan")}]
)
def test_nonsense_is_refused(fields):
    with pytest.raises(RecipeError):
        Optimizer(**fields)
