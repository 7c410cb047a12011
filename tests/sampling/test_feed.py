"""Samplers feed training: weights of the parts, rounds, learning, resuming."""

from __future__ import annotations

import pytest
import torch

from regkd_edge.errors import RecipeError
from regkd_edge.fused import Member, Optimizer, TrainState
from regkd_edge.models import MLP
from regkd_edge.objectives import Schedule, StepRecipe, base_rows, row_quantities
from regkd_edge.sampling import AdversarialGenerator, Feed, Gaussian, Part, RealRows, advance_fed
from regkd_edge.sampling.generator import _LEARN
from regkd_edge.sampling.sampler import standard_normal


def net(widths, seed):
    return MLP(widths, "tanh", generator=torch.Generator().manual_seed(seed))


def make(seed=0, total=40, recipe=StepRecipe(base="mimic"), teacher=None):
    teacher = teacher if teacher is not None else net([3, 20, 1], 1).requires_grad_(False)
    feed = Feed(
        [
            Part(AdversarialGenerator(3, latent=4, hidden=8, batch=6, seed=seed), 6, Schedule(1, 0)),
            Part(Gaussian(3, seed=seed), 4, Schedule(0, 1)),
        ],
        steps=5,
    )
    return Member(net([3, 6, 1], 2), teacher, None, None, recipe, Optimizer("rmsprop"), total, 10, seed), feed


@pytest.mark.parametrize("compute", ["torch", "auto"])
def test_the_base_is_the_weighted_sum_of_the_parts_means(compute):
    member, feed = make()
    points = feed.draw(0).reshape(5, 10, 3)[0]
    error = (member.student(points) - member.teacher(points)).square()[:, 0]
    alpha = 1 - 5 / 40  # of the round's last step
    expected = alpha * error[:6].mean() + (1 - alpha) * error[6:].mean()
    losses = advance_fed([member], [feed], 5, compute)[0].losses
    assert losses[0, 0].item() == pytest.approx(expected.item(), rel=1e-5)  # float32 sums of ten numbers


def test_a_generator_learns_once_a_round_to_find_disagreement():
    generator = AdversarialGenerator(3, latent=4, hidden=16, batch=64)
    student, teacher = net([3, 6, 1], 2), net([3, 20, 1], 1)
    gap = lambda: (student(generator.draw(500, 0)) - teacher(generator.draw(500, 0))).square().mean().item()
    before = gap()
    for step in range(50):
        generator.learn(student, teacher, step)
    assert gap() > 2 * before


def test_a_run_cut_between_rounds_continues_with_the_same_bits():
    whole, feed = make()
    advance_fed([whole], [feed], 20)
    first, feed = make()
    advance_fed([first], [feed], 10)
    second, again = make()
    second.student.load_state_dict(first.student.state_dict())
    second.state = TrainState.load(first.state.state_dict())
    again.load_state_dict(feed.state_dict())
    advance_fed([second], [again], 10)
    assert all((a == b).all() for a, b in zip(whole.student.parameters(), second.student.parameters()))


def test_members_of_one_call_get_what_they_get_alone():
    alone, feed = make(seed=1)
    advance_fed([alone], [feed], 10)
    one, two = make(seed=0), make(seed=1)
    advance_fed([one[0], two[0]], [one[1], two[1]], 10)
    assert all((a == b).all() for a, b in zip(alone.student.parameters(), two[0].student.parameters()))


def test_terms_combine_with_samplers():
    member, feed = make(recipe=StepRecipe.kang2024())
    losses = advance_fed([member], [feed], 10)[0].losses
    assert torch.isfinite(losses).all() and (losses[:, 1:] > 0).all()


def test_what_does_not_go_together_is_refused():
    member, feed = make(recipe=StepRecipe(base="ail"))
    with pytest.raises(RecipeError, match="synthetic rows have none"):
        advance_fed([member], [feed], 5)
    member, feed = make()
    with pytest.raises(RecipeError, match="inside a round"):
        advance_fed([member], [feed], 3)
        advance_fed([member], [feed], 5)
    member.batch = 11
    with pytest.raises(RecipeError, match="batch is 11"):
        feed.fill(member)
    with pytest.raises(RecipeError, match="different widths"):
        Feed([Part(Gaussian(2), 1), Part(Gaussian(3), 1)])
    with pytest.raises(RecipeError, match="this teacher has none"):
        AdversarialGenerator(3).learn(net([3, 2, 1], 0), lambda x: x[:, :1], 0)


@pytest.mark.parametrize("base", ["ail", "tbr", "tor", "mix"])
def test_beside_real_rows_a_point_is_a_row_that_the_teacher_labels(base):
    """So every base is |S-T|^2 up to its own form at y = T: no error, full trust, no outlier."""
    teacher, x = (
        net([3, 20, 1], 1).requires_grad_(False),
        torch.randn(12, 3, generator=torch.Generator().manual_seed(0)),
    )
    t = teacher(x)
    y = t + torch.linspace(-1, 1, 12)[:, None] ** 3
    quantities = row_quantities(t, y)
    quantities = type(quantities)(**{**quantities.__dict__, "mix": quantities.phi})
    recipe = StepRecipe(base=base)
    feed = Feed([Part(RealRows(x, y, quantities, seed=4), 4, 1.0), Part(Gaussian(3, seed=4), 2, 0.5)], steps=3)
    member = Member(net([3, 6, 1], 2), teacher, None, None, recipe, Optimizer("adam"), 9, 6, 4)
    seen = []
    for _ in range(3):
        feed.fill(member)
        rows = member.x.reshape(3, 6, 3)[:, :4].flatten(0, 1)
        seen.append(rows)
        member.state.step += 3
    # 12 rows in three rounds of 12 draws: each round is an epoch without replacement
    assert all(torch.equal(r.sort(0).values, x.sort(0).values) for r in seen)
    member.state.step = 0
    feed.fill(member)
    s = member.student(member.x)
    values = base_rows(StepRecipe(base=base), s, member.rows.t, member.y, member.rows)[:6]
    real, points = member.x[:4], member.x[4:6]
    index = [int((x == row).all(1).nonzero()) for row in real]
    ours = base_rows(recipe, s[:4], t[index], y[index], quantities.take(torch.tensor(index)))
    gap = (s[4:6] - teacher(points)).square()[:, 0]
    at_answer = {"tbr": 0.5 * gap.clamp(max=1) + (gap > 1) * (gap.sqrt() - 1) + 0.5 * gap}.get(base, gap)
    assert torch.allclose(values, torch.cat([ours * 6 / 4, 0.5 * at_answer * 6 / 2]), rtol=1e-4)  # float32


def test_the_generators_term_on_its_points_is_summed_over_the_batch_as_in_the_authors_code():
    generator = AdversarialGenerator(
        3, latent=4, hidden=8, batch=16, gamma=0.0, beta=0.5, optimizer=Optimizer("rmsprop", weight_decay=0.0)
    )
    teacher = net([3, 5, 1], 1)
    weights = list(generator.network.parameters())
    x = generator.network(standard_normal(generator.seed, _LEARN, 7, 16, 4))
    expected = torch.autograd.grad(0.5 * x.square().sum(), weights)  # they agree everywhere: nothing else is left
    generator.learn(teacher, teacher, 7)
    for average, gradient in zip(generator.state.slots["v"], expected):
        assert torch.allclose(average, 0.01 * gradient.square(), rtol=1e-4)  # RMSprop's first average, float32
