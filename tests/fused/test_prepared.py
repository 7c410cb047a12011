"""The single step by a prepared plan: the same bits as without one, whatever happens to networks, recipe and tensors
between two calls."""

from __future__ import annotations

import copy
import threading

import pytest
import torch
from torch import nn

from regkd_edge.errors import DataError, ModelError, RecipeError
from regkd_edge.fused import distill_backward, distill_step, native, native_operators, prepared, single_step
from regkd_edge.fused.passes import Net
from regkd_edge.fused.twin import distill_step_twin
from regkd_edge.models.mlp import MLP
from regkd_edge.objectives import RowQuantities, StepRecipe, row_quantities

pytestmark = pytest.mark.skipif(native.unavailable("cpu") is not None, reason=f"{native.unavailable('cpu')}")

RECIPE = StepRecipe.kang2024("blend", draws=2)
WHERE = {"seed": 3, "step": 2, "total": 5}


@pytest.fixture
def world():
    g = torch.Generator().manual_seed(0)
    teacher = MLP([5, 9, 7, 2], "tanh", generator=g).requires_grad_(False)
    student = MLP([5, 6, 6, 2], "silu", generator=g)
    return student, teacher, torch.randn(40, 5, generator=g), torch.randn(40, 2, generator=g)


def unprepared(student, teacher, x, y, recipe=RECIPE, rows=None):
    """The same step with every array made anew."""
    nets = [Net.of(copy.deepcopy(net)) for net in (student, teacher)]
    rows = rows or RowQuantities(None)
    place = (x, y, rows, recipe, *WHERE.values())
    done = native_operators.distill_step(*nets, *place)
    if done is not None:
        return done
    terms, dw, db = distill_step_twin(*nets, x, y, rows, recipe, **WHERE)
    return terms, torch.cat([g.flatten() for pair in zip(dw, db) for g in pair])


def check(student, teacher, x, y, recipe=RECIPE, rows=None, planned=True):
    """Both forms of the step give the bits of a step without a plan, and a plan was used, if one should be."""
    terms, flat = unprepared(student, teacher, x, y, recipe, rows)
    for p in student.parameters():
        p.grad = None
    used = prepared.find(student, teacher, recipe) is not None
    loss, found = distill_step(student, teacher, x, y, recipe, rows=rows, **WHERE)
    loss.backward()
    by_autograd = [p.grad for p in prepared.tensors_of(student)]
    for p in student.parameters():
        p.grad = None
    straight = distill_backward(student, teacher, x, y, recipe, rows=rows, **WHERE)
    parts = flat.split([p.numel() for p in prepared.tensors_of(student)])
    assert torch.equal(loss, terms[0]) and torch.equal(found, terms) and torch.equal(straight, terms)
    for p, expected, other in zip(prepared.tensors_of(student), parts, by_autograd):
        if p.requires_grad:
            assert torch.equal(p.grad, other) and torch.equal(p.grad.flatten(), expected)
            p.grad = None
        else:
            assert p.grad is None and other is None
    return used or not planned


def test_a_second_call_goes_by_the_plan(world, monkeypatch):
    check(*world, planned=False)
    monkeypatch.setattr(single_step, "_step_and_gradient", None)
    assert check(*world)


def test_parameters_may_change_in_any_way(world):
    student, teacher, x, y = world
    check(*world)
    with torch.no_grad():
        student.layers[0].weight.mul_(2)  # in place
        teacher.layers[1].bias.add_(1)
    assert check(*world)
    student.layers[1].weight = nn.Parameter(torch.randn(6, 6))  # replaced
    assert check(*world)
    student.layers[1].weight.data = torch.randn(6, 6)  # the same parameter elsewhere
    assert check(*world)
    student.layers[1].weight.data = torch.randn(6, 12)[:, ::2]  # not dense
    assert check(*world)
    student.load_state_dict({k: v + 1 for k, v in student.state_dict().items()})
    assert check(*world)


def test_layers_may_be_replaced(world):
    student, teacher, x, y = world
    check(*world)
    student.layers[1] = nn.Linear(6, 6)
    assert check(*world)
    student.layers[0], student.layers[1] = nn.Linear(5, 4), nn.Linear(4, 6)  # other widths
    assert check(*world) and check(*world)
    student.layers.insert(1, nn.Linear(4, 4))  # one more
    assert check(*world) and check(*world)
    student.layers[1] = nn.Linear(4, 5)
    with pytest.raises(ModelError, match=r"layer 2 of the student has weights \(6, 4\).*behind 5 units"):
        distill_step(*world, RECIPE, **WHERE)
    student.layers[1] = nn.Linear(4, 4, bias=False)
    with pytest.raises(ModelError, match="no bias"):
        distill_step(*world, RECIPE, **WHERE)


def test_activations_recipes_and_teachers_may_change(world):
    student, teacher, x, y = world
    check(*world)
    student.activation = "tanh"
    assert check(*world, planned=False) and check(*world)
    other = MLP([5, 3, 2], "relu")
    for recipe in (RECIPE, StepRecipe.kang2024("mimic"), StepRecipe("labels"), RECIPE):
        for net in (teacher, other):
            check(student, net, x, y, recipe, planned=False)
            assert check(student, net, x, y, recipe)


def test_another_dtype_is_left_to_the_twin(world):
    student, teacher, x, y = world
    check(*world)
    student.double(), teacher.double()
    doubles = (student, teacher, x.double(), y.double())
    assert distill_step(*doubles, RECIPE, **WHERE)[0].dtype == torch.float64
    check(*doubles, planned=False)
    student.float(), teacher.float()
    assert check(*world)
    student.layers[0].weight.data = student.layers[0].weight.data.half()
    with pytest.raises(RuntimeError):  # torch's own: float and half do not go together
        distill_step(*world, RECIPE, **WHERE)


def test_another_device_is_no_garbage(world):
    student, teacher, x, y = world
    check(*world)
    student.to("meta")
    with pytest.raises((RuntimeError, NotImplementedError)):
        distill_step(*world, RECIPE, **WHERE)[0].item()


def test_frozen_parameters_have_no_gradient(world):
    student = world[0]
    check(*world)
    for frozen in (0, 2):
        list(student.parameters())[frozen].requires_grad_(False)
        assert check(*world)
    student.requires_grad_(False)
    assert not distill_step(*world, RECIPE, **WHERE)[0].requires_grad
    with pytest.raises(RecipeError, match="no trainable parameter"):
        distill_backward(*world, RECIPE, **WHERE)
    student.requires_grad_(True)
    assert check(*world)


def test_without_gradients(world):
    check(*world)
    with torch.no_grad():
        loss, terms = distill_step(*world, RECIPE, **WHERE)
        distill_backward(*world, RECIPE, **WHERE)  # its purpose: as an optimizer, it does not ask
    assert not loss.requires_grad and not terms.requires_grad
    assert all(p.grad is not None for p in world[0].parameters())


def test_two_steps_before_a_backward(world):
    student, teacher, x, y = world
    losses = [distill_step(*world, RECIPE, seed=1, step=i, total=5)[0] for i in range(3)]
    (losses[1] + 2 * losses[2]).backward()
    found = [p.grad.clone() for p in student.parameters()]
    student.zero_grad(set_to_none=True)
    for i, factor in ((1, 1), (2, 2)):
        (factor * distill_step(*world, RECIPE, seed=1, step=i, total=5)[0]).backward()
    for p, expected in zip(student.parameters(), found):
        # 1e-6: the sum of two gradients is rounded at another place
        torch.testing.assert_close(p.grad, expected, rtol=1e-6, atol=1e-7)


def test_a_graph_that_is_kept_gives_the_same_again(world):
    student = world[0]
    check(*world)
    loss, _ = distill_step(*world, RECIPE, **WHERE)
    loss.backward(retain_graph=True)
    once = [p.grad.clone() for p in student.parameters()]
    loss.backward(retain_graph=True)
    loss.backward()
    assert all(torch.equal(p.grad, 3 * g) or torch.allclose(p.grad, 3 * g) for p, g in zip(student.parameters(), once))
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_tied_weights_add_up(world):
    student, teacher, x, y = world
    student.layers.insert(2, student.layers[1])  # twice in a row
    terms, flat = unprepared(*world)
    parts = flat.split([p.numel() for p in prepared.tensors_of(student)])
    for step in (distill_backward, lambda *a, **k: distill_step(*a, **k)[0].backward()):
        for _ in range(2):
            student.zero_grad(set_to_none=True)
            step(*world, RECIPE, **WHERE)
            tied = student.layers[1]
            torch.testing.assert_close(tied.weight.grad.flatten(), parts[2] + parts[4])
            torch.testing.assert_close(tied.bias.grad, parts[3] + parts[5])


def test_gradients_add_to_what_is_there(world):
    student = world[0]
    distill_backward(*world, RECIPE, **WHERE)
    once = [p.grad.clone() for p in student.parameters()]
    held = [p.grad for p in student.parameters()]
    distill_backward(*world, RECIPE, **WHERE)
    assert all(torch.equal(p.grad, g + g) and p.grad is h for p, g, h in zip(student.parameters(), once, held))
    student.zero_grad(set_to_none=False)
    distill_backward(*world, RECIPE, **WHERE)
    assert all(torch.equal(p.grad, g) for p, g in zip(student.parameters(), once))


def test_hooks_of_parameters_run(world):
    student, seen = world[0], []
    check(*world)
    student.layers[0].weight.register_hook(lambda g: seen.append("before") or 2 * g)
    student.layers[1].weight.register_post_accumulate_grad_hook(lambda p: seen.append("after"))
    plain = unprepared(*world)[1]
    distill_backward(*world, RECIPE, **WHERE)
    assert sorted(seen) == ["after", "before"]
    assert torch.equal(student.layers[0].weight.grad.flatten(), 2 * plain[:30])


def test_parametrized_weights(world):
    """A weight that is computed from others: the gradient goes on to them."""
    student = world[0]
    check(*world)
    plain = distill_step(*world, RECIPE, **WHERE)[0]
    (expected,) = torch.autograd.grad(plain, student.layers[0].weight)

    class Twice(nn.Module):
        def forward(self, w):
            return 2 * w

    nn.utils.parametrize.register_parametrization(student.layers[0], "weight", Twice())
    with torch.no_grad():
        student.layers[0].parametrizations.weight.original.div_(2)
    distill_backward(*world, RECIPE, **WHERE)
    torch.testing.assert_close(student.layers[0].parametrizations.weight.original.grad, 2 * expected)


@pytest.mark.parametrize("base", ["ail", "tbr", "tor", "blend"])
def test_quantities_per_row_are_those_of_the_call(base, world):
    student, teacher, x, y = world
    recipe = StepRecipe(base, w_pm=0.3)
    for n in (40, 40, 17, 33):
        rows = row_quantities(teacher(x[:n]).detach(), y[:n], k=0.5)
        check(student, teacher, x[:n], y[:n], recipe, rows, planned=False)
    assert prepared.find(student, teacher, recipe) is not None
    if base != "blend":
        with pytest.raises(RecipeError, match="needs the row quantity"):
            distill_step(student, teacher, x, y, recipe, **WHERE)
    check(student, teacher, x[:n], y[:n], recipe, rows)
    few = row_quantities(teacher(x[:5]).detach(), y[:5])
    with pytest.raises(DataError, match=r"rows\.t has shape \(5, 2\) and the step takes \(40, 2\)"):
        distill_step(student, teacher, x, y, recipe, rows=few, **WHERE)


def test_labels_of_another_shape_are_refused(world):
    student, teacher, x, y = world
    check(*world)
    for wrong in (y[:-1], y[:, 0], y[:, :1], y.flatten()):
        for call in (distill_step, distill_backward):
            with pytest.raises(DataError, match=r"y has shape .* the step takes \(40, 2\)"):
                call(student, teacher, x, wrong, RECIPE, **WHERE)


def test_strided_rows(world):
    student, teacher, x, y = world
    check(*world)
    wide = torch.randn(80, 10)
    check(student, teacher, wide[::2, ::2], y.T.contiguous().T)


def test_what_a_call_leaves_in_memory_is_never_seen(world):
    """Buffers are kept between calls: after one full of NaN, and after larger and smaller ones,
    the bits are the same."""
    student, teacher, x, y = world
    expected = unprepared(*world)
    big, spoilt = MLP([5, 70, 70, 2], "tanh"), copy.deepcopy(student)
    for net in (big, spoilt):
        for p in net.parameters():
            p.data.fill_(torch.nan)
    for _ in range(2):
        for net, n in ((big, 40), (spoilt, 40), (spoilt, 3), (big, 300)):
            loss, _ = distill_step(net, teacher, torch.randn(n, 5), torch.zeros(n, 2), RECIPE, **WHERE)
            assert loss.isnan()
        loss, terms = distill_step(*world, RECIPE, **WHERE)
        found = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(student.parameters()))])
        assert torch.equal(terms, expected[0]) and torch.equal(found, expected[1])


def test_networks_that_are_gone_do_not_lend_their_plans(world):
    _, teacher, x, y = world
    for widths in ([5, 4, 2], [5, 6, 2], [5, 4, 4, 2]) * 30:  # ids are used again
        student = MLP(widths, "tanh")
        loss, terms = distill_step(student, teacher, x, y, RECIPE, **WHERE)
        assert len(torch.autograd.grad(loss, list(student.parameters()))) == 2 * (len(widths) - 1)
        again = distill_step(student, teacher, x, y, RECIPE, **WHERE)[1]
        assert torch.equal(terms, again)
        del student, loss
    assert len(prepared._plans) <= prepared._MOST


def test_several_threads(world):
    """One student, one plan, many threads at once: each gets its own step."""
    expected = [distill_step(*world, RECIPE, seed=i, total=5)[1] for i in range(8)]
    failures = []

    def work(seed):
        for _ in range(30):
            loss, terms = distill_step(*world, RECIPE, seed=seed, total=5)
            torch.autograd.grad(loss, list(world[0].parameters()))
            if not torch.equal(terms, expected[seed]):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_copied_student_has_a_plan_of_its_own(world):
    student, teacher, x, y = world
    check(*world)
    other = copy.deepcopy(student)
    with torch.no_grad():
        other.layers[0].weight.add_(1)
    check(other, teacher, x, y, planned=False)
    assert check(*world)
