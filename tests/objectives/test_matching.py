"""The matching terms and the search for points by hand: two networks x W + b, whose Jacobians are known matrices."""

from __future__ import annotations

import pytest
import torch

from regkd_edge.objectives import Schedule, StepRecipe
from regkd_edge.objectives.bases import base_rows, base_rows_and_gradient
from regkd_edge.objectives.matching import StepPoints, adversarial, gradient, perturbation
from regkd_edge.objectives.networks import (  # fmt: skip
    ascend,
    ascent_gradient,
    ascent_update,
    central_products,
    jacobian_products,
    pick_farthest,
)
from regkd_edge.objectives.rows import row_quantities

D, O = 3, 2
A = torch.tensor([[1.0, 2.0], [0.0, -1.0], [3.0, 0.5]], dtype=torch.float64)
B = torch.tensor([[0.5, 2.0], [1.0, 1.0], [3.0, -0.5]], dtype=torch.float64)
GAP = A - B


def student(x):
    return x @ A + 0.25


def teacher(x):
    return x @ B


def step(recipe, cotangents=lambda kind: None):
    """Points 0, 1, 2 of each kind, four per kind."""
    generator = torch.Generator().manual_seed(0)
    kinds = ("original", "perturbed", "ascended")
    points = {kind: torch.randn(4, D, generator=generator, dtype=torch.float64) for kind in kinds}
    everywhere = torch.cat(list(points.values())).requires_grad_(True)
    out = student(everywhere)
    own = dict(zip(kinds, out.split(4)))
    theirs = {kind: teacher(x) for kind, x in points.items()}
    products = lambda v, last: v @ B.T
    return StepPoints(student, teacher, recipe, everywhere, points, own, theirs, out, products, cotangents)


FULL = StepRecipe("mimic", w_pm=1.0, w_abm=1.0, w_gm=1.0)


@pytest.mark.parametrize("term,kind", [(perturbation, "perturbed"), (adversarial, "ascended")])
def test_answers_are_matched_by_the_mean_over_points_of_the_sum_over_outputs(term, kind):
    made = step(FULL)
    want = sum(float((d**2).sum()) for d in (made.points[kind] @ GAP + 0.25)) / 4
    assert term(made).item() == pytest.approx(want)


@pytest.mark.parametrize("gm_on", [("original",), ("perturbed", "ascended"), ("original", "perturbed", "ascended")])
def test_gradients_are_matched_by_the_squared_frobenius_norm_at_the_kinds_that_are_named(gm_on):
    made = step(StepRecipe("mimic", w_pm=1.0, w_abm=1.0, w_gm=1.0, gm_on=gm_on))
    assert gradient(made).item() == pytest.approx(float((GAP**2).sum()))  # the same at every point
    bent = step(StepRecipe("mimic", w_pm=1.0, w_abm=1.0, w_gm=1.0, gm_on=gm_on))
    scale = {"original": 1.0, "perturbed": 2.0, "ascended": 5.0}
    factors = torch.cat([torch.full((4, 1), scale[kind], dtype=torch.float64) for kind in bent.points])
    bent.teacher_products = lambda v, last: factors * (v @ B.T)  # a teacher whose slope differs from kind to kind
    want = sum(float(((A - scale[kind] * B) ** 2).sum()) for kind in gm_on) / len(gm_on)
    assert gradient(bent).item() == pytest.approx(want)


def test_random_signs_give_the_mean_of_their_projections():
    signs = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0]], dtype=torch.float64)  # [C, o]
    recipe = StepRecipe("mimic", w_pm=1.0, w_abm=1.0, w_gm=1.0, cotangents=3)
    made = step(recipe, lambda kind: signs.expand(4, 3, O))
    want = sum(float(((v @ GAP.T) ** 2).sum()) for v in signs) / 3
    assert gradient(made).item() == pytest.approx(want)


def test_products_with_jacobians_are_rows_of_the_matrix_by_autograd_and_by_differences():
    x = torch.randn(4, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    signs = torch.tensor([[1.0, -1.0]], dtype=torch.float64).expand(4, 1, O)
    out, every = jacobian_products(student, x, None, graph=False)
    torch.testing.assert_close(out, student(x))
    torch.testing.assert_close(every, A.T.expand(4, O, D))
    torch.testing.assert_close(jacobian_products(student, x, signs, graph=True)[1], (signs[0] @ A.T).expand(4, 1, D))
    torch.testing.assert_close(central_products(teacher, x, None, 0.1), B.T.expand(4, O, D))
    torch.testing.assert_close(central_products(teacher, x, signs, 0.1), (signs[0] @ B.T).expand(4, 1, D))
    cubic = central_products(lambda x: x[:, :1] ** 3, x, None, 0.5)  # of x^3: 3 x^2 + half^2
    torch.testing.assert_close(cubic[:, 0, 0], 3 * x[:, 0] ** 2 + 0.25)
    image = x.reshape(4, 1, D)
    torch.testing.assert_close(central_products(lambda x: teacher(x.flatten(1)), image, None, 0.1),
    B.T.expand(4, 1, O, D).transpose(1, 2))  # fmt: skip


SEARCH = StepRecipe(
    "mimic",
    w_abm=1.0,
    ascent_rule="normalised",
    ascent_steps=2,
    ascent_size=0.5,
    ascent_ridge=0.3,
    ascent_weight_decay=0.1,
)


def slope(x, whole):
    """d/dx of mean(-|S - T|^2 + ridge |S|^2) plus weight decay, for the two linear networks."""
    return (-2 * (x @ GAP + 0.25) @ GAP.T + 0.3 * 2 * (x @ A + 0.25) @ A.T) / whole + 0.1 * x


def test_the_search_goes_uphill_by_its_own_gradient_and_keeps_to_what_it_may():
    x = torch.randn(4, D, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    torch.testing.assert_close(ascent_gradient(student, teacher, x, SEARCH), slope(x, 4))
    torch.testing.assert_close(ascent_gradient(student, teacher, x, SEARCH, whole=16), slope(x, 16))
    want = x
    for _ in range(2):
        g = slope(want, 4)
        want = (want - 0.5 * g / g.norm(dim=1, keepdim=True)).clamp(-1, 1)
    torch.testing.assert_close(ascend(student, teacher, x, SEARCH, lambda v: v.clamp(-1, 1)), want)


@pytest.mark.parametrize("rule", ["sign", "rmsprop", "normalised"])
def test_a_step_of_each_rule_is_its_formula(rule):
    x, v = torch.tensor([[1.0, -2.0]], dtype=torch.float64), torch.tensor([[0.5, 0.25]], dtype=torch.float64)
    g = torch.tensor([[3.0, -4.0]], dtype=torch.float64)
    moved, kept = ascent_update(x, g, v, StepRecipe("mimic", w_abm=1.0, ascent_rule=rule, ascent_size=0.5))
    if rule == "rmsprop":
        want_v = torch.tensor([[0.99 * 0.5 + 0.09, 0.99 * 0.25 + 0.16]], dtype=torch.float64)
        torch.testing.assert_close(kept, want_v)
        torch.testing.assert_close(moved, x - 0.5 * g / want_v.sqrt(), rtol=1e-6, atol=1e-6)
    else:
        unit = g.sign() if rule == "sign" else g / 5.0
        torch.testing.assert_close(moved, x - 0.5 * unit)
        torch.testing.assert_close(kept, v)


def test_each_row_keeps_its_candidate_with_the_largest_disagreement():
    candidates = torch.randn(5, 3, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    got = pick_farthest(student, teacher, candidates)
    for row, kept in zip(candidates, got):
        sizes = [float(((c @ GAP + 0.25) ** 2).sum()) for c in row]
        torch.testing.assert_close(kept, row[sizes.index(max(sizes))])


def test_a_student_exactly_as_good_as_its_teacher_is_not_pulled_by_the_bounded_base():
    """Chen et al. (2017): the upper bound holds where |S - y|^2 + m is above |T - y|^2, not where it equals it."""
    t = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    y = torch.tensor([[2.0], [1.0]], dtype=torch.float64)
    recipe, rows = StepRecipe("tbr", margin=0.0, nu=0.5), row_quantities(t, y)
    torch.testing.assert_close(base_rows(recipe, t, t, y, rows), torch.tensor([1.5, 0.0], dtype=torch.float64))
    torch.testing.assert_close(
        base_rows_and_gradient(recipe, t, t, y, rows)[1], torch.tensor([[-1.0], [0.0]], dtype=torch.float64)
    )


def test_an_error_of_exactly_the_limit_is_no_outlier_and_no_distrust_is_left_below_0():
    t, y = torch.zeros(4, 1), torch.tensor([[1.0], [1.0], [1.0], [1.0]])
    assert not row_quantities(t, y, k=0.0).outlier.any()
    assert not row_quantities(t, y, k=0.0, rule="median").outlier.any()
    uneven = row_quantities(torch.zeros(3, 1), torch.tensor([[2.0], [3.0], [4.0]]))  # e 4, 9, 16; spread 12
    assert uneven.phi.tolist() == pytest.approx([1 - 4 / 12, 1 - 9 / 12, 0.0])


def test_the_weights_of_a_step_are_those_of_the_schedules_and_of_no_base_none():
    recipe = StepRecipe("mimic", w_base=Schedule(0.0, 1.0), w_pm=0.5, w_abm=Schedule(1.0, 0.0))
    for at in (0, 5, 10):
        assert recipe.weights(at, 10) == pytest.approx(
            (recipe.w_base.at(at, 10), 0.5, recipe.w_abm.at(at, 10), recipe.w_gm.at(at, 10))
        )
    assert recipe.weights(0, 10)[0] != recipe.weights(10, 10)[0]
    assert StepRecipe("none", w_pm=1.0).weights(3, 10)[0] == 0.0
