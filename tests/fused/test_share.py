"""Steps that several processes divide by rows: the parts add up to the whole, with the same noise for every row."""

from __future__ import annotations

import pytest
import torch

from regkd_edge.errors import RecipeError
from regkd_edge.fused import Member, Optimizer, advance
from regkd_edge.fused.ops import matching_loss, perturb
from regkd_edge.fused.reference import Operators, step_loss
from regkd_edge.fused.share import Share, Slice
from regkd_edge.models import build
from regkd_edge.objectives import StepRecipe, row_quantities

D, O, B = 12, 3, 7


def networks(dtype=torch.float64):
    student = build("conv1d:4x3,flat,5:tanh", D, O, 0, shape=(2, 6)).to(dtype)
    teacher = build("mlp:9:tanh", D, O, 1).to(dtype)
    return student, teacher


def rows(dtype=torch.float64):
    g = torch.Generator().manual_seed(3)
    x, y = torch.randn(B, D, generator=g, dtype=dtype), torch.randn(B, O, generator=g, dtype=dtype)
    with torch.no_grad():
        t = networks(dtype)[1](x)
    return x, y, row_quantities(t, y, 3.0, "mean")


TERMS = {"w_pm": 1.0, "w_abm": 0.7, "w_gm": 0.1, "draws": 2, "ascent_steps": 2}
RECIPES = {
    "pm, abm, gm": StepRecipe(**TERMS),
    "signs": StepRecipe(**TERMS, cotangents=2),
    "random": StepRecipe(w_abm=1.0, ascent_rule="random", ascent_candidates=3),
    "weight decay of the search": StepRecipe(w_abm=1.0, ascent_steps=3, ascent_weight_decay=0.1, ascent_ridge=0.1),
    "from inputs": StepRecipe(w_abm=1.0, ascent_from_anchor=False, ascent_sigma=1.0, ascent_steps=2),
    "smooth": StepRecipe(**TERMS, noise_length=1.5, shape=(2, 6), low=(-1.0,) * D, high=(1.0,) * D),
    "blend": StepRecipe(base="blend", **TERMS),
    "tor": StepRecipe(base="tor", w_gm=0.1),
    "ail": StepRecipe(base="ail", w_pm=0.1),
}


@pytest.mark.parametrize("operators", [None, Operators(perturb, matching_loss)], ids=["torch", "operators"])
@pytest.mark.parametrize("name", RECIPES)
def test_the_parts_of_a_step_add_up_to_the_step(name, operators):
    recipe, (student, teacher), (x, y, known) = RECIPES[name], networks(), rows()
    parameters = list(student.parameters())

    def step(index, part):
        where = {"seed": 5, "step": 11, "total": 100, "operators": operators, "part": part}
        loss, terms = step_loss(student, teacher, x[index], y[index], known.take(index), recipe, **where)
        return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters)]), terms

    gradient, losses = step(torch.arange(B), None)
    parts = [(torch.arange(a, b), Slice(a, B)) for a, b in ((0, 2), (2, 3), (3, B))]
    done = [step(*part) for part in parts]
    for whole, found in ((gradient, 0), (losses, 1)):
        added = sum(one[found] * (len(index) / B) for one, (index, _) in zip(done, parts))
        # The same sums in another order, in float64.
        assert torch.allclose(added, whole, rtol=1e-10, atol=1e-12), (added - whole).abs().max()


def test_a_student_trained_by_shares_is_that_of_one_process():
    """Three processes, taken in turn by hand: each computes its part,
    and their sum is what every one continues with."""
    x, y, known = rows(torch.float32)
    student, teacher = networks(torch.float32)
    recipe, optimizer = RECIPES["pm, abm, gm"], Optimizer(lr=1e-2)
    whole = Member(student, teacher, x, y, recipe, optimizer, 30, 5, rows=known)
    losses = advance([whole], 30)[0].losses

    import threading

    size, barrier, sums = 3, threading.Barrier(3), {}

    def add(rank):
        def together(tensor):
            sums[rank] = tensor.clone()
            barrier.wait()
            total = sums[0] + sums[1] + sums[2]
            barrier.wait()
            tensor.copy_(total)

        return together

    members = []
    for rank in range(size):
        mine, theirs = networks(torch.float32)
        share = Share(rank, size, add(rank))
        members.append(Member(mine, theirs, x, y, recipe, optimizer, 30, 5, rows=known, share=share))
    tables = [None] * size

    def work(rank):
        tables[rank] = advance([members[rank]], 30)[0].losses

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    [t.start() for t in threads]
    [t.join(60) for t in threads]
    assert [member.share.of(5) for member in members] == [(0, 1), (1, 2), (3, 2)]
    for rank in range(size):
        # Adam turns a rounding of a gradient near 0 into a part of its step: 30 steps of 1e-2, errors of float32.
        assert torch.allclose(tables[rank], losses, rtol=2e-4, atol=1e-5)
        for p, q, first in zip(whole.parameters(), members[rank].parameters(), members[0].parameters()):
            assert torch.allclose(p, q, atol=2e-4) and torch.equal(q, first)


def test_what_compares_rows_is_refused():
    share = Share(0, 2, lambda tensor: None)
    with pytest.raises(RecipeError, match="base rkd compares the rows"):
        share.require(StepRecipe(base="rkd"), 8)
    with pytest.raises(RecipeError, match="1 rows, fewer than the 2 processes"):
        share.require(StepRecipe(), 1)


def test_every_row_is_one_process_s():
    for batch in range(1, 40):
        for size in range(1, min(batch, 9) + 1):
            shares = [Share(rank, size, lambda tensor: None).of(batch) for rank in range(size)]
            assert [first for first, _ in shares] == [sum(n for _, n in shares[:r]) for r in range(size)]
            assert sum(n for _, n in shares) == batch and min(n for _, n in shares) >= 1
