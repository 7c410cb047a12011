"""The moving average of the weights: what joins it, that it is what is validated and kept, on every back end alike."""

from __future__ import annotations

import pytest
import torch

from regkd_edge.config import DistillConfig
from regkd_edge.errors import RecipeError
from regkd_edge.fused import Member, Optimizer, advance
from regkd_edge.models import build
from regkd_edge.objectives import StepRecipe
from regkd_edge.training import distill

from .test_resume import equal
from .test_train import same_weights, short


def member(average, compute="torch", seed=0):
    g = torch.Generator().manual_seed(1)
    x = torch.randn(40, 3, generator=g)
    optimizer = Optimizer(lr=1e-2, average=average)
    found = Member(
        build("mlp:5:tanh", 3, 1, 0), None, x, x.sum(1, keepdim=True), StepRecipe(base="labels"), optimizer, 400, 8
    )
    found.decide(compute)
    return found


@pytest.mark.parametrize("compute", ["torch", "auto"])
@pytest.mark.parametrize("decay", [0.9, 0.99])
def test_it_is_the_average_by_its_definition(compute, decay):
    """Against a loop that takes one step at a time and averages by hand."""
    ours, by_hand = member(decay, compute), member(0.0, compute)
    advance([ours], 35)
    advance([ours], 18)
    every = {0.9: 1, 0.99: 5}[decay]  # a twentieth of the time constant
    average = None
    for step in range(1, 54):
        advance([by_hand], 1)
        if step % every:
            continue
        now, joined = [p.detach().clone() for p in by_hand.parameters()], step // every
        keep = min(decay**every, (1 + joined) / (10 + joined))
        average = now if average is None else [keep * a + (1 - keep) * b for a, b in zip(average, now)]
    for p, q, counted, expected in zip(ours.parameters(), by_hand.parameters(), ours.averaged().parameters(), average):
        assert torch.equal(p, q), "the training itself is not changed by it"
        assert torch.allclose(counted, expected, atol=1e-6) and not torch.equal(counted, p)


def test_members_with_and_without_one_train_together():
    together, alone = [member(0.99), member(0.0), member(0.9)], [member(0.99), member(0.0), member(0.9)]
    for done, one in zip(advance(together, 33), alone):
        assert torch.equal(done.losses, advance([one], 33)[0].losses)
    for a, b in zip(together, alone):
        assert all(torch.equal(p, q) for p, q in zip(a.averaged().parameters(), b.averaged().parameters()))


@pytest.mark.parametrize("steps", [200, "auto"])
def test_the_average_is_kept_and_goes_on_with_the_same_bits(data, teacher, tmp_path, steps):
    config = short(steps=steps, ema=0.98, budget=0.5) if steps == "auto" else short(steps=steps, ema=0.98)
    whole = distill(data, teacher, config, 0)
    without = distill(data, teacher, config.model_copy(update={"ema": 0.0}), 0)
    assert not same_weights(whole, without)
    if steps == "auto":
        return
    assert [e["total"] for e in whole.history] == [e["total"] for e in without.history], "the steps are the same"
    assert [e["validation_rmse"] for e in whole.history] != [e["validation_rmse"] for e in without.history]

    def stop(step, *_):
        if step == 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        distill(data, teacher, config, 0, progress=stop, checkpoint=tmp_path / "c")
    assert equal(distill(data, teacher, config, 0, checkpoint=tmp_path / "c"), whole)


def test_a_noisy_training_is_smoothed():
    """Large constant steps on noisy labels: the average of the last weights
    is nearer to the truth than the last ones."""
    g = torch.Generator().manual_seed(1)
    x, held = torch.randn(400, 3, generator=g), torch.randn(500, 3, generator=g)
    truth = lambda v: torch.sin(v.sum(1, keepdim=True))
    y = truth(x) + 0.5 * torch.randn(400, 1, generator=g)
    for seed in range(3):
        network, optimizer = build("mlp:8:tanh", 3, 1, seed), Optimizer(lr=3e-2, average=0.99)
        one = Member(network, None, x, y, StepRecipe(base="labels"), optimizer, 1500, 8, seed)
        advance([one], 1500)
        with torch.no_grad():
            last, average = ((net(held) - truth(held)).square().mean() for net in (one.student, one.averaged()))
        assert average < 0.8 * last  # measured: 0.2 to 0.6


def test_values_that_make_no_average_are_refused():
    with pytest.raises(ValueError, match="ema"):
        DistillConfig.model_validate({"ema": 1.0})
    with pytest.raises(RecipeError, match="average must be at least 0 and below 1"):
        Optimizer(average=1.0)
