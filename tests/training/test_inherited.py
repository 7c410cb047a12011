"""A student that begins with neurons of its teacher."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from regkd_edge.config import DistillConfig
from regkd_edge.models import MLP, Teacher
from regkd_edge.recipes.catalogue import FROM_RANDOM, RECIPES
from regkd_edge.training import distill, inherited
from regkd_edge.training.inherited import can_inherit, inherit
from regkd_edge.training.train import without_rows

from .test_train import make_dataset


def network(widths, activation="tanh", seed=0, *, size=1.0):
    module = MLP(widths, activation, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        for layer in module.layers:
            layer.weight *= size
    return module


def points(d, n=2000, seed=1):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def away(student, teacher, x) -> float:
    with torch.no_grad():
        return ((student(x) - teacher(x)).square().mean() / teacher(x).var(0).mean()).sqrt().item()


@pytest.mark.parametrize("widths", [[5, 12, 2], [5, 12, 9, 2]])
def test_a_teacher_with_doubled_neurons_is_found_again_in_half_of_them(widths):
    small = network(widths, size=3.0)
    twice = network([5, *(2 * n for n in widths[1:-1]), 2])
    with torch.no_grad():
        for k, (layer, of) in enumerate(zip(twice.layers, small.layers)):
            weight = of.weight if k == 0 else of.weight.repeat(1, 2) / 2  # each neuron twice, half as heavy
            again = k < len(small.layers) - 1
            layer.weight[:] = weight.repeat(2, 1) if again else weight
            layer.bias[:] = of.bias.repeat(2) if again else of.bias
    student = network(widths, seed=7)
    inherit(student, twice, points(5))
    # The ridge of 1e-4 shrinks a fit a little; where the student has no points of its own it answers alike too.
    assert away(student, twice, points(5, seed=2)) < 0.01 and away(student, twice, 3 * points(5, seed=3)) < 0.03
    own = {tuple(row) for row in small.layers[0].weight.tolist()}
    assert {tuple(row) for row in student.layers[0].weight.tolist()} == own  # every neuron once


@pytest.mark.parametrize(("activation", "wide"), [("relu", [16]), ("tanh", [16]), ("gelu", [16, 16])])
def test_the_choice_is_nearer_than_the_same_fit_behind_random_neurons(activation, wide):
    teacher = network([12, 64, 32, 1], activation, size=2.0)
    with torch.no_grad():  # two directions matter, as few do to a network that was trained
        teacher.layers[0].weight[:] = points(2, 64) @ points(12, 2) / 2
    student, other = network([12, *wide, 1], activation, 3), network([12, *wide, 1], activation, 3)
    inherit(student, teacher, points(12))
    x, hooks = points(12), []
    with torch.no_grad():
        other.layers[-1].register_forward_pre_hook(lambda _, given: hooks.append(given[0]))
        other(x)
        hidden = torch.cat([hooks[0], torch.ones(len(x), 1)], 1)
        found = torch.linalg.lstsq(hidden, teacher(x)).solution
        other.layers[-1].weight[:], other.layers[-1].bias[:] = found[:-1].T, found[-1]
    held = points(12, seed=2)
    assert away(student, teacher, held) < 0.8 * away(other, teacher, held)


def test_a_wider_student_holds_the_whole_teacher():
    teacher = network([4, 6, 1], size=2.0)
    student = network([4, 10, 1], seed=1)
    before = student.layers[0].weight[6:].clone()
    inherit(student, teacher, points(4))
    assert away(student, teacher, points(4, seed=2)) < 0.02 and (student.layers[0].weight[6:] == before).all()


def test_neurons_that_never_change_are_not_chosen_and_break_nothing():
    teacher = network([3, 8, 1])
    with torch.no_grad():
        teacher.layers[0].weight[2:] = 0.0  # constant on any point
    student = network([3, 4, 1], seed=1)
    inherit(student, teacher, points(3))
    assert all(torch.isfinite(p).all() for p in student.parameters())
    assert away(student, teacher, points(3, seed=2)) < 0.01


@pytest.mark.parametrize("layer", [0, 1])
def test_a_teacher_whose_layer_is_dead_gives_its_constant_answer(layer):
    teacher = network([4, 20, 10, 3], "relu")
    with torch.no_grad():
        teacher.layers[layer].bias[:] = -1e6
    student = network([4, 6, 5, 3], "relu", 1)
    inherit(student, teacher, points(4))
    torch.testing.assert_close(student(points(4)), teacher(points(4)))


def test_inputs_that_never_change_give_the_answer_to_them():
    teacher, student = network([4, 20, 3]), network([4, 10, 3], seed=1)
    x = torch.full((50, 4), 0.3)
    inherit(student, teacher, x)
    torch.testing.assert_close(student(x), teacher(x))
    # what varies by rounding alone carries no slope
    assert student.layers[-1].weight.abs().max() < 10 * teacher.layers[-1].weight.abs().max()


@pytest.mark.parametrize("size", [1e-12, 1e-6, 1e6, 1e12])
def test_the_size_of_neurons_that_the_next_layer_undoes_changes_nothing(size):
    """The same function: ReLU(s z) / s. Powers of ten round the weights, no more."""
    teacher, other = network([4, 40, 2], "relu"), network([4, 40, 2], "relu")
    with torch.no_grad():
        other.layers[0].weight *= size
        other.layers[0].bias *= size
        other.layers[1].weight /= size
    near = []
    for one in (teacher, other):
        student = network([4, 20, 2], "relu", 1)
        inherit(student, one, points(4))
        near.append(away(student, one, points(4, seed=2)))
    assert near[1] == pytest.approx(near[0], rel=1e-3) and near[0] < 0.2


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
@pytest.mark.parametrize("widths", [[4, 40, 2], [4, 40, 30, 2]])
def test_neurons_whose_sizes_differ_by_decades_count_alike(activation, widths):
    """Each neuron of its own size, which the next layer undoes: the same function gives the same student."""
    teacher, other = network(widths, activation, size=1.5), network(widths, activation, size=1.5)
    with torch.no_grad():
        for k, (layer, following) in enumerate(zip(other.layers, other.layers[1:])):
            decades = 10 ** torch.empty(layer.out_features).uniform_(-4, 4, generator=torch.manual_seed(k))
            layer.weight *= decades[:, None]
            layer.bias *= decades
            following.weight /= decades
    students = [network([w // 2 if 0 < i < len(widths) - 1 else w for i, w in enumerate(widths)], activation, 1)
                for _ in range(2)]  # fmt: skip
    for student, one in zip(students, (teacher, other)):
        inherit(student, one, points(4))
    x = points(4, seed=2)
    assert away(students[0], teacher, x) < 0.25
    torch.testing.assert_close(students[1](x), students[0](x), rtol=1e-2, atol=1e-2)


def test_a_target_much_smaller_than_another_is_fitted_too():
    teacher, student = network([4, 40, 3]), network([4, 20, 3], seed=1)
    with torch.no_grad():
        teacher.layers[-1].weight *= torch.tensor([[1e-6], [1.0], [1e6]])
    inherit(student, teacher, points(4))
    x = points(4, seed=2)
    off = (student(x) - teacher(x)).square().mean(0).sqrt() / teacher(x).std(0)
    assert (off < 0.2).all()  # the largest chose the neurons; found: 0.04 to 0.09


@pytest.mark.parametrize("count", [1, 2, 7])
def test_fewer_points_than_neurons_are_met(count):
    teacher, student = network([4, 20, 3]), network([4, 10, 3], seed=1)
    inherit(student, teacher, points(4, count))
    # The ridge gives up 1e-4 of a variance; what is left of the answers is small beside them.
    assert (student(points(4, count)) - teacher(points(4, count))).abs().max() < 0.02


def test_of_more_neurons_than_are_looked_at_the_largest_count(monkeypatch):
    monkeypatch.setattr(inherited, "_MOST", 8)
    teacher, student = network([4, 30, 1]), network([4, 8, 1], seed=1)
    with torch.no_grad():
        teacher.layers[-1].weight[:, 8:] *= 1e-6
    inherit(student, teacher, points(4))
    own = {tuple(row) for row in teacher.layers[0].weight[:8].tolist()}
    assert {tuple(row) for row in student.layers[0].weight.tolist()} == own


def test_a_layer_wider_than_its_teachers_before_one_that_is_narrower():
    teacher, student = network([4, 8, 30, 2], size=2.0), network([4, 16, 20, 2], seed=1)
    inherit(student, teacher, points(4))
    assert away(student, teacher, points(4, seed=2)) < 0.1


def test_who_can_inherit():
    deep = network([3, 8, 8, 1])
    assert can_inherit([3, 4, 1], "tanh", deep) and can_inherit([3, 4, 4, 1], "tanh", deep)
    assert not can_inherit([3, 4, 1], "relu", deep)
    assert not can_inherit([3, 4, 4, 4, 1], "tanh", deep)  # deeper than the teacher
    assert not can_inherit([3, 1], "tanh", deep)  # no hidden layer
    assert not can_inherit([2, 4, 1], "tanh", deep) and not can_inherit([3, 4, 2], "tanh", deep)
    assert not can_inherit([3, 4, 1], "tanh", torch.nn.GRU(3, 4)) and not can_inherit([3, 4, 1], "tanh", None)


def test_a_student_that_was_to_begin_so_and_cannot_says_why():
    data = make_dataset(o=1)
    teacher = Teacher(network([3, 20, 1]), data.scalers(), "standardized", "an MLP")
    fields = {"base": "mimic", "terms": [], "steps": 20, "initial": "teacher"}
    students = lambda spec: distill(data, teacher, DistillConfig(student=spec, **fields), 0)
    notes = lambda spec: [note for note in students(spec).notes if "at random" in note]
    assert notes("mlp:6:tanh") == []
    (note,) = notes("mlp:6:relu")
    assert "mlp:6:relu takes neurons" in note and "1 hidden layer of tanh" in note


def test_recipe_auto_without_data_begins_so_where_it_can(tmp_path):
    data = make_dataset(o=1)
    module = network([3, 60, 1], size=3.0)
    teacher = Teacher(module, data.scalers(), "standardized", "an MLP")
    auto = lambda **given: without_rows(DistillConfig(no_data=True, student="mlp:12:tanh", **given), 3, teacher)
    assert auto().initial == "teacher" and auto().lr == RECIPES["data-free-values"]["lr"]
    assert auto(lr=0.1).lr == 0.1
    black = Teacher(torch.nn.Sequential(module, Squared()), data.scalers(), "standardized", "no MLP")
    plain = without_rows(DistillConfig(no_data=True, student="mlp:12:tanh"), 3, black)
    assert {k: getattr(plain, k) for k in FROM_RANDOM} == FROM_RANDOM

    x = points(3)
    near = {}
    for initial in ("teacher", "random"):
        config = DistillConfig(
            no_data=True, student="mlp:12:tanh", base="mimic", terms=[], steps=300, lr=2e-3, initial=initial
        )
        near[initial] = away(distill(data, teacher, config, 0).module, module, x)
    assert near["teacher"] < 0.5 * near["random"]


def test_rows_serve_as_points_too():
    data = make_dataset(o=1)
    teacher = Teacher(network([3, 60, 1], size=3.0), data.scalers(), "standardized", "an MLP")
    x = torch.from_numpy(data.scalers().x.standardize(data.rows("test")[0])).float()
    fields = {"student": "mlp:12:tanh", "base": "mimic", "terms": [], "steps": 20, "lr": 1e-4}
    near = [
        away(distill(data, teacher, DistillConfig(initial=initial, **fields), 0).module, teacher.module, x)
        for initial in ("teacher", "random")
    ]
    assert near[0] < 0.5 * near[1] and np.isfinite(near).all()


class Squared(torch.nn.Module):
    def forward(self, x):
        return x * x
