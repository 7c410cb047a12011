"""Many steps in one call: what they minimise, that they can be cut, that members are independent, what is refused."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from regkd_edge.errors import DataError, RecipeError
from regkd_edge.fused import Member, Optimizer, TrainState, advance, distill_steps, fit_steps
from regkd_edge.fused.permutation import batch_rows
from regkd_edge.fused.philox import ASCENT, INPUT, normal
from regkd_edge.models.mlp import MLP
from regkd_edge.objectives import LOSS_COLUMNS, StepRecipe


@pytest.fixture
def world():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(60, 4, generator=g)
    y = torch.sin(2 * x[:, :1]) + 0.3 * x[:, 1:2]
    teacher = MLP([4, 24, 1], "tanh", generator=g)
    student = MLP([4, 8, 1], "tanh", generator=g)
    return student, teacher, x, y


def same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))


def test_fitting_labels_lowers_the_loss(world):
    student, _, x, y = world
    done = fit_steps(student, x, y, Optimizer(lr=1e-2), n=200, total=200, batch=20, seed=1, compute="torch")
    assert done.losses.shape == (200, len(LOSS_COLUMNS)) and done.state.step == 200
    assert done.losses[-20:, 0].mean() < 0.3 * done.losses[:20, 0].mean()
    torch.testing.assert_close(done.losses[:, 0], done.losses[:, 1])


@pytest.mark.parametrize("base", ["mimic", "blend", "ail", "tbr", "tor"])
def test_every_base_with_all_terms_learns(base, world):
    student, teacher, x, y = world
    recipe = StepRecipe.kang2024(base)
    done = distill_steps(
        student, teacher, x, y, recipe, Optimizer(lr=1e-2), n=120, total=120, batch=30, compute="torch"
    )
    early, late = done.losses[:10].mean(0), done.losses[-10:].mean(0)
    assert torch.isfinite(done.losses).all()
    assert late[0] < 0.6 * early[0] and late[2] < 0.8 * early[2] and late[4] < 0.8 * early[4]


def test_the_total_is_the_weighted_sum_of_the_terms(world):
    student, teacher, x, y = world
    recipe = StepRecipe.kang2024("blend", w_gm=0.3)
    done = distill_steps(student, teacher, x, y, recipe, Optimizer(), n=7, total=9, batch=30, compute="torch")
    weights = torch.tensor([recipe.weights(step, 9) for step in range(7)])
    torch.testing.assert_close(done.losses[:, 0], (weights * done.losses[:, 1:]).sum(1))


def test_a_run_cut_in_pieces_and_stored_between_them_is_the_same_run(world):
    student, teacher, x, y = world
    whole, cut = copy.deepcopy(student), copy.deepcopy(student)
    recipe, optimizer = StepRecipe.kang2024("ail", draws=2), Optimizer("rmsprop", schedule="cosine")
    common = {"total": 30, "batch": 16, "seed": 4, "compute": "torch"}
    expected = distill_steps(whole, teacher, x, y, recipe, optimizer, n=30, **common).losses
    found, state = [], TrainState()
    for n in (1, 12, 17):
        found.append(distill_steps(cut, teacher, x, y, recipe, optimizer, state, n=n, **common).losses)
        state = TrainState.load(state.state_dict())
    assert same(whole, cut) and torch.equal(expected, torch.cat(found))


def test_a_member_gets_in_an_ensemble_what_it_gets_alone(world):
    _, teacher, x, y = world
    recipes = [StepRecipe.kang2024(), StepRecipe(base="tbr"), StepRecipe.direct2023()]

    def members():
        g = torch.Generator().manual_seed(1)
        for i, recipe in enumerate(recipes):
            student = MLP([4, 5 + i, 1], "tanh", generator=g)
            rows = slice(None, 40 + i) if i < 2 else slice(0)
            data = (x[rows], y[rows]) if i < 2 else (None, None)
            yield Member(student, teacher, *data, recipe, Optimizer(lr=1e-3 * (i + 1)), 10, 8 + i, seed=i)

    together, alone = list(members()), list(members())
    losses = [p.losses for p in advance(together, 10, "torch")]
    for i, member in enumerate(alone):
        assert torch.equal(advance([member], 10, "torch")[0].losses, losses[i])
        assert same(member.student, together[i].student)


def test_the_data_free_step_is_the_papers():
    """Zhou & Chiam 2023, METHODS section 2, written out with torch.optim as the authors' code has it."""
    g = torch.Generator().manual_seed(0)
    teacher, student = MLP([6, 40, 1], "tanh", generator=g), MLP([6, 10, 1], "tanh", generator=g)
    by_hand = copy.deepcopy(student)
    steps, batch, seed = 40, 12, 9
    optimizer = torch.optim.RMSprop(by_hand.parameters(), lr=1e-3, weight_decay=1e-5)
    for step in range(steps):
        alpha = 1 - (step // 10 + 1) / (steps // 10)
        x = normal(seed, ASCENT, step, batch, 1, 6)[:, 0].clone().requires_grad_(True)
        search = torch.optim.RMSprop([x], lr=0.1, weight_decay=1e-5)
        for _ in range(2):
            search.zero_grad()
            s = by_hand(x)
            (-((teacher(x) - s) ** 2) + 1e-5 * s**2).mean().backward()
            search.step()
        gaussian = normal(seed, INPUT, step, batch, 1, 6)[:, 0]
        optimizer.zero_grad()
        loss = 0.0
        for weight, points in ((alpha, x.detach()), (1 - alpha, gaussian)):
            loss = loss + weight * ((teacher(points) - by_hand(points)) ** 2).mean()
        loss.backward()
        optimizer.step()
    recipe, ours = StepRecipe.direct2023(), Optimizer("rmsprop", lr=1e-3, weight_decay=1e-5)
    distill_steps(
        student, teacher, None, None, recipe, ours, n=steps, total=steps, batch=batch, seed=seed, compute="torch"
    )
    for p, q in zip(student.parameters(), by_hand.parameters()):
        # 40 float32 steps of sizes near 1e-3 each, sums in another order
        torch.testing.assert_close(p, q, rtol=1e-4, atol=1e-5)


def test_a_step_sees_the_rows_of_its_permutation(world):
    student, _, x, y = world
    x = torch.arange(60.0)[:, None].repeat(1, 4)
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.zeros(1))

        def forward(self, rows):
            seen.append(rows[:, 0].long())
            return self.scale * rows[:, :1]

    fit_steps(Spy(), x, y, Optimizer(lr=0.0), n=5, total=5, batch=25, seed=3)
    assert all(torch.equal(s, batch_rows(3, i, 25, 60)) for i, s in enumerate(seen))


def test_rows_can_be_taken_in_order(world):
    student, teacher, x, y = world
    again = copy.deepcopy(student)
    rows_of = lambda step: [(step * 25 + i) % 60 for i in range(25)]
    call = {"n": 4, "total": 4, "batch": 25, "compute": "torch"}
    distill_steps(student, teacher, x, y, StepRecipe(), Optimizer(), shuffle=False, **call)
    flat = torch.cat([x[rows_of(step)] for step in range(4)])
    distill_steps(again, teacher, flat, None, StepRecipe(), Optimizer(), shuffle=False, **call)
    assert same(student, again)


def test_a_convolutional_student_with_images_runs_on_the_torch_path():
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 1, 6, 6, generator=g), torch.randn(20, 2, generator=g)
    net = lambda k: nn.Sequential(nn.Conv2d(1, k, 3), nn.Tanh(), nn.Flatten(), nn.Linear(16 * k, 2))
    teacher, student = net(3), net(1)
    done = distill_steps(
        student, teacher, x, y, StepRecipe.kang2024("ail"), Optimizer(lr=1e-2), n=30, total=30, batch=10
    )
    assert done.choice.compute == "torch" and "Sequential" in done.choice.reason
    assert done.losses[-5:, 0].mean() < done.losses[:5, 0].mean()


class TestTeachersWithoutGradients:
    def teacher(self, x):
        return torch.tanh(x[:, :1]).detach() * 2

    def test_pm_and_abm_by_candidates_work(self, world):
        student, _, x, y = world
        recipe = StepRecipe(w_pm=1.0, w_abm=1.0, ascent_sigma=0.5, ascent_candidates=8)
        done = distill_steps(student, self.teacher, x, y, recipe, Optimizer(lr=1e-2), n=100, total=100, batch=20)
        assert done.choice.compute == "torch"
        assert done.losses[-10:, 0].mean() < 0.3 * done.losses[:10, 0].mean()

    def test_the_candidate_is_the_largest_disagreement(self, world):
        from regkd_edge.fused.points import random_points
        from regkd_edge.fused.reference import synthetic_points

        student, _, x, _ = world
        recipe = StepRecipe(w_abm=1.0, ascent_sigma=0.5, ascent_candidates=8)
        found = synthetic_points(student, self.teacher, x, recipe, 1, 2)["ascended"]
        away = lambda z: (student(z) - self.teacher(z)).square().sum(-1)
        among = torch.stack([away(c) for c in random_points(x, recipe, 1, 2).unbind(1)], 1)
        torch.testing.assert_close(away(found), among.max(1).values)

    def test_gm_is_refused_unless_central_differences_are_asked_for(self, world):
        student, _, x, y = world
        kwargs = {"n": 5, "total": 5, "batch": 20}
        with pytest.raises(RecipeError, match="central"):
            distill_steps(student, self.teacher, x, y, StepRecipe(w_gm=0.1), Optimizer(), **kwargs)
        done = distill_steps(
            student, self.teacher, x, y, StepRecipe(w_gm=0.1, teacher_gradient="central"), Optimizer(), **kwargs
        )
        assert (done.losses[:, 4] > 0).all()

    def test_central_differences_agree_with_the_gradient(self, world):
        student, teacher, x, y = world
        recipe = StepRecipe(w_gm=1.0, teacher_gradient="central", teacher_step=0.01)
        kwargs = {"n": 1, "total": 1, "batch": 60, "compute": "torch"}
        plain = lambda z: teacher(z)
        student, again = student.double(), copy.deepcopy(student).double()
        x, teacher = x.double(), teacher.double()
        near = distill_steps(student, plain, x, None, recipe, Optimizer(), **kwargs).losses[0, 4]
        exact = distill_steps(again, teacher, x, None, StepRecipe(w_gm=1.0), Optimizer(), **kwargs).losses[0, 4]
        assert near == pytest.approx(float(exact), rel=1e-3)  # error h^2/6 J''' with h = 0.01


@pytest.mark.parametrize(
    "change,words",
    [
        ({"n": 0}, "n must be"),
        ({"n": 11}, "total of 10"),
        ({"batch": 0}, "batch"),
        ({"seed": -1}, "seed"),
        ({"teacher": None}, "teacher"),
        ({"y": None, "recipe": StepRecipe(base="ail")}, "label"),
        ({"x": None, "recipe": StepRecipe(base="ail")}, "label"),
        ({"x": torch.zeros(0, 4), "y": None}, "0 training rows"),
        ({"y": torch.zeros(3, 1)}, r"\(3, 1\)"),
        ({"recipe": StepRecipe(w_pm=1.0, sigma=(0.1, 0.2))}, "2 numbers"),
        ({"compute": "tpu"}, "tpu"),
    ],
)
def test_mistakes_are_refused_before_anything_changes(world, change, words):
    student, teacher, x, y = world
    before = copy.deepcopy(student)
    call = {
        "student": student, "teacher": teacher, "x": x, "y": y, "recipe": StepRecipe(), "optimizer": Optimizer(),
        "n": 5, "total": 10, "batch": 8, **change,
    }  # fmt: skip
    with pytest.raises((RecipeError, DataError), match=words):
        distill_steps(**call)
    assert same(before, student)


def test_data_free_needs_to_know_the_number_of_inputs():
    student = nn.Sequential(nn.Linear(3, 1))
    teacher = nn.Sequential(nn.Linear(3, 1))
    call = (student, teacher, None, None, StepRecipe(), Optimizer())
    with pytest.raises(RecipeError, match="number of features"):
        distill_steps(*call, n=2, total=2, batch=4)
    assert distill_steps(*call, n=2, total=2, batch=4, inputs=3).state.step == 2
