"""Two heads (Imaoka et al. 2020), hints (FitNets) and relational distances (Park et al. 2019)."""

from __future__ import annotations

import pytest
import torch

from regkd_edge.errors import RecipeError
from regkd_edge.fused import Optimizer, choose, distill_steps, matching_loss
from regkd_edge.fused.reference import step_loss
from regkd_edge.models import MLP
from regkd_edge.objectives import StepRecipe, row_quantities
from regkd_edge.objectives.bases import relational, squared, tor
from regkd_edge.objectives.heads import one_head, two_heads
from regkd_edge.objectives.hints import WithHidden, hinted, without_hint


def net(widths, seed):
    return MLP(widths, "tanh", generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def rows():
    torch.manual_seed(0)
    teacher = net([3, 16, 12, 2], 1).requires_grad_(False)
    x = torch.randn(40, 3)
    y = teacher(x) + 0.1 * torch.randn(40, 2)
    y[3] += 5
    return teacher, x, y, row_quantities(teacher(x), y)


def test_two_heads_start_as_the_student_and_end_as_one_mlp():
    student, x = net([3, 8, 2], 0), torch.randn(5, 3)
    wide = two_heads(student)
    assert wide.widths == [3, 8, 4]
    # a layer of another width: float32 sums in another order
    same = lambda a, b: torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
    same(wide(x)[:, :2], student(x))
    same(one_head(wide)(x), wide(x)[:, :2])
    same(one_head(wide, "teacher")(x), wide(x)[:, 2:])
    same(one_head(wide, "mean")(x), (wide(x)[:, :2] + wide(x)[:, 2:]) / 2)


def test_the_loss_of_two_heads_is_tor_on_the_first_and_lambda_squares_on_the_second(rows):
    teacher, x, y, quantities = rows
    wide = two_heads(net([3, 8, 2], 0))
    recipe = StepRecipe(base="tor", second_head=0.5)
    loss, _ = step_loss(wide, teacher, x, y, quantities, recipe, seed=0, step=0, total=1)
    out = wide(x)
    expected = tor(out[:, :2], teacher(x), y, quantities.outlier).mean() + 0.5 * squared(out[:, 2:], teacher(x)).mean()
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    assert quantities.outlier[3] and quantities.outlier.sum() < 5


def test_two_heads_train_with_every_term_and_say_why_in_torch(rows):
    teacher, x, y, quantities = rows
    wide, recipe = two_heads(net([3, 8, 2], 0)), StepRecipe.kang2024("tor", second_head=0.5)
    progress = distill_steps(wide, teacher, x, y, recipe, Optimizer(lr=1e-2), n=60, total=60, batch=40, rows=quantities)
    assert progress.choice.compute == "torch" and "two-headed" in progress.choice.reason
    assert progress.losses[-5:, 0].mean() < 0.5 * progress.losses[:5, 0].mean()


def test_a_student_without_the_second_head_is_refused(rows):
    teacher, x, y, quantities = rows
    with pytest.raises(RecipeError, match="needs a student with 4 outputs, and this one has 2"):
        step_loss(
            net([3, 8, 2], 0),
            teacher,
            x,
            y,
            quantities,
            StepRecipe(base="tor", second_head=0.5, w_pm=1.0),
            seed=0,
            step=0,
            total=1,
        )
    with pytest.raises(RecipeError, match="base 'mimic' has none"):
        StepRecipe(base="mimic", second_head=0.5)


def test_a_hint_between_last_layers_is_a_pair_of_mlps(rows):
    teacher, x, _, _ = rows
    student = net([3, 8, 2], 0)
    ours, theirs = hinted(student, teacher, weight=2.0, generator=torch.Generator().manual_seed(4))
    assert type(ours) is MLP and type(theirs) is MLP and choose(ours, theirs, StepRecipe(), batch=8).compute == "cpu"
    hidden = torch.tanh(teacher.layers[1](torch.tanh(teacher.layers[0](x))))
    scale = (2.0 / 12) ** 0.5
    torch.testing.assert_close(theirs(x), torch.cat([teacher(x), scale * hidden], 1), rtol=1e-5, atol=1e-6)
    assert (without_hint(ours, 2)(x) == student(x)).all()


@pytest.mark.parametrize("layers", [(-1, -1), (0, 0)])
def test_hints_bring_the_hidden_layers_together(rows, layers):
    teacher, x, _, _ = rows
    ours, theirs = hinted(net([3, 8, 2], 0), teacher, 1.0, *layers, generator=torch.Generator().manual_seed(4))
    assert isinstance(ours, WithHidden) == (layers == (0, 0))
    gap = lambda: (ours(x) - theirs(x))[:, 2:].square().mean().item()
    before = gap()
    distill_steps(ours, theirs, x, None, StepRecipe(), Optimizer(lr=1e-2), n=300, total=300, batch=40)
    assert gap() < 0.3 * before
    assert without_hint(ours, 2)(x).shape == (40, 2)


def test_a_hint_from_a_layer_that_is_not_there_is_refused():
    with pytest.raises(RecipeError, match="the teacher has 1 hidden layers, and layer 3 was requested"):
        hinted(net([3, 8, 2], 0), net([3, 8, 2], 1), teacher_layer=3)


def test_relational_distances_do_not_see_a_common_shift_or_scale():
    t = torch.randn(12, 2)
    # float32 distances of shifted outputs: a few units in the last place, squared
    assert relational(3 * t + 7, t).max() < 1e-10
    assert relational(torch.randn(12, 2), t).mean() > 1e-2
    assert (relational(t[:1], t[:1]) == 0).all()


def test_rkd_trains_and_has_finite_gradients_at_equal_rows(rows):
    teacher, x, _, _ = rows
    x = torch.cat([x[:10], x[:10]])
    student = net([3, 8, 2], 0)
    progress = distill_steps(
        student, teacher, x, None, StepRecipe(base="rkd"), Optimizer(lr=1e-2), n=100, total=100, batch=20
    )
    assert progress.choice.compute == "torch" and "rkd" in progress.choice.reason
    assert progress.losses[-1, 0] < 0.3 * progress.losses[0, 0]
    with pytest.raises(RecipeError, match="rkd compares pairs"):
        matching_loss(teacher(x), row_quantities(teacher(x), None), None, StepRecipe(base="rkd"))


def test_new_weights_are_drawn_from_the_generator_inside_the_range_of_a_linear_layer(rows):
    """Uniform within n^-1/2 on both sides, as ``nn.Linear`` has it: with 800 draws the ends are nearly reached."""
    draw = lambda: torch.Generator().manual_seed(4)
    student = net([3, 400, 2], 0)
    fresh = [two_heads(student, generator=draw()).layers[-1].weight[2:] for _ in range(2)]
    assert torch.equal(*fresh) and fresh[0].abs().max() <= 400**-0.5
    assert fresh[0].max() > 0.98 * 400**-0.5 and fresh[0].min() < -0.98 * 400**-0.5

    teacher = net([3, 400, 2], 1)
    wide = [hinted(student, teacher, 400.0, -1, -1, generator=draw())[0].layers[-1] for _ in range(2)]  # scale 1
    regressor = [layer.weight[2:] for layer in wide]
    assert torch.equal(*regressor) and regressor[0].shape == (400, 400)
    assert 0.999 * 400**-0.5 < regressor[0].abs().max() <= 400**-0.5
    assert 0.98 * 400**-0.5 < wide[0].bias[2:].abs().max() <= 400**-0.5
