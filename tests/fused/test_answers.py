"""A network's answers without a graph: on the core where it knows the network, the network's own elsewhere."""

from __future__ import annotations

import pytest
import torch

from regkd_edge.fused import answers, native
from regkd_edge.models import MLP


def mlp(widths, activation="tanh"):
    return MLP(widths, activation, generator=torch.Generator().manual_seed(3))


@pytest.mark.skipif(native.unavailable("cpu") is not None, reason=f"{native.unavailable('cpu')}")
@pytest.mark.parametrize("widths", [[5, 1], [26, 500, 1], [7, 33, 20, 3]])
def test_the_core_answers_like_the_network(widths):
    network, x = mlp(widths), torch.randn(777, widths[0], generator=torch.Generator().manual_seed(1))
    assert native.core_for(network, x) is not None
    found, expected = answers(network, x), network(x)
    assert not found.requires_grad
    assert (found - expected).abs().max() < 1e-5 * expected.abs().max().clamp(min=1)  # float32 sums of up to 500 terms


def test_inputs_that_are_not_contiguous_are_read_in_their_order():
    network, x = mlp([4, 6, 2]), torch.randn(4, 30).T
    assert torch.allclose(answers(network, x), network(x), atol=1e-6)


class Doubled(torch.nn.Module):
    def forward(self, x):
        return 2 * x


@pytest.mark.parametrize("case", ["module", "double", "hook", "no rows", "width"])
def test_what_the_core_does_not_know_is_left_to_the_network(case):
    network, x = mlp([3, 4, 1]), torch.ones(5, 3)
    if case == "module":
        network = Doubled()
    elif case == "double":
        network, x = network.double(), x.double()
    elif case == "hook":
        network.register_forward_hook(lambda module, inputs, output: output + 1)
    elif case == "no rows":
        x = x[:0]
    else:
        with pytest.raises(RuntimeError):
            answers(network, torch.ones(5, 2))
        return
    assert native.core_for(network, x) is None
    assert torch.equal(answers(network, x), network(x))
