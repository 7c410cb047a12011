"""Lines with kinks, found by their values, are sums of ReLUs."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from regkd_edge.models.convert import as_mlp
from regkd_edge.models.folding.piecewise import lines_of

X = 20 * torch.randn(400, 3, generator=torch.Generator().manual_seed(0))

LINES = {
    "leaky": (lambda z: F.leaky_relu(z, 0.2), [0.0]),
    "relu6": (F.relu6, [0.0, 6.0]),
    "hard tanh": (lambda z: F.hardtanh(z, -2.5, 0.123), [-2.5, 0.123]),
    "absolute": (torch.abs, [0.0]),
    "far clamp": (lambda z: z.clamp(0, 4321.5), [0.0, 4321.5]),
    "hard sigmoid": (F.hardsigmoid, [-3.0, 3.0]),
    "far from zero": (lambda z: z.clamp(-3000, 7000.5), [-3000.0, 7000.5]),
    "shifted": (lambda z: 3 - 2 * F.relu(z * 0.5 - 1.25), [2.5]),
}


@pytest.mark.parametrize("name", LINES)
def test_kinks_are_where_lines_meet(name):
    function, kinks = LINES[name]
    found = lines_of(lambda z: function(z.double()))
    assert found.kinks.tolist() == pytest.approx(kinks, abs=1e-6)  # rounding of values up to 1e6 in float64
    z = torch.linspace(-9000, 9000, 3001, dtype=torch.float64)
    assert torch.allclose(found(z), function(z), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", LINES)
def test_units_are_the_lines_also_in_float32_near_zero(name):
    function, kinks = LINES[name]
    c, units = lines_of(lambda z: function(z.double())).units()
    assert len(units) <= len(kinks) + 2
    for z in (torch.linspace(-9000, 9000, 3001), torch.linspace(-1, 1, 3001)):
        found = c + sum(step * torch.relu(sign * z + offset) for sign, offset, step in units)
        assert torch.allclose(found, function(z), rtol=1e-5, atol=2e-6 * float(z.max())), (
            (found - function(z)).abs().max()
        )


@pytest.mark.parametrize(
    "function", [torch.tanh, F.hardswish, lambda z: F.threshold(z, 1.0, 0.0), torch.round, lambda z: 1 / z, torch.sin]
)
def test_what_bends_or_jumps_has_no_lines(function):
    assert lines_of(function) is None


class Net(nn.Module):
    def __init__(self, way):
        super().__init__()
        self.way, self.a, self.b = way, nn.Linear(3, 5), nn.Linear(5, 2)
        self.low, self.high = (
            nn.Parameter(torch.tensor([-1.0, -20.0, 0.5])),
            nn.Parameter(torch.tensor([1.0, 9.0, 30.0])),
        )
        self.prelu = nn.PReLU(5)
        nn.init.uniform_(self.prelu.weight, -0.3, 0.7)

    def forward(self, x):
        return self.way(self, x)


@pytest.mark.parametrize(
    "way",
    [
        lambda net, x: net.b(F.relu6(net.a(x))),
        lambda net, x: net.b(net.prelu(net.a(x))),
        lambda net, x: net.b(F.prelu(net.a(x), net.prelu.weight)),
        lambda net, x: net.b(F.leaky_relu(net.a(x), 0.2)).clamp(-3, 50),
        lambda net, x: net.b(torch.relu(net.a(torch.minimum(torch.maximum(x, net.low), net.high)))),
        lambda net, x: net.b(torch.relu(net.a(torch.clamp(x, net.low, net.high)))),
        lambda net, x: net.b(torch.max(net.a(x), -2 * net.a(x))),
        lambda net, x: net.b(net.a(x).abs() + net.a(x)),
    ],
)
def test_networks_of_lines_become_relu_networks(way):
    torch.manual_seed(0)
    net = Net(way).eval()
    mlp = as_mlp(net)
    assert mlp.activation == "relu"
    assert torch.allclose(mlp(X), net(X), atol=3e-5, rtol=3e-5)
