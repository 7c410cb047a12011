"""Target-anchored points: found by differential evolution, where the teacher answers as asked and the two disagree."""

from __future__ import annotations

import pytest
import torch
from scipy.optimize import differential_evolution

from regkd_edge.errors import RecipeError
from regkd_edge.fused import Member, Optimizer
from regkd_edge.models import MLP
from regkd_edge.objectives import StepRecipe
from regkd_edge.sampling import Feed, Part, TargetAnchored, advance_fed
from regkd_edge.sampling.anchored import evolve
from regkd_edge.sampling.sampler import noise


def net(widths, seed):
    return MLP(widths, "tanh", generator=torch.Generator().manual_seed(seed)).requires_grad_(False)


def test_evolution_finds_what_scipys_finds():
    rastrigin = lambda x: (x * x - 3 * torch.cos(4 * x) + 3).sum(-1)
    low, high = torch.full((3,), -3.0), torch.full((3,), 2.0)
    x, cost = evolve(rastrigin, low, high, 8, noise(0, 0, 0), population=40, generations=150)
    theirs = differential_evolution(lambda v: rastrigin(torch.tensor(v)).item(), [(-3, 2)] * 3, rng=0)
    # float32 near a minimum of curvature about 50: costs agree to 1e-4, at least in most of the eight runs
    assert ((cost - theirs.fun).abs() < 1e-4).sum() >= 6
    assert (x >= low).all() and (x <= high).all()


def test_the_teacher_answers_near_the_targets_and_the_networks_disagree():
    teacher, student = net([3, 20, 1], 1), net([3, 6, 1], 2)
    spread = teacher(8 * torch.rand(4000, 3) - 4)
    low, high = torch.full((3,), -4.0), torch.full((3,), 4.0)
    targets = (spread.quantile(0.2).item(), spread.quantile(0.8).item())
    sampler = TargetAnchored(low, high, targets=targets, pool=60)
    even = sampler.draw(500, 0)
    found = sampler.search(student, teacher, 0)
    gap = lambda x: (teacher(x) - student(x)).square().mean().item()
    margin = 0.1 * (targets[1] - targets[0])
    assert (teacher(found) > targets[0] - margin).all() and (teacher(found) < targets[1] + margin).all()
    assert gap(found) > gap(even)


def test_a_student_trains_on_the_pool_and_a_teacher_needs_no_gradient():
    teacher = net([2, 20, 1], 1)
    sampler = TargetAnchored(torch.full((2,), -2.0), torch.full((2,), 2.0), pool=40, generations=5)
    student = MLP([2, 8, 1], "tanh", generator=torch.Generator().manual_seed(3))
    member = Member(student, lambda x: teacher(x), None, None, StepRecipe(base="mimic"), Optimizer(lr=1e-2), 200, 20, 0)
    losses = advance_fed([member], [Feed([Part(sampler, 20)])], 200)[0].losses
    assert losses[-20:, 0].mean() < 0.3 * losses[:20, 0].mean()


def test_its_state_brings_back_the_pool():
    teacher, student = net([2, 20, 1], 1), net([2, 6, 1], 2)
    box = torch.full((2,), -1.0), torch.full((2,), 1.0)
    one, two = TargetAnchored(*box, seed=1), TargetAnchored(*box, seed=1)
    one.learn(student, teacher, 10)
    two.load_state_dict(one.state_dict())
    assert (one.draw(9, 20) == two.draw(9, 20)).all() and two.rounds == 1


def test_a_box_without_bounds_is_refused():
    with pytest.raises(RecipeError, match="finite low"):
        TargetAnchored(torch.zeros(2), torch.tensor([1.0, float("inf")]))
