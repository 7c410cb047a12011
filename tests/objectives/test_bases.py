"""Each base is its formula, and its closed-form derivative is autograd's."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from regkd_edge.errors import RecipeError
from regkd_edge.objectives import StepRecipe, base_rows, base_rows_and_gradient, row_quantities
from regkd_edge.objectives.rows import RowQuantities

B, O = 40, 3


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(1)
    s, t, y = (torch.randn(B, O, generator=g, dtype=torch.float64) for _ in range(3))
    s[0] = t[0]  # where tor's root has no derivative
    s[1] = t[1] + 0.1  # nearer than 1, where a wrong branch for r = 0 would reach
    rows = row_quantities(t, y, k=0.5)
    rows.outlier[:2] = True
    rows = dataclasses.replace(rows, mix=torch.rand(B, generator=g, dtype=torch.float64))
    return s, t, y, rows


RECIPES = {
    "labels": StepRecipe(base="labels"),
    "mimic": StepRecipe(base="mimic"),
    "blend": StepRecipe(base="blend", alpha=0.3),
    "ail": StepRecipe(base="ail", alpha=0.3),
    "mix": StepRecipe(base="mix"),
    "huber": StepRecipe(base="huber", delta=0.7),
    "tbr": StepRecipe(base="tbr", nu=0.7, margin=0.4),
    "tbr imitate": StepRecipe(base="tbr", imitate=True),
    "tor": StepRecipe(base="tor"),
    "tor drop": StepRecipe(base="tor", outlier_loss="drop"),
    "tor squared": StepRecipe(base="tor", outlier_loss="squared"),
}


def by_hand(name, s, t, y, q, i):
    """METHODS sections 0 and 4, one row, in scalar arithmetic."""
    to_y, to_t = float(((s[i] - y[i]) ** 2).sum()), float(((s[i] - t[i]) ** 2).sum())
    smooth = lambda r, d: sum(0.5 * v * v if abs(v) < d else d * (abs(v) - 0.5 * d) for v in r.tolist())
    phi, e, outlier, mix = float(q.phi[i]), float(q.e[i]), bool(q.outlier[i]), float(q.mix[i])
    return {
        "labels": to_y,
        "mimic": to_t,
        "blend": 0.3 * to_y + 0.7 * to_t,
        "ail": 0.3 * to_y + 0.7 * phi * to_t,
        "mix": (1 - mix) * to_y + mix * to_t,
        "huber": smooth(s[i] - y[i], 0.7),
        "tbr": smooth(s[i] - y[i], 1.0) + (0.7 * to_y if to_y + 0.4 > e else 0.0),
        "tbr imitate": smooth(s[i] - y[i], 1.0) + (0.5 * to_t if to_y > e else 0.0),
        "tor": (to_t**0.5 + 1e-7) ** 0.5 if outlier else to_y,
        "tor drop": 0.0 if outlier else to_y,
        "tor squared": to_t if outlier else to_y,
    }[name]


@pytest.mark.parametrize("name", RECIPES)
def test_value_is_the_formula(name, batch):
    s, t, y, rows = batch
    value = base_rows(RECIPES[name], s, t, y, rows)
    expected = torch.tensor([by_hand(name, s, t, y, rows, i) for i in range(B)], dtype=torch.float64)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-12)  # a few roundings of float64


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", RECIPES)
def test_closed_form_derivative_is_autograds(name, weighted, batch):
    s, t, y, rows = batch
    if weighted:
        rows = dataclasses.replace(rows, weight=torch.linspace(0, 2, B, dtype=torch.float64))
    value, slope = base_rows_and_gradient(RECIPES[name], s, t, y, rows)
    s = s.clone().requires_grad_(True)
    again = base_rows(RECIPES[name], s, t, y, rows)
    (expected,) = torch.autograd.grad(again.sum(), s)
    assert torch.equal(value, again.detach())
    assert torch.isfinite(slope).all()
    torch.testing.assert_close(slope, expected, rtol=1e-12, atol=1e-12)


def test_the_gates_of_the_fixture_are_open_for_some_rows_and_shut_for_others(batch):
    s, t, y, rows = batch
    gate = (s - y).square().sum(1) > rows.e
    assert gate.any() and not gate.all()
    assert rows.outlier.any() and not rows.outlier.all()


def test_row_quantities_are_those_of_the_papers():
    t = torch.tensor([[0.0], [0.0], [0.0], [0.0]])
    y = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    q = row_quantities(t, y, k=1.0)
    assert q.e.tolist() == [0.0, 1.0, 4.0, 100.0]
    assert q.phi.tolist() == pytest.approx([1.0, 0.99, 0.96, 0.0])
    u = torch.tensor([0.0, 1.0, 2.0, 10.0])
    assert q.outlier.tolist() == (u > u.mean() + u.std(correction=0)).tolist() == [False, False, False, True]


def test_the_median_rule_finds_gross_outliers_that_hide_each_other_from_the_mean_rule():
    t = torch.zeros(100, 1)
    y = torch.linspace(-1, 1, 100)[:, None].clone()
    y[:30] = 5.0  # mean(u) + 2 sd(u) is 1.85 + 2 * 2.06 = 5.97: above every outlier
    gross = [True] * 30 + [False] * 70
    assert not row_quantities(t, y, k=2.0, rule="mean").outlier.any()
    assert row_quantities(t, y, k=3.5, rule="median").outlier.tolist() == gross
    with pytest.raises(RecipeError, match="'mode'"):
        StepRecipe(base="tor", outlier_rule="mode")


def test_a_teacher_that_errs_equally_everywhere_is_trusted_everywhere():
    q = row_quantities(torch.zeros(3, 1), torch.ones(3, 1))
    assert q.phi.tolist() == [1.0, 1.0, 1.0] and not q.outlier.any()


def test_missing_labels_and_quantities_are_named():
    s = torch.zeros(2, 1)
    with pytest.raises(RecipeError, match="labels"):
        base_rows(StepRecipe(base="ail"), s, s, None, row_quantities(s, None))
    with pytest.raises(RecipeError, match="phi"):
        base_rows(StepRecipe(base="ail"), s, s, s, row_quantities(s, None))
    with pytest.raises(RecipeError, match=r"\(2, 1\)"):
        row_quantities(s, torch.zeros(3, 1))


@pytest.mark.parametrize("base", ["labels", "huber", "tbr", "tor"])
def test_every_base_on_labels_names_what_is_missing(base):
    s = torch.zeros(2, 1)
    with pytest.raises(RecipeError, match=f"base '{base}' needs labels, and there are none"):
        base_rows(StepRecipe(base=base), s, s, None, None)


def test_quantities_move_with_those_that_are_missing():
    whole = RowQuantities(torch.ones(3), weight=torch.arange(3.0))
    moved = whole.to(torch.device("cpu"))
    assert moved.weight.tolist() == [0, 1, 2] and moved.phi is None and moved.e is None
