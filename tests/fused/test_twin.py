"""The explicit passes are the derivative: against float64 double backward over random architectures and recipes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from regkd_edge.fused.passes import Net, activation, forward, pull_back, second_order, value_gradient
from regkd_edge.fused.philox import PERTURB, normal
from regkd_edge.fused.reference import step_loss
from regkd_edge.fused.twin import distill_step_twin
from regkd_edge.models.mlp import ACTIVATIONS, MLP
from regkd_edge.objectives import StepRecipe, row_quantities

SMOOTH = [name for name in ACTIVATIONS if name not in ("relu", "leaky_relu")]
widths = st.lists(st.integers(1, 9), min_size=0, max_size=4)


def mlp(shape, act, seed):
    return MLP(shape, act, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivatives_of_activations_are_autograds(name):
    z = torch.cat([torch.linspace(-30, 30, 1201), torch.tensor([-1e-6, 1e-6])]).double()
    z = z[z != 0].requires_grad_(True)  # at 0 some have a kink
    value = ACTIVATIONS[name](z)
    s, s1, s2 = activation(name, z.detach())
    (first,) = torch.autograd.grad(value.sum(), z, create_graph=True)
    second = torch.autograd.grad(first.sum(), z)[0] if first.requires_grad else torch.zeros_like(z)
    torch.testing.assert_close(s, value.detach(), rtol=1e-12, atol=1e-12)
    # PyTorch's softplus is linear beyond 20, where 1 - s' and s'' are below 2.1e-9 and not 0.
    tail = 3e-9 if name == "softplus" else 1e-12
    torch.testing.assert_close(s1, first.detach(), rtol=0, atol=tail)
    torch.testing.assert_close(s2, second, rtol=1e-9, atol=tail)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    hidden_s=widths,
    hidden_t=widths,
    d=st.integers(1, 7),
    o=st.integers(1, 6),
    batch=st.integers(1, 9),
    act_s=st.sampled_from(list(ACTIVATIONS)),
    act_t=st.sampled_from(list(ACTIVATIONS)),
    base=st.sampled_from(["none", "labels", "mimic", "blend", "ail", "huber", "tbr", "tor"]),
    draws=st.integers(1, 3),
    cotangents=st.integers(0, 2),
    rule=st.sampled_from(["rmsprop", "sign", "normalised"]),
    gm_on=st.sets(st.sampled_from(["original", "perturbed", "ascended"]), min_size=1),
    box=st.booleans(),
    anchored=st.booleans(),
    seed=st.integers(0, 2**63 - 1),
)
def test_twin_is_double_backward(
    hidden_s, hidden_t, d, o, batch, act_s, act_t, base, draws, cotangents, rule, gm_on, box, anchored, seed
):
    student, teacher = mlp([d, *hidden_s, o], act_s, 1), mlp([d, *hidden_t, o], act_t, 2)
    g = torch.Generator().manual_seed(seed % 1000)
    x, y = (torch.randn(batch, k, generator=g, dtype=torch.float64) for k in (d, o))
    bounds = {"low": (-0.5,) * d, "high": (0.5,) * d} if box else {}
    recipe = StepRecipe.kang2024(
        base, draws=draws, cotangents=cotangents, ascent_rule=rule, gm_on=tuple(gm_on), ascent_from_anchor=anchored,
        ascent_ridge=1e-2, ascent_weight_decay=1e-2, w_gm=0.3, **bounds,
    )  # fmt: skip
    rows = row_quantities(teacher(x).detach(), y, k=0.3)
    where = {"seed": seed, "step": 3, "total": 7}
    loss, terms = step_loss(student, teacher, x, y, rows, recipe, **where)
    expected = torch.autograd.grad(loss, list(student.parameters()), allow_unused=True)
    found_terms, dw, db = distill_step_twin(Net.of(student), Net.of(teacher), x, y, rows, recipe, **where)
    found = [v for pair in zip(dw, db) for v in pair]
    scale = 1.0 + sum(e.abs().max().item() for e in expected if e is not None)
    torch.testing.assert_close(found_terms, terms, rtol=1e-9, atol=1e-9)
    for e, f in zip(expected, found):
        # float64 roundings, amplified where the search divides by a small gradient
        torch.testing.assert_close(f, e if e is not None else torch.zeros_like(f), rtol=1e-8, atol=1e-9 * scale)


def test_second_order_term_is_the_central_difference_of_the_first_order_one():
    net = Net.of(mlp([4, 8, 6, 1], "tanh", 3))
    x, r = torch.randn(2, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    v = torch.ones(5, 1, dtype=torch.float64)
    trace = forward(net, x)
    _, ds, us = pull_back(net, trace, v)
    dw, db = second_order(net, trace, ds, us, r)
    h = 1e-4  # error h^2 s''' ~ 1e-8
    up, down = (value_gradient(net, forward(net, x + sign * h * r), v) for sign in (1, -1))
    for exact, plus, minus in zip([*dw, *db], [*up[0], *up[1]], [*down[0], *down[1]]):
        torch.testing.assert_close(exact, (plus - minus) / (2 * h), rtol=1e-6, atol=1e-6)


def test_perturbation_matching_is_value_plus_gradient_matching_for_small_sigma():
    """METHODS 1: E[L_PM] = |S-T|^2 + sigma^2 |grad S - grad T|^2 + terms with the curvature, of order sigma^2 (S-T) and
    sigma^4.

    With S - T affine there is no curvature: the identity is exact and only sampling error remains.
    """
    sigma, draws = 0.05, 4000
    teacher, student = Net.of(mlp([3, 1], "identity", 1)), Net.of(mlp([3, 1], "identity", 2))
    x = torch.randn(16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    recipe = StepRecipe(base="mimic", w_pm=1.0, w_gm=1.0, gm_on=("original",), sigma=sigma, draws=draws)
    terms, _, _ = distill_step_twin(student, teacher, x, None, None, recipe, seed=1, step=0, total=1)
    _, base, pm, _, gm = terms.tolist()
    eps = normal(1, PERTURB, 0, 16, draws, 3).double()
    # The exact cross term of this very sample, whose expectation is 0, and the sample's second moment in place of 1.
    slope = (student.weights[0] - teacher.weights[0])[0]
    along = (eps @ slope) * sigma
    away = (forward(student, x).out - forward(teacher, x).out)[:, 0]
    assert pm == pytest.approx(base + float((2 * away[:, None] * along).mean() + along.square().mean()), rel=1e-6)
    assert float(along.square().mean()) == pytest.approx(sigma**2 * gm, rel=5 * (2 / (16 * draws)) ** 0.5)


def test_the_identity_holds_for_curved_networks_in_the_mean():
    """The same with tanh networks, to second order in sigma (with the curvature term (S-T) * Laplacian, which METHODS
    leaves out)."""
    sigma, draws = 0.05, 40000
    teacher, student = Net.of(mlp([2, 12, 1], "tanh", 5)), Net.of(mlp([2, 8, 1], "tanh", 6))
    x = torch.randn(8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    recipe = StepRecipe(base="mimic", w_pm=1.0, w_gm=1.0, gm_on=("original",), sigma=sigma, draws=draws)
    terms, _, _ = distill_step_twin(student, teacher, x, None, None, recipe, seed=1, step=0, total=1)
    _, base, pm, _, gm = terms.tolist()
    z = x.clone().requires_grad_(True)
    away = lambda p: forward(student, p).out - forward(teacher, p).out
    (slope,) = torch.autograd.grad(away(z).sum(), z, create_graph=True)
    laplace = sum(torch.autograd.grad(slope[:, j].sum(), z, retain_graph=True)[0][:, j] for j in range(2))
    curvature = float((away(z)[:, 0] * laplace).mean().detach())
    expected = base + sigma**2 * (gm + curvature)
    noise = (
        2 * sigma * float((away(z)[:, 0].square() * slope.square().sum(1)).mean().detach()) ** 0.5 / (8 * draws) ** 0.5
    )
    assert abs(pm - expected) < 5 * noise + 3 * sigma**4
    assert sigma**2 * gm > 10 * noise  # the term that is tested stands out of the noise


@pytest.mark.parametrize("act", ["relu", "leaky_relu"])
def test_gradient_of_a_piecewise_linear_net_has_no_curvature(act):
    z = torch.tensor([-1.0, -0.1, 0.1, 1.0], dtype=torch.float64)
    assert torch.all(activation(act, z)[2] == 0)
