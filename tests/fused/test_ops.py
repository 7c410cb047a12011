"""The registered operators: right under eager autograd with any upstream gradient, torch.compile and torch.export."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import library
from torch._subclasses.fake_tensor import FakeTensorMode

from regkd_edge.errors import ModelError, RecipeError
from regkd_edge.fused import distill_step, matching_loss, ops, perturb, single_step
from regkd_edge.fused.eager import plainly_eager
from regkd_edge.fused.reference import step_loss
from regkd_edge.models.mlp import MLP
from regkd_edge.objectives import StepRecipe, base_rows, row_quantities

RECIPE = StepRecipe.kang2024("blend", draws=2)


@pytest.fixture
def world():
    g = torch.Generator().manual_seed(0)
    teacher, student = MLP([5, 9, 7, 2], "tanh", generator=g), MLP([5, 6, 4, 2], "silu", generator=g)
    return student, teacher, torch.randn(10, 5, generator=g), torch.randn(10, 2, generator=g)


def gradient(loss, model):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(model.parameters()))])


def test_distill_step_is_the_reference_with_an_upstream_gradient(world):
    student, teacher, x, y = world
    where = {"seed": 3, "step": 2, "total": 5}
    loss, terms = distill_step(student, teacher, x, y, RECIPE, **where)
    rows = row_quantities(teacher(x).detach(), y)
    expected, expected_terms = step_loss(student, teacher, x, y, rows, RECIPE, **where)
    # 1e-5: float32 against float32, sums in another order, second order included
    torch.testing.assert_close(terms, expected_terms, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        gradient(loss.sin() * 3, student), gradient(expected.sin() * 3, student), rtol=1e-4, atol=1e-5
    )


def test_an_eager_call_is_the_registered_operator(world, monkeypatch):
    """Past the dispatcher or through it: the same bits."""
    student, teacher, x, y = world
    rows = row_quantities(teacher(x).detach(), y)
    found = []
    for short in (True, False):
        for module in (ops, single_step):
            monkeypatch.setattr(module, "plainly_eager", lambda _, short=short: short)
        step, terms = distill_step(student, teacher, x, y, RECIPE, seed=3, step=2, total=5)
        loss = matching_loss(student(x), rows, y, StepRecipe("tbr"))
        found.append([step, terms, gradient(2 * step, student), loss, gradient(2 * loss, student)])
        found[-1].append(perturb(x, 0.1, 2, 1, 0))
    assert all(torch.equal(a, b) for a, b in zip(*found))


def test_what_is_plainly_eager():
    x = torch.zeros(2)
    assert plainly_eager(x)
    assert not plainly_eager(torch.nn.Parameter(x))  # a subclass, like those that trace
    seen = []
    torch.func.grad(lambda v: (seen.append(plainly_eager(torch.zeros(2))), v.sum())[1])(x)
    with FakeTensorMode():
        seen.append(plainly_eager(x))
    assert seen == [False, False]


def test_a_second_derivative_is_an_error(world):
    student, teacher, x, y = world
    loss, _ = distill_step(student, teacher, x, y, RECIPE, seed=3)
    first = torch.autograd.grad(loss, list(student.parameters()), create_graph=True)
    with pytest.raises(RuntimeError, match="does not require grad"):
        torch.autograd.grad(first[0].sum(), list(student.parameters()))
    loss, _ = distill_step(student, teacher, x, y, RECIPE, seed=3)
    curved = torch.autograd.grad(loss.sin(), list(student.parameters()), create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        curved[0].sum().backward()


def test_without_gradients_nothing_is_recorded(world):
    student, teacher, x, y = world
    with torch.no_grad():
        assert not distill_step(student, teacher, x, y, RECIPE, seed=3)[0].requires_grad
    assert not perturb(x, 0.1, 2, 1, 0).requires_grad
    assert perturb(x.clone().requires_grad_(), 0.1, 2, 1, 0).requires_grad


def test_a_counter_moves_the_step_on(world):
    student, teacher, x, y = world
    for twin in (False, True):
        change = (lambda net: net.double()) if twin else (lambda net: net)  # the core computes in float32 alone
        nets, rows = [change(copy.deepcopy(net)) for net in (student, teacher)], [change(v) for v in (x, y)]
        call = {"seed": 3, "total": 9}
        there = distill_step(*nets, *rows, RECIPE, step=2, counter=torch.tensor([5]), **call)[1]
        assert torch.equal(there, distill_step(*nets, *rows, RECIPE, step=7, **call)[1])
        assert not torch.equal(there, distill_step(*nets, *rows, RECIPE, step=2, **call)[1])


@pytest.mark.slow
def test_distill_step_compiles_whole_and_exports(world):
    student, teacher, x, y = world

    def f(x, y):
        loss, _ = distill_step(student, teacher, x, y, RECIPE, seed=3)
        return 3 * loss

    compiled = torch.compile(f, fullgraph=True)
    torch.testing.assert_close(gradient(compiled(x, y), student), gradient(f(x, y), student))

    class Step(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.student = student

        def forward(self, x, y):
            return distill_step(self.student, teacher, x, y, RECIPE, seed=3)

    exported = torch.export.export(Step(), (x, y))
    assert any("regkd_edge.distill_step" in str(node.target) for node in exported.graph.nodes)
    torch.testing.assert_close(exported.module()(x, y)[1], Step()(x, y)[1])


@pytest.mark.slow
def test_operators_pass_pytorchs_own_checks(world):
    student, teacher, x, y = world
    library.opcheck(torch.ops.regkd_edge.perturb.default, (x.clone().requires_grad_(), torch.tensor([0.1]), 2, 1, 0))
    rows = row_quantities(teacher(x).detach(), y)
    s = student(x).detach().requires_grad_()
    args = (s, y, rows.t, rows.e, rows.phi, rows.outlier, None, None, StepRecipe(base="ail").text)
    library.opcheck(torch.ops.regkd_edge.matching_loss.default, args)
    parameters = [
        [p.detach().requires_grad_(i == 0) for p in net.parameters()] for i, net in enumerate((student, teacher))
    ]
    step = (*parameters, x, y, *[None] * 6, "silu,tanh", RECIPE.text, 3, 0, 1, None)
    library.opcheck(torch.ops.regkd_edge.distill_step.default, step)


@pytest.mark.parametrize("base", ["labels", "mimic", "blend", "ail", "huber", "tbr", "tor"])
def test_matching_loss_is_the_mean_of_the_base(base, world):
    student, teacher, x, y = world
    recipe = StepRecipe(base=base)
    rows = row_quantities(teacher(x).detach(), y, k=0.5)
    ours, expected = matching_loss(student(x), rows, y, recipe), base_rows(recipe, student(x), rows.t, y, rows).mean()
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(gradient(ours**2, student), gradient(expected**2, student), rtol=1e-5, atol=1e-6)


def test_what_the_operators_refuse(world):
    student, teacher, x, y = world
    with pytest.raises(ModelError, match="Sequential"):
        distill_step(student, torch.nn.Sequential(torch.nn.Linear(5, 2)), x, y, RECIPE, seed=0)
    with pytest.raises(ModelError, match="4"):
        distill_step(student, teacher, x[:, :4], y, RECIPE, seed=0)
    with pytest.raises(ModelError, match="outputs"):
        distill_step(student, MLP([5, 3, 1]), x, y, RECIPE, seed=0)
    with pytest.raises(RecipeError, match="random points"):
        distill_step(student, teacher, x, y, StepRecipe(w_abm=1.0, ascent_rule="random"), seed=0)
    with pytest.raises(RecipeError, match=r"\(10, 2\)"):
        matching_loss(student(x), row_quantities(teacher(x)[:, :1].detach(), None), y, StepRecipe())
