"""Residual connections, ensembles and towers become one MLP where numbers can pass its activation unchanged."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regkd_edge.models.convert import as_mlp
from regkd_edge.models.folding import follow
from regkd_edge.models.folding.branches import passage
from regkd_edge.models.folding.symbolic_row import NotAChain
from regkd_edge.models.mlp import ACTIVATIONS

PASSING = ["relu", "leaky_relu", "silu", "gelu", "gelu_tanh", "softplus"]
X = 3 * torch.randn(60, 4, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Layers whose way is given by a function."""

    def __init__(self, way, activation="relu"):
        super().__init__()
        self.way, self.act = way, ACTIVATIONS[activation]
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.skip, self.end = nn.Linear(4, 2), nn.Linear(6, 2)
        self.norm = nn.BatchNorm1d(6)
        nn.init.normal_(self.norm.running_mean)

    def forward(self, x):
        return self.way(self, x)


def after_the_activation(net, x):
    h = net.act(net.a(x))
    h = net.act(h + net.c(net.act(net.norm(net.b(h)))))
    return net.end(net.act(h + net.b(net.act(net.c(h)))))


def before_the_activation(net, x):
    h = net.a(x)
    h = h + net.c(net.act(net.b(net.act(net.norm(h)))))
    h = h + 0.5 * net.b(net.act(net.c(net.act(h))))
    return net.end(h)


def around_one_layer(net, x):
    h = net.a(x)
    for layer in (net.b, net.c):
        h = h + net.act(layer(h))
    return net.end(h)


def wide_and_deep(net, x):
    return net.skip(x) - net.end(net.act(net.b(net.act(net.a(x)))))


def towers_of_different_depth(net, x):
    one = net.end(net.act(net.a(x)))
    other = net.end(net.act(net.c(net.act(net.b(net.act(net.a(x)))))))
    return torch.cat([one, other, x], dim=1)


@pytest.mark.parametrize("activation", PASSING)
@pytest.mark.parametrize(
    "way",
    [after_the_activation, before_the_activation, around_one_layer, wide_and_deep, towers_of_different_depth],
)
def test_branches_become_one_network(way, activation):
    torch.manual_seed(0)
    net = Net(way, activation).eval()
    mlp = as_mlp(net)
    assert mlp is not None and mlp.activation == activation
    # the differences f(z) - f(-z) round like the numbers themselves
    assert torch.allclose(mlp(X), net(X), atol=2e-5, rtol=2e-5)
    ours, theirs = (torch.func.vmap(torch.func.jacrev(lambda x, f=f: f(x[None])[0]))(X) for f in (mlp, net))
    assert torch.allclose(ours, theirs, atol=2e-5, rtol=2e-4)


@pytest.mark.parametrize("activation", ["tanh", "elu"])
def test_numbers_cannot_pass_every_activation(activation):
    torch.manual_seed(0)
    assert as_mlp(Net(wide_and_deep, activation).eval()) is None
    with pytest.raises(NotAChain, match=activation):
        passage(activation)


class Ensemble(nn.Module):
    def __init__(self, activation, way):
        super().__init__()
        self.way = way
        self.members = nn.ModuleList(
            nn.Sequential(nn.Linear(4, 5), activation, nn.Linear(5, 3), activation, nn.Linear(3, 2)) for _ in range(4)
        )

    def forward(self, x):
        return self.way([member(x) for member in self.members])


@pytest.mark.parametrize("activation", [nn.Tanh(), nn.ELU(), nn.ReLU()], ids=str)
@pytest.mark.parametrize(
    "way",
    [
        lambda y: torch.stack(y).mean(0),
        lambda y: torch.stack(y, dim=1).mean(dim=1),
        lambda y: torch.stack(y, -1).sum(-1),
        lambda y: sum(y) / len(y),
        lambda y: 0.7 * y[0] + 0.3 * y[1],
    ],
)
def test_the_mean_of_an_ensemble_is_one_network(way, activation):
    torch.manual_seed(0)
    net = Ensemble(activation, way).eval()
    mlp = as_mlp(net)
    assert len(mlp.widths) == 4 and mlp.widths[1] in (10, 20)  # layers side by side, none twice
    assert torch.allclose(mlp(X), net(X), atol=1e-5)


def test_a_layer_that_is_called_twice_is_computed_once():
    torch.manual_seed(0)
    net = Net(lambda net, x: torch.cat([net.end(torch.tanh(net.a(x))), net.end(torch.tanh(net.a(x))) * 2], 1)).eval()
    mlp = as_mlp(net)
    assert mlp.widths == [4, 6, 4] and torch.allclose(mlp(X), net(X), atol=1e-5)


def test_a_network_that_folding_makes_much_larger_stays_as_it_is():
    torch.manual_seed(0)
    shared = nn.Linear(120, 120)
    net = Net(lambda net, x: net.last(net.deep(x))).eval()
    net.deep = nn.Sequential(nn.Linear(4, 120), *[nn.Sequential(nn.ReLU(), shared) for _ in range(30)])
    net.last = nn.Linear(120, 1)
    assert as_mlp(net) is None  # 30 times the parameters
    net.deep = nn.Sequential(nn.Linear(4, 120), *[nn.Sequential(nn.ReLU(), shared) for _ in range(3)])
    assert as_mlp(net) is not None


def test_an_ensemble_that_is_too_wide_is_given_up_before_it_is_built(monkeypatch):
    class Ensemble(nn.Module):
        def __init__(self):
            super().__init__()
            self.nets = nn.ModuleList(nn.Sequential(nn.Linear(4, 300), nn.ReLU(), nn.Linear(300, 1)) for _ in range(9))

        def forward(self, x):
            return torch.stack([net(x) for net in self.nets]).mean(0)

    monkeypatch.setattr(follow, "_recorded", lambda *_: pytest.fail("recorded for nothing"))
    assert as_mlp(Ensemble(), 4) is None
    assert as_mlp(nn.Sequential(nn.Conv1d(1, 3, 3), nn.Flatten(), nn.Linear(6, 1)), 4) is None
