"""Mixed precision: refused without a GPU, PyTorch's where there is one. No GPU ran it here: the plumbing is tested."""

from __future__ import annotations

import pytest
import torch

import regkd_edge as rk
from regkd_edge.errors import NotAvailable
from regkd_edge.fused import Member, Optimizer, advance, choose, place
from regkd_edge.models import build
from regkd_edge.objectives import StepRecipe

RECIPE = StepRecipe(w_pm=1.0, w_abm=1.0, w_gm=0.1)


def networks():
    return build("conv1d:4x3,flat,5:tanh", 12, 2, 0, shape=(2, 6)), build("mlp:9:tanh", 12, 2, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU it is allowed")
def test_it_is_refused_on_a_cpu_with_one_line():
    x = torch.randn(40, 12)
    with pytest.raises(
        NotAvailable, match="mixed precision needs a GPU, and there is none to use: this PyTorch"
    ) as caught:
        rk.distill(lambda v: v[:, 0], x.numpy(), student="mlp:3:relu", recipe="mimic", steps=5, mixed_precision=True)
    assert "--mixed-precision" in caught.value.remedy and "\n" not in str(caught.value)


def test_a_requested_cpu_excludes_it():
    for where in ({"device": "cpu"}, {"compute": "cpu"}):
        with pytest.raises(NotAvailable, match="the CPU was requested"):
            place(*networks(), RECIPE, batch=4, mixed=True, **where)


def test_the_fused_core_leaves_it_to_torch():
    mlp = build("mlp:4:tanh", 3, 1, 0), build("mlp:9:tanh", 3, 1, 1)
    choice = choose(*mlp, StepRecipe(), batch=4, x=torch.randn(8, 3), mixed=True)
    assert choice.compute == "torch" and "mixed precision is computed by torch" in choice.reason
    with pytest.raises(NotAvailable, match="mixed precision"):
        choose(*mlp, StepRecipe(), batch=4, x=torch.randn(8, 3), compute="cpu", mixed=True)


def test_products_are_bfloat16_and_everything_kept_is_float32():
    """PyTorch's autocast on the CPU stands in for the GPU's: the same code, all terms, second derivatives included."""
    x = torch.randn(40, 12, generator=torch.Generator().manual_seed(2))
    tables = {}
    for mixed in (False, True):
        student, teacher = networks()
        member = Member(student, teacher, x, None, RECIPE, Optimizer(lr=1e-2), 40, 16, mixed=mixed)
        member.decide("torch")
        tables[mixed] = advance([member], 40)[0].losses
        state = [t for slot in member.state.slots.values() for t in slot]
        assert {t.dtype for t in (*student.parameters(), *state)} == {torch.float32}
    assert not torch.equal(tables[True], tables[False])
    # bfloat16 has 8 bits: 3 to 8 % in the gradients near the teacher, less in the losses of the first steps.
    assert torch.allclose(tables[True][:5], tables[False][:5], rtol=0.1)
    assert tables[True][-5:, 0].mean() < 0.5 * tables[True][:5, 0].mean()
