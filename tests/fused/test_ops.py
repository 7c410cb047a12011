"""The registered operators: right under eager autograd with any upstream gradient, torch.compile and torch.export."""

from __future__ import annotations

import pytest
import torch

from regkd_edge.errors import ModelError, RecipeError
from regkd_edge.fused import distill_step, matching_loss
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
    torch.library.opcheck(
        torch.ops.regkd_edge.perturb.default, (x.clone().requires_grad_(), torch.tensor([0.1]), 2, 1, 0)
    )
    rows = row_quantities(teacher(x).detach(), y)
    s = student(x).detach().requires_grad_()
    args = (s, y, rows.t, rows.e, rows.phi, rows.outlier, None, None, StepRecipe(base="ail").text)
    torch.library.opcheck(torch.ops.regkd_edge.matching_loss.default, args)
    parameters = [
        [p.detach().requires_grad_(i == 0) for p in net.parameters()] for i, net in enumerate((student, teacher))
    ]
    step = (*parameters, x, y, *[None] * 6, "silu,tanh", RECIPE.text, 3, 0, 1)
    torch.library.opcheck(torch.ops.regkd_edge.distill_step.default, step)


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
    with pytest.raises(RecipeError, match="candidates"):
        distill_step(student, teacher, x, y, StepRecipe(w_abm=1.0, ascent_rule="candidates"), seed=0)
    with pytest.raises(RecipeError, match=r"\(10, 2\)"):
        matching_loss(student(x), row_quantities(teacher(x)[:, :1].detach(), None), y, StepRecipe())
