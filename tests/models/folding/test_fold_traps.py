"""Modules that look like an MLP on a few small rows: the folded network is
equal far out and for tiny answers, or none."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from regkd_edge.models.convert import _proved, as_mlp, shared_mlp
from regkd_edge.models.folding import follow, symbolic_row
from regkd_edge.models.folding.follow import chain_of
from regkd_edge.models.folding.symbolic_row import NotAChain
from regkd_edge.models.mlp import MLP

SIZES = (1e-2, 1.0, 100.0, 1e5)


class Net(nn.Module):
    def __init__(self, way):
        super().__init__()
        torch.manual_seed(0)
        self.way, self.a, self.b = way, nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.way(self, x)


def written_as_a_statement(net, x, most=60):
    x.clamp_(-most, most)
    return net.b(torch.relu(net.a(x)))


def written_in_a_layer(net, x):
    h = net.a(x)
    h.clamp_(-5000, 5000)
    return net.b(torch.relu(h))


WAYS = {
    "relu with a far end": lambda net, x: net.b(torch.relu(net.a(x)).clamp(max=2000)),
    "far clamp": lambda net, x: net.b(torch.relu(net.a(x.clamp(-3000, 20_000)))),
    "in place, a statement": written_as_a_statement,
    "in place, far": lambda net, x: written_as_a_statement(net, x, most=40_000),
    "in place, a layer": written_in_a_layer,
    "in place, alone": lambda net, x: net.b(F.relu(net.a(x), inplace=True)),
    "tiny relu": lambda net, x: 1e-9 * torch.relu(net.b(torch.relu(net.a(x)))),
    "tiny tanh": lambda net, x: 1e-9 * torch.tanh(net.b(torch.tanh(net.a(x)))),
    "bounded output": lambda net, x: 2.5 * torch.tanh(net.b(torch.tanh(net.a(x)))) - 1,
    "share of a range": lambda net, x: 3 + 20 * torch.sigmoid(net.b(torch.tanh(net.a(x)))),
    "near limits": lambda net, x: net.b(torch.relu(net.a(x).clamp(-2, 1))),
}


@pytest.mark.parametrize("name", WAYS)
def test_a_folded_network_is_equal_at_every_size(name):
    net = Net(WAYS[name]).eval()
    mlp = as_mlp(net, 4)
    assert mlp is not None
    for size in SIZES:
        x = size * torch.randn(200, 4)
        answers = net(x.clone())
        assert (mlp(x) - answers).abs().max() <= 1e-2 * answers.abs().max(), size


def stale(net, x):
    h = net.a(x)
    part = h[:, 2:]
    part.clamp_(-1e6, 1e6)
    return net.b(torch.relu(h))


def stale_input(net, x):
    y = x.view(-1, 4)
    y.clamp_(-1e6, 1e6)
    return net.b(torch.relu(net.a(x)))


@pytest.mark.parametrize("way", [stale, stale_input])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_part_that_is_written_into_is_not_followed(way, recorded):
    with pytest.raises(NotAChain, match="written into"):
        chain_of(Net(way).eval(), 4, recorded=recorded)


@pytest.mark.parametrize("rounded", [lambda x: x.half(), lambda x: x.to(torch.bfloat16), lambda x: x.to(torch.int32)])
@pytest.mark.parametrize("recorded", [False, True])
def test_a_conversion_that_rounds_is_not_followed(rounded, recorded):
    net = Net(lambda net, x: rounded(net.b(torch.relu(net.a(x)))).float()).eval()
    with pytest.raises(NotAChain):
        chain_of(net, 4, recorded=recorded)


def test_an_activation_in_place_leaves_the_points_where_functions_are_looked_at():
    before = symbolic_row._GRID.clone()
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(inplace=True), nn.Linear(6, 6), nn.ReLU(inplace=True), nn.Linear(6, 1))
    assert as_mlp(net.eval()).widths == [4, 6, 6, 1]
    assert torch.equal(symbolic_row._GRID, before)


def cut(module, given, answer):
    return answer.clamp(-7e6, 7e6)


def test_a_hook_on_the_whole_is_not_left_out():
    net = Net(lambda net, x: net.b(torch.relu(net.a(x)))).eval()
    assert as_mlp(net, 4) is not None
    net.register_forward_hook(cut)
    with pytest.raises(NotAChain, match="hook"):
        chain_of(net, 4)


def test_a_hook_on_a_layer_is_recorded_with_it():
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)).eval()
    net[0].register_forward_pre_hook(lambda layer, given: (given[0].clamp(-60, 60),))
    with pytest.raises(NotAChain, match="hook"):
        chain_of(net, 4)
    x = 1e4 * torch.randn(50, 4)
    assert torch.allclose(as_mlp(net, 4)(x), net(x), rtol=1e-3, atol=1e-2)


def hook_on_a_layer(mlp):
    mlp.layers[0].register_forward_hook(lambda layer, given, answer: answer.clamp(max=0.1))


def hook_before_the_whole(mlp):
    mlp.register_forward_pre_hook(lambda layer, given: (given[0].clamp(-0.2, 0.3),))


def computed_weights(mlp):
    nn.utils.parametrizations.weight_norm(mlp.layers[0])


@pytest.mark.parametrize("change", [hook_on_a_layer, hook_before_the_whole, computed_weights])
def test_an_mlp_of_ours_with_something_around_its_layers_is_followed_as_any_module(change):
    mlp = MLP([4, 8, 2]).eval()
    assert shared_mlp(mlp) is mlp
    change(mlp)
    assert shared_mlp(mlp) is None
    x = torch.randn(50, 4)
    assert torch.allclose(as_mlp(mlp, 4)(x), mlp(x), atol=1e-5)


def test_each_output_is_compared_by_its_own_size():
    """One output is off by a hundredth, beside one of millions."""

    def two(net, x):
        large, small = net.b(torch.relu(net.a(x))).unbind(1)
        return torch.stack([1e7 * large, small], 1)

    class Hidden(Net):
        def forward(self, x):
            y = super().forward(x)
            return torch.stack([y[:, 0], torch.from_numpy(y[:, 1].numpy() * 1.01)], 1) if self.moved else y

    net = Hidden(two).eval()
    net.moved = False
    good = as_mlp(net, 4)
    assert _proved(net, good, torch.float32)
    net.moved = True
    assert not _proved(net, good, torch.float32)


class Gated(nn.Module):
    """A mixture of experts: a softmax of the row weighs four answers."""

    def __init__(self):
        super().__init__()
        self.gate, self.experts = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        return (torch.softmax(self.gate(x), -1) * self.experts(x)).sum(1, keepdim=True)


@pytest.mark.parametrize(
    "module",
    [Gated(), nn.TransformerEncoderLayer(4, 2, 8), nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 1))],
    ids=["softmax", "attention", "LayerNorm"],
)
def test_what_no_way_can_follow_does_not_import_the_compiler(module, monkeypatch):
    """Recording a graph and the traceback of a refusal both import torch._inductor: seconds for nothing."""
    asked = []
    monkeypatch.setattr(follow, "_recorded", lambda *given: asked.append("a recorded graph"))
    monkeypatch.setattr("torch.fx.interpreter.trace_structured", lambda *given, **named: asked.append("a traceback"))
    assert as_mlp(module.eval(), 4) is None and not asked
