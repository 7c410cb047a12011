"""A recipe is data: it means one thing, survives storage, and refuses what does not make sense."""

from __future__ import annotations

import json

import pytest

from regkd_edge.errors import RecipeError
from regkd_edge.objectives import STEP_BASES, Schedule, StepRecipe


def test_a_schedule_is_the_alpha_of_zhou_and_chiam():
    alpha = Schedule(1.0, 0.0, hold=10)
    epochs = 2000
    for step in (0, 9, 10, 9999, 19999):
        assert alpha.at(step, 10 * epochs) == pytest.approx(1 - (step // 10 + 1) / epochs, abs=1e-15)


def test_a_schedule_ends_where_it_should_even_if_the_last_epoch_is_short():
    assert Schedule(2.0, 5.0, hold=10).at(14, 15) == 5.0
    assert Schedule(3.0).at(0, 7) == Schedule(3.0).at(6, 7) == 3.0


@pytest.mark.parametrize("given", [0.5, (0.5, 0.5), {"start": 0.5}, Schedule(0.5)])
def test_a_weight_can_be_written_in_several_ways(given):
    assert StepRecipe(w_pm=given).w_pm == Schedule(0.5)


@pytest.mark.parametrize("base", [b for b in STEP_BASES if b != "none"])
def test_a_recipe_survives_json(base):
    recipe = StepRecipe.kang2024(base, sigma=(0.1, 0.2), low=(-1, -2), high=(1, 2), gm_on=("original", "ascended"))
    assert StepRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe


def test_gradients_are_matched_only_where_other_terms_make_points():
    assert StepRecipe(w_gm=0.1).gm_points == ("original",)
    assert StepRecipe(w_gm=0.1, w_pm=1.0).gm_points == ("original", "perturbed")
    assert StepRecipe.kang2024().gm_points == ("original", "perturbed", "ascended")
    assert StepRecipe.kang2024(gm_on=("ascended",)).gm_points == ("ascended",)
    assert StepRecipe(w_pm=1.0).gm_points == ()


def test_what_a_recipe_needs():
    assert not StepRecipe(base="labels").needs_teacher and StepRecipe(base="labels").needs_labels
    assert StepRecipe().needs_teacher and not StepRecipe().needs_labels
    assert StepRecipe(base="labels", w_pm=1.0).needs_teacher
    assert not StepRecipe(base="ail", w_base=0.0, w_pm=1.0).needs_labels


@pytest.mark.parametrize(
    "fields",
    [
        {"base": "magic"},
        {"w_pm": -1.0},
        {"w_pm": float("nan")},
        {"w_pm": "much"},
        {"w_pm": {"begin": 1}},
        {"w_pm": Schedule},
        {"sigma": -0.1},
        {"sigma": (0.1, float("nan"))},
        {"draws": 0},
        {"draws": 1.5},
        {"alpha": 1.5},
        {"delta": 0.0},
        {"ascent_rule": "luck"},
        {"gm_on": ("everywhere",)},
        {"low": (1.0,), "high": (0.0,)},
        {"low": (1.0,), "high": (2.0, 3.0)},
        {"w_base": 0.0},
        {"base": "none"},
        {"w_gm": 1.0, "gm_on": ()},
        {"w_gm": 1.0, "gm_on": ("perturbed",)},
        {"teacher_gradient": "guess"},
        {"draws": 30000, "cotangents": 4},
    ],
)
def test_nonsense_is_refused_with_a_remedy(fields):
    with pytest.raises(RecipeError) as caught:
        StepRecipe(**fields)
    assert caught.value.cause and caught.value.remedy


def test_unknown_fields_and_bad_schedules_are_refused():
    with pytest.raises(RecipeError, match="w_zz"):
        StepRecipe.from_dict({"w_zz": 1})
    with pytest.raises(RecipeError, match="hold"):
        Schedule(1.0, 0.0, hold=0)
    with pytest.raises(RecipeError, match="alpha"):
        StepRecipe.direct2023(0.3)


def test_the_student_step_of_zhou_and_chiam_has_three_forms():
    weights = lambda alpha: [(w.start, w.end) for w in (
        StepRecipe.direct2023(alpha).w_base, StepRecipe.direct2023(alpha).w_abm)]  # fmt: skip
    assert weights(0) == [(1, 1), (0, 0)] and weights(1) == [(0, 0), (1, 1)]
    assert weights("decreasing") == [(0, 1), (1, 0)]
    with pytest.raises(RecipeError, match="alpha must be 'decreasing', 0 or 1, got 2"):
        StepRecipe.direct2023(2)


def test_up_to_four_outputs_are_looped_over_and_more_get_one_vector_of_signs():
    assert [StepRecipe().cotangent_count(outputs) for outputs in (1, 4, 5, 100)] == [0, 0, 1, 1]
    assert StepRecipe(cotangents=3).cotangent_count(2) == 3


@pytest.mark.parametrize("hold", [True, 1.5, 0, "2"])
def test_a_schedule_holds_a_whole_number_of_steps(hold):
    with pytest.raises(RecipeError):
        Schedule(1.0, hold=hold)


def test_the_gradient_of_the_search_is_the_formula():
    """S = 2x, T = 0.5x: d/dx of -(1.5 x)^2 + ridge (2x)^2, over the mean of three rows, and the decay."""
    import torch

    from regkd_edge.objectives.networks import ascent_gradient

    x = torch.tensor([[1.0], [-2.0], [4.0]], dtype=torch.float64)
    recipe = StepRecipe(w_abm=1.0, ascent_ridge=0.25, ascent_weight_decay=0.125)
    got = ascent_gradient(lambda x: 2 * x, lambda x: 0.5 * x, x, recipe)
    torch.testing.assert_close(got, (-2 * 2.25 * x + 0.25 * 8 * x) / 3 + 0.125 * x)


def test_a_weight_in_a_configuration_is_start_end_and_hold():
    from regkd_edge.objectives.schedule import weight

    assert weight("1..0") == Schedule(1.0, 0.0, 1) and weight("0.5..2/10") == Schedule(0.5, 2.0, 10)
    assert weight("3") == Schedule(3.0, 3.0, 1) and weight(0.25) == Schedule(0.25, 0.25)


def test_a_step_of_the_search_is_its_rule():
    """Downhill along the gradient: by 0.1 in all, by 0.1 per feature,
    or by RMSprop's first step of 0.1 / sqrt(0.01)."""
    import torch

    from regkd_edge.objectives.networks import ascent_update

    x, grad = torch.tensor([[1.0, 2.0]], dtype=torch.float64), torch.tensor([[3.0, -4.0]], dtype=torch.float64)
    step = lambda rule: ascent_update(
        x, grad, torch.zeros_like(x), StepRecipe(w_abm=1.0, ascent_rule=rule, ascent_size=0.1)
    )
    torch.testing.assert_close(step("normalised")[0], x - 0.1 * grad / 5)
    torch.testing.assert_close(step("sign")[0], x - 0.1 * grad.sign())
    moved, v = step("rmsprop")
    torch.testing.assert_close(moved, x - 0.1 * grad / (0.1 * grad.abs() + 1e-8))
    torch.testing.assert_close(v, 0.01 * grad**2)


def test_a_plain_recipe_searches_without_ridge_and_decay():
    recipe = StepRecipe()
    assert (recipe.ascent_ridge, recipe.ascent_weight_decay) == (0.0, 0.0)
